"""The command: how it starts and ends, what it says of mistakes, and what `check` finds out."""

import importlib
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway import __version__
from gateway.cli import main
from gateway.letta.embedded.upstream import EmbeddedUpstream
from gateway.limits.usage_file import FILE_NAME
from gateway.turns.chats.markers import Summary, agent_name, agent_tags, conversation_marker, scratch_marker
from tests.gateways import KEY, GatewayProcess
from tests.servers.threads import served

CONFIG = """
[letta]
base_url = "{letta}"
api_key = "sk-letta-secret"

[[agent_types]]
id = "tutor"
model = "m/one"
"""
KEYS = """
[[keys]]
name = "programs"
key = "${GATEWAY_TEST_KEY}"
"""


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address at which nothing answers, and nothing else can begin to."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@pytest.fixture
def config(nobody: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration without a mistake, in front of no Letta."""
    monkeypatch.setenv("GATEWAY_TEST_KEY", KEY)
    path = tmp_path / "gateway.toml"
    path.write_text(CONFIG.format(letta=nobody) + KEYS)
    return path


def run(*arguments: str) -> int:
    """The exit code of the command."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert isinstance(ended.value.code, int)
    return ended.value.code


def run_as_module(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gateway", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


# Starting


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out == f"{__version__}\n"


def test_without_a_command_it_tells_which_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    main([])

    told = capsys.readouterr().out
    for words in ("serve", "check", "demo", "To try it out: letta-gateway demo"):
        assert words in told


def test_the_module_is_the_command() -> None:
    assert run_as_module("--version").stdout == f"{__version__}\n"


def test_the_module_does_nothing_when_it_is_imported() -> None:
    assert importlib.import_module("gateway.__main__").main is main


MISUSES: dict[str, tuple[list[str], str]] = {
    "an unknown command": (["surf"], "surf"),
    "a port that is no number": (["serve", "--port", "http"], "http"),
    "an unknown option": (["check", "--colour"], "--colour"),
}


@pytest.mark.parametrize(("arguments", "word"), MISUSES.values(), ids=MISUSES)
def test_a_misuse_is_told_with_the_usage(capsys: pytest.CaptureFixture[str], arguments: list[str], word: str) -> None:
    assert run(*arguments) == 2

    told = capsys.readouterr().err
    assert told.startswith("usage: letta-gateway")
    assert word in told


MISTAKES: dict[str, tuple[str, str]] = {
    "an unknown field": ("[server]\nprot = 1", "server"),
    "a port out of range": ("[server]\nport = 70000", "server.port"),
    "a time of nothing": ("[server]\nping_seconds = 0", "server.ping_seconds"),
    "a variable that is not set": ('[server]\nhost = "${GATEWAY_TEST_UNSET}"', "server.host"),
}


@pytest.mark.parametrize("command", ["serve", "check"])
@pytest.mark.parametrize(("more", "field"), MISTAKES.values(), ids=MISTAKES)
def test_with_a_mistake_in_the_configuration_nothing_begins(
    config: Path, capsys: pytest.CaptureFixture[str], command: str, more: str, field: str
) -> None:
    config.write_text(f"{config.read_text()}\n{more}\n")

    assert run(command, "--config", str(config)) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(f"{config}: {field}: ")
    assert told.err.count("\n") == 1


NO_ADDRESSES: dict[str, str] = {
    "a port that is no number": "http://localhost:port",
    "a port out of range": "http://localhost:99999",
    "half an IPv6 address": "http://[::1",
    "no host": "http:///v1",
}


@pytest.mark.parametrize("url", NO_ADDRESSES.values(), ids=NO_ADDRESSES)
def test_an_address_that_cannot_be_one_is_a_mistake(config: Path, capsys: pytest.CaptureFixture[str], url: str) -> None:
    config.write_text(CONFIG.format(letta=url))

    assert run("check", "--config", str(config)) == 1
    assert capsys.readouterr().err.startswith(f"{config}: letta.base_url: `{url}`: expected ")


def test_a_mistake_ends_the_process_before_anything_listens(config: Path) -> None:
    config.write_text(f'{config.read_text()}\nreasoning = "loud"\n')
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = run_as_module("serve", "--config", str(config), "--port", str(taken.getsockname()[1]))

    assert (ended.returncode, ended.stdout) == (1, "")
    for words in (str(config), "keys[0].reasoning", "loud", "think_tags"):
        assert words in ended.stderr
    assert "address" not in ended.stderr


def with_damaged_file(state: Path) -> None:
    state.mkdir()
    (state / FILE_NAME).write_text("no database\n" * 99)


# how the place for what is used looks -> what is said of it
PLACES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a file in the place of the directory": (lambda state: state.write_text(""), "File exists"),
    "a file that is damaged": (
        with_damaged_file,
        "is damaged (file is not a database): bring it back from a backup, or move it away to begin anew.",
    ),
}


@pytest.mark.parametrize(("make", "words"), PLACES.values(), ids=PLACES)
def test_without_a_place_for_what_is_used_nothing_is_served(
    config: Path, tmp_path: Path, make: Callable[[Path], object], words: str
) -> None:
    make(tmp_path / "used")
    config.write_text(f'[server]\nstate = "{tmp_path / "used"}"\n{config.read_text()}')
    ended = run_as_module("serve", "--config", str(config), "--port", "0")

    assert ended.returncode == 1
    assert words in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr
    assert "Serving" not in ended.stderr


def test_check_tells_of_a_state_directory_that_it_may_not_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(upstream: EmbeddedUpstream) -> list[str]:
        raise PermissionError(13, "Permission denied", str(upstream.process.backend))

    # Who runs the tests may be root, and root may read everything. In a file there is no directory to start with.
    monkeypatch.setattr(EmbeddedUpstream, "find_garbled", refused)
    path, state = tmp_path / "gateway.toml", tmp_path / "gateway.toml" / "state"
    path.write_text(f'[letta]\nstate = "{state}"\n[[agent_types]]\nid = "tutor"\n')
    code = run("check", "--config", str(path))

    assert code == 1
    assert "problem: the state directory cannot be read by who runs this: " in capsys.readouterr().out


def test_check_tells_of_a_damaged_file_of_what_is_used(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_damaged_file(tmp_path / "used")
    config.write_text(f'[server]\nstate = "{tmp_path / "used"}"\n{config.read_text()}')

    assert run("check", "--config", str(config)) == 1
    assert f"problem: {tmp_path / 'used' / FILE_NAME} is damaged" in capsys.readouterr().out


def test_a_file_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run("serve", "--config", str(tmp_path / "none.toml")) == 1
    assert capsys.readouterr().err.startswith(f"{tmp_path / 'none.toml'}: cannot be read")


# Serving


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT], ids=lambda end: end.name)
def test_it_serves_without_letta_until_it_is_told_to_end(config: Path, end: signal.Signals) -> None:
    headers = {"authorization": f"Bearer {KEY}"}
    with GatewayProcess(config) as process, httpx.Client(base_url=process.base_url, headers=headers) as client:
        paths = ["/healthz", "/readyz", "/v1/models"]
        statuses = [client.get(path).status_code for path in paths]
        process.process.send_signal(end)
        code = process.process.wait(60)

    assert statuses == [200, 503, 200]
    assert code == 0
    log = "".join(process.log)
    assert "GET /readyz 503" in log
    assert [secret for secret in (KEY, "sk-letta-secret") if secret in log] == []
    assert "Traceback" not in log


def test_asked_to_it_serves_the_chat_page_without_a_key_in_it(config: Path) -> None:
    with GatewayProcess(config, "--chat-page") as process:
        page = httpx.get(process.base_url).text

    assert 'id="composer"' in page
    assert KEY not in page


def test_a_port_that_is_taken_ends_it_with_words(config: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run_as_module("serve", "--config", str(config), "--port", str(port))

    assert ended.returncode == 1
    told = ended.stderr.splitlines()[-1]
    assert told.startswith(f"Nothing can listen at 127.0.0.1, port {port}: ")
    assert told.endswith("(another port: --port, or [server] port)")


def test_where_a_port_is_taken_no_letta_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port, state = str(taken.getsockname()[1]), tmp_path / "state"
        ended = run_as_module("serve", "--port", port, "--state", str(state))

    assert ended.returncode == 1
    assert not state.exists()


def test_it_says_nothing_of_models_where_only_an_agent_that_exists_is_served(config: Path) -> None:
    config.write_text(config.read_text().replace('model = "m/one"', 'agent = "agent-1"'))
    with GatewayProcess(config) as process:
        pass

    assert [line for line in process.log if line.endswith(("gateway.cli \n", " Model: \n"))] == []


def test_an_address_that_is_not_this_machine_s_ends_it_with_words(config: Path) -> None:
    # https://www.rfc-editor.org/rfc/rfc5737: nobody has this one.
    ended = run_as_module("serve", "--config", str(config), "--host", "192.0.2.1", "--port", "0")

    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith("Nothing can listen at 192.0.2.1, port 0: ")


def test_it_says_at_its_start_what_it_is(config: Path, nobody: str) -> None:
    with GatewayProcess(config, "--chat-page") as process:
        url = process.base_url
    log = "".join(process.log)

    for words in (
        f"Letta: a V1 server or Letta Cloud at {nobody}",
        "Model: m/one",
        "Agent types: tutor",
        "Keys: programs",
        f"Page to chat on: {url}/",
        f"Serving at {url}/v1 (Ctrl+C ends it)",
        "Ending.",
    ):
        assert f" {words}\n" in log
    assert "uvicorn" not in log


# Checking

Answers = dict[str, tuple[int, Any]]
HEALTHY: Answers = {
    "/v1/health/": (200, {"status": "ok"}),
    "/v1/models/": (200, [{"handle": "m/one"}, {"handle": "m/two"}]),
    "/v1/tools/": (200, [{"id": "tool-1", "name": "search"}]),
    "/v1/agents/agent-1": (200, {"id": "agent-1"}),
    "/v1/conversations/": (200, []),
}


def server_of(answers: Answers, otherwise: tuple[int, Any]) -> Any:
    """An ASGI application that says the same to everybody."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            status, value = answers.get(scope["path"], otherwise)
            # The second header: letta-client waits for less than a millisecond before it asks again.
            headers = [(b"content-type", b"application/json"), (b"retry-after-ms", b"0.1")]
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": json.dumps(value).encode()})

    return app


def check(
    path: Path,
    more: str = "",
    answers: Answers = HEALTHY,
    otherwise: tuple[int, Any] = (404, {}),
    options: tuple[str, ...] = (),
) -> int:
    """The exit code of `check` in front of a server with these answers."""
    with served(server_of(answers, otherwise)) as url:
        path.write_text(CONFIG.format(letta=url) + more + KEYS)
        return run("check", "--config", str(path), *options)


def test_check_says_what_it_found_where_everything_is_in_order(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = 'tools = ["search"]\n[[agent_types]]\nid = "ops"\nname = "Ops"\nagent = "agent-1"\n'
    code = check(config, more)

    told = capsys.readouterr().out
    assert code == 0
    for words in (
        "has 2 models:\n    m/one\n    m/two\n",
        "tutor: tutor, m/one",
        "ops: Ops, agent-1",
        "Everything is in order.",
    ):
        assert words in told
    assert "warning" not in told


# a variable of the environment -> the way of a turn's calls, of which a search of `check` is one
WAYS: dict[tuple[str, str], str] = {
    ("GATEWAY_TEST_KEY", KEY): "directly",
    ("HTTP_PROXY", "{letta}"): "through letta-client: a proxy is set",
}


@pytest.mark.parametrize(("variable", "way"), WAYS.items(), ids=lambda given: given[0])
def test_check_says_which_way_the_calls_of_a_turn_take(
    config: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    variable: tuple[str, str],
    way: str,
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with served(server_of(HEALTHY, (404, {}))) as url:
        # A server that hears of an address at another one answers, as a proxy does.
        monkeypatch.setenv(variable[0], variable[1].format(letta=url))
        config.write_text(CONFIG.format(letta=url) + KEYS)
        assert run("check", "--config", str(config)) == 0

    assert f"\n  a turn's calls go {way}\n" in capsys.readouterr().out


@pytest.mark.parametrize(("more", "last"), [((), "and 88 more, which `check --models` lists"), (("--models",), "m/99")])
def test_check_lists_the_first_models_or_all_of_them(
    config: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], last: str
) -> None:
    models = [{"handle": "m/one"}, *({"handle": f"m/{number}"} for number in range(1, 100))]
    with served(server_of(HEALTHY | {"/v1/models/": (200, models)}, (404, {}))) as url:
        config.write_text(CONFIG.format(letta=url) + KEYS)
        assert run("check", "--config", str(config), *more) == 0

    listed = [line.strip() for line in capsys.readouterr().out.splitlines() if line.startswith("    ")]
    assert (listed[0], listed[-1], len(listed)) == ("m/one", last, 100 if more else 13)


@pytest.mark.parametrize(("status", "words"), [(401, "it refuses the key (HTTP 401)"), (500, "it fails (HTTP 500)")])
def test_check_names_the_model_for_background_tasks_that_does_not_take_the_key(
    config: Path, capsys: pytest.CaptureFixture[str], status: int, words: str
) -> None:
    with served(server_of({}, (status, {}))) as url:
        tasks = f'[tasks]\nanswer = "model"\nmodel = "small"\nbase_url = "{url}/v1"\napi_key = "sk-tasks"\n'
        assert check(config, tasks) == 1

    told = capsys.readouterr().out
    assert f"problem: the model for background tasks at {url}/v1: {words}." in told
    assert "sk-tasks" not in told


def test_check_counts_the_conversations_that_nobody_goes_on_with(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    marker, scratch = conversation_marker("tutor", "s", "ada", "c"), scratch_marker("tutor", "s", "ada", "hello")
    summaries = [
        *(Summary(marker), Summary(scratch), Summary(scratch, note='[["user","(replaced) "]]')),
        *(Summary(marker, replaced=True), Summary(scratch, replaced=True), Summary(marker, replaced=True)),
        *(Summary(marker, temporary=True), Summary(marker, temporary=True, replaced=True)),
        *("Holidays", "(replaced) gw1:", None),
    ]
    kept = [
        {"id": f"conv-{i}", "summary": None if summary is None else str(summary)} for i, summary in enumerate(summaries)
    ]

    assert check(config, answers=HEALTHY | {"/v1/conversations/": (200, kept)}) == 0
    assert "deleted in time: 2 scratch, 3 replaced, 2 temporary" in capsys.readouterr().out


PERSON = {
    "id": "agent-7",
    "name": agent_name("tutor", "programs", "ada"),
    "tags": agent_tags("tutor", "programs", "ada"),
}
# the options -> what is told
ASKED_OF_PEOPLE = {
    ("--users",): ["People and agents: 1 person, 1 agent", "tutor: 1 agent of 1 person"],
    ("--user", "ada"): ["scope programs, id ada", agent_tags("", "programs", "ada")[2], "tutor: agent-7, named tutor-"],
    ("--user", "ada", "--key", "programs"): ["key programs: scope programs, id ada"],
}


@pytest.mark.parametrize(("options", "words"), ASKED_OF_PEOPLE.items(), ids=map(" ".join, ASKED_OF_PEOPLE))
def test_check_tells_of_people_beside_everything_else(
    config: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], words: list[str]
) -> None:
    answers = HEALTHY | {"/v1/agents/": (200, [PERSON])}
    assert check(config, answers=answers, options=options) == 0

    told = capsys.readouterr().out
    assert [each for each in (*words, "Everything is in order.") if each not in told] == []


# more of the configuration, what Letta answers otherwise -> words of each problem
WRONG: dict[str, tuple[str, Answers, list[str]]] = {
    "no such model": ("", {"/v1/models/": (200, [{"handle": "m/two"}])}, ["no model `m/one`"]),
    "conversations that it cannot list": ("", {"/v1/conversations/": (500, {})}, ["failed to list conversations"]),
    "no model at all": ("", {"/v1/models/": (200, [])}, ["no model `m/one`"]),
    "no such tool": ('tools = ["search", "fetch"]', {}, ["no tool `fetch`"]),
    "no such agent": ('[[agent_types]]\nid = "ops"\nagent = "agent-2"', {}, ["ops: Letta has no agent `agent-2`"]),
    "an agent that is not for this key": (
        '[[agent_types]]\nid = "ops"\nagent = "agent-1"',
        {"/v1/agents/agent-1": (403, {})},
        ["ops: Letta failed to tell of it"],
    ),
    "no tools told, and no such model": (
        'tools = ["search"]',
        {"/v1/tools/": (500, {}), "/v1/models/": (200, [])},
        ["tutor: Letta failed to tell of it", "tutor: Letta has no model `m/one`"],
    ),
}


@pytest.mark.parametrize(("more", "answers", "problems"), WRONG.values(), ids=WRONG)
def test_check_names_each_problem_of_an_agent_type(
    config: Path, capsys: pytest.CaptureFixture[str], more: str, answers: Answers, problems: list[str]
) -> None:
    code = check(config, more, HEALTHY | answers)

    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("problem: ")]
    assert code == 1
    assert len(told) == len(problems)
    for words, line in zip(problems, told, strict=True):
        assert words in line


def test_check_says_that_nothing_answers_and_what_to_set(
    config: Path, nobody: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run("check", "--config", str(config))

    told = capsys.readouterr().out
    assert code == 1
    for words in (f"nothing answers at {nobody}", "base_url", "LETTA_BASE_URL", "1 problem(s)."):
        assert words in told
    assert "sk-" not in told


@pytest.mark.parametrize("status", [401, 403])
def test_check_says_that_letta_refuses_the_key_and_what_to_set(
    config: Path, capsys: pytest.CaptureFixture[str], status: int
) -> None:
    code = check(config, answers={}, otherwise=(status, {"detail": "no"}))

    told = capsys.readouterr().out
    assert code == 1
    for words in ("does not accept the key", "api_key", "LETTA_API_KEY"):
        assert words in told
    assert "sk-" not in told


SOMETHING_ELSE: dict[str, tuple[int, Any]] = {
    "nothing at any path": (404, {"error": "not found"}),
    "an object for everything": (200, {}),
    "a page for everything": (200, "<html>"),
    "a failure for everything": (500, {}),
    "no word of ours": (400, {"detail": "unknown field"}),
}


@pytest.mark.parametrize("otherwise", SOMETHING_ELSE.values(), ids=SOMETHING_ELSE)
def test_check_doubts_the_address_where_something_else_answers(
    config: Path, capsys: pytest.CaptureFixture[str], otherwise: tuple[int, Any]
) -> None:
    code = check(config, answers={}, otherwise=otherwise)

    told = capsys.readouterr().out
    assert code == 1
    assert "base_url" in told
    assert "key" not in told


def test_check_warns_of_a_key_that_mixes_header_and_body(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(f'{config.read_text()}user_from = ["header:X-User", "body:user"]\n')
    run("check", "--config", str(config))

    warnings = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 1
    assert "key programs" in warnings[0]
    assert "mixes header and body" in warnings[0]


UNMIXED: dict[str, str] = {
    "the body only": 'user_from = ["body:user", "body:safety_identifier"]',
    "headers only": 'user_from = ["header:X-User", "header:X-Other"]',
    "a bound user": 'user = "ada"',
}


@pytest.mark.parametrize("line", UNMIXED.values(), ids=UNMIXED)
def test_check_does_not_warn_of_other_keys(config: Path, capsys: pytest.CaptureFixture[str], line: str) -> None:
    config.write_text(f"{config.read_text()}{line}\n")
    run("check", "--config", str(config))

    assert "warning" not in capsys.readouterr().out


def warnings_of(config: Path, capsys: pytest.CaptureFixture[str], lines: str, other: str) -> list[str]:
    """What `check` warns of with these lines of the key `programs`, and another key."""
    config.write_text(f"{config.read_text()}{lines}\n{other}")
    run("check", "--config", str(config))
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning: ")]


# lines of the key `programs`, another key, what is said of them
DOUBTED: dict[str, tuple[str, str, str]] = {
    "a key that has expired": ("expires = 2020-01-01", "", "it has expired on 2020-01-01 00:00 UTC"),
    "the last value that has expired": (
        "",
        f'[[keys]]\nname = "x"\nsha256 = [{{hash = "{"a" * 64}", expires = 2020-01-01}}]\n',
        "key x: it has expired",
    ),
    "a key by its next name": ("", '[[keys]]\nname = "programs-2"\nkey = "sk-2"\n', "but they are two"),
    "a key twice in its scope": (
        'scope = "s"',
        '[[keys]]\nname = "more"\nkey = "sk-2"\nscope = "s"\n',
        "one key with two values: one entry holds several",
    ),
}


@pytest.mark.parametrize(("lines", "other", "words"), DOUBTED.values(), ids=DOUBTED)
def test_check_warns_of_a_key_that_is_hardly_meant(
    config: Path, capsys: pytest.CaptureFixture[str], lines: str, other: str, words: str
) -> None:
    (told,) = warnings_of(config, capsys, lines, other)

    assert words in told


FINISHES = 'on_disconnect = "finish"\n'
# lines of a key -> where Stop would end nothing
STOPS = {
    "Open WebUI by a header": ('user_from = ["header:X-OpenWebUI-User-Id"]', "Stop in Open WebUI ends no answer"),
    "Open WebUI by its cards": ('tool_activity = "rich"\nuser = "ada"', "Stop in Open WebUI ends no answer"),
    "LibreChat": ('user_from = ["header:X-User-Id"]', "Stop in LibreChat ends no answer"),
    "another frontend": ('user_from = ["header:X-Somebody"]', "Stop in its frontend ends no answer"),
}


@pytest.mark.parametrize(("lines", "words"), STOPS.values(), ids=STOPS)
def test_check_warns_where_stop_would_end_nothing(
    config: Path, capsys: pytest.CaptureFixture[str], lines: str, words: str
) -> None:
    (told,) = warnings_of(config, capsys, FINISHES + lines, "")

    assert words in told


UNDOUBTED: dict[str, tuple[str, str]] = {
    "programs that leave": ('on_disconnect = "finish"', ""),
    "a frontend whose answers are cancelled": ('user_from = ["header:X-OpenWebUI-User-Id"]', ""),
    "one value that has expired beside another": (f'sha256 = [{{hash = "{"a" * 64}", expires = 2020-01-01}}]', ""),
    "a key that expires in years": ("expires = 2999-01-01", ""),
    "two programs": ("", '[[keys]]\nname = "widget"\nkey = "sk-2"\n'),
    "two of a name that differ": ("", '[[keys]]\nname = "programs-2"\nkey = "sk-2"\nuser = "ada"\n'),
    "two of a scope that differ": (
        'scope = "s"',
        '[[keys]]\nname = "more"\nkey = "sk-2"\nscope = "s"\ntool_activity = "rich"\n',
    ),
}


@pytest.mark.parametrize(("lines", "other"), UNDOUBTED.values(), ids=UNDOUBTED)
def test_check_does_not_doubt_other_keys(
    config: Path, capsys: pytest.CaptureFixture[str], lines: str, other: str
) -> None:
    assert warnings_of(config, capsys, lines, other) == []


PEOPLE = '[[keys]]\nname = "people"\nkey = "sk-people"\nscope = "programs"\n'
# lines of the key `programs`, another key -> the warnings
SCOPES: dict[str, tuple[str, str, int]] = {
    "a conversation beside people": ('user_means = "conversation"', PEOPLE, 1),
    "nobody beside people": ('user_means = "ignored"', PEOPLE, 1),
    "people beside people": ("", PEOPLE, 0),
    "a conversation in a scope of its own": ('user_means = "conversation"\nscope = "house"', PEOPLE, 0),
    "a conversation alone": ('user_means = "conversation"', "", 0),
    "a conversation beside a bound user": ('user_means = "conversation"', f'{PEOPLE}user = "ada"\n', 0),
    "a conversation beside another": ('user_means = "conversation"', f'{PEOPLE}user_means = "ignored"\n', 0),
    "a bound user beside people": ('user = "ada"\nuser_means = "ignored"', PEOPLE, 0),
}


@pytest.mark.parametrize(("lines", "other", "warnings"), SCOPES.values(), ids=SCOPES)
def test_check_warns_of_a_key_that_is_a_person_whom_others_may_name(
    config: Path, capsys: pytest.CaptureFixture[str], lines: str, other: str, warnings: int
) -> None:
    told = warnings_of(config, capsys, lines, other)

    assert len(told) == warnings
    assert all("key programs" in line and "people" in line and "scope" in line for line in told)


def test_check_warns_of_no_keys(config: Path, nobody: str, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(CONFIG.format(letta=nobody))
    run("check", "--config", str(config))

    assert "warning: no keys are configured" in capsys.readouterr().out
