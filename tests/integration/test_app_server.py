"""What an App Server alone can do to a gateway, and what an agent must not do to its host: the real one, both kinds.

Bare is one that somebody else has set up; embedded is the gateway's own.
"""

import asyncio
import json
import os
import resource
import select
import signal
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import openai
import pytest
from openai import OpenAI

from gateway.app import create_app
from gateway.choices import offline_model
from gateway.commands.check import check
from gateway.letta.app_server import connection
from gateway.letta.app_server.frames import offered_name
from gateway.letta.embedded import process
from gateway.letta.embedded.upstream import EmbeddedUpstream
from gateway.settings import AgentType, Letta, Provider, Settings
from gateway.turns.chats.markers import agent_tags
from tests.gateways import KEY, PROGRAMS, ForkedGateway, chat, gateway, sdk
from tests.integration.test_real_letta import FIRST, REMEMBER, ask
from tests.integration.words import someone
from tests.servers.app_server import AppServer
from tests.servers.proxy import Proxy
from tests.servers.scripted_model import ScriptedModel
from tests.servers.threads import served

Spoken = list[tuple[str, str]]


@pytest.fixture(scope="module")
def server(model: ScriptedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer]:
    """A bare App Server that tests may restart."""
    with AppServer(tmp_path_factory.mktemp("own-app-server"), model.base_url) as own:
        yield own


@pytest.fixture
def mark() -> str:
    """Words that nobody else says."""
    return uuid.uuid4().hex


def read(client: OpenAI, text: str, user: str, at_two: Callable[[], object]) -> None:
    """Read an answer to its end, and do something once it says `two`."""
    body = chat(text, user=user, metadata={"chat_id": "chat"}, stream=True)
    for chunk in client.chat.completions.create(**body):
        if (chunk.choices[0].delta.content or "").strip() == "two":
            at_two()


def turns(first: str, *texts: str) -> Spoken:
    """What the model is told when `texts` are all that was ever said, and answered, but the last."""
    said = [("user", first), ("assistant", f"{FIRST}{first}")]
    for text in texts:
        said += [("user", text), ("assistant", f"You said: {text}")]
    return said[:-1]


async def at_once(url: str, bodies: list[dict[str, Any]]) -> list[str]:
    """Sends all of `bodies` together; gives the answers."""
    headers = {"authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=120) as client:
        responses = await asyncio.gather(*(client.post("/v1/chat/completions", json=body) for body in bodies))
    assert {200} == {response.status_code for response in responses}
    return [response.json()["choices"][0]["message"]["content"] for response in responses]


def test_the_first_turns_of_many_people_at_once_all_find_the_model(model: ScriptedModel, tmp_path: Path) -> None:
    with AppServer(tmp_path, model.base_url) as fresh, gateway(fresh) as url:
        people = [someone() for _ in range(5)]
        answers = asyncio.run(at_once(url, [chat(f"I am {name}", user=name) for name in people]))

    assert [f"{FIRST}I am {name}" for name in people] == [answer.rpartition("</think>")[2] for answer in answers]


LOST = {
    "before the first token": "!hang",
    "mid-answer, silent": "!hang-after one two",
    "mid-answer, talking": "!slow 50\n!say one two three four five six seven eight",
}


@pytest.mark.parametrize("script", LOST.values(), ids=LOST)
def test_a_lost_connection_is_told_and_the_chat_goes_on_with_what_was_seen(
    server: AppServer, model: ScriptedModel, script: str, mark: str
) -> None:
    user, lost = someone(), f"lost {mark}\n{script}"
    with Proxy(server.base_url) as proxy, gateway(server, letta_base_url=proxy.base_url) as url, sdk(url) as client:
        ask(client, f"first {mark}", user, "chat")

        def cut_once_asked() -> None:
            model.wait_for(lost)
            proxy.cut()

        with ThreadPoolExecutor() as others:
            if script == "!hang":
                others.submit(cut_once_asked)
            with pytest.raises(openai.APIError) as caught:
                read(client, lost, user, proxy.cut)
        assert caught.value.code == "upstream_broken"
        assert ask(client, f"next {mark}", user, "chat") == f"You said: next {mark}"

    ((*before, last),) = model.said(f"next {mark}")
    # Of the words that came, the last ones may have been lost on their way.
    assert [*turns(f"first {mark}"), ("assistant", f"{FIRST}first {mark}"), ("user", lost)] == before[:3]
    assert all("one two three four five six seven eight".startswith(text) for _, text in before[3:])
    assert ("user", f"next {mark}") == last


def test_a_connection_lost_between_turns_is_made_again(server: AppServer, model: ScriptedModel, mark: str) -> None:
    user = someone()
    with Proxy(server.base_url) as proxy, gateway(server, letta_base_url=proxy.base_url) as url, sdk(url) as client:
        ask(client, f"first {mark}", user, "chat")
        proxy.cut()
        ask(client, f"second {mark}", user, "chat")

    assert [turns(f"first {mark}", f"second {mark}")] == model.said(f"second {mark}")


def test_an_app_server_killed_mid_answer_is_told_and_the_chat_goes_on_once_it_is_back(
    server: AppServer, model: ScriptedModel, mark: str
) -> None:
    user = someone()
    with gateway(server) as url, sdk(url) as client:
        ask(client, f"first {mark}", user, "chat")
        lost = f"lost {mark}\n!hang-after one two"
        with pytest.raises(openai.APIError) as caught:
            read(client, lost, user, server.kill)
        assert caught.value.code == "upstream_broken"
        with pytest.raises(openai.APIStatusError) as refused:
            ask(client, f"nobody hears {mark}", user, "chat")
        assert (refused.value.status_code, refused.value.code) == (503, "upstream_unreachable")
        server.start()
        assert ask(client, f"next {mark}", user, "chat") == f"You said: next {mark}"

    before = [*turns(f"first {mark}"), ("assistant", f"{FIRST}first {mark}"), ("user", lost), ("assistant", "one two")]
    news = [("user", f"nobody hears {mark}"), ("user", f"next {mark}")]
    assert [[*before, *news]] == model.said(f"next {mark}")


def test_chat_and_memory_are_found_again_when_gateway_and_app_server_have_restarted(
    server: AppServer, model: ScriptedModel, mark: str
) -> None:
    ada, bob = someone(), someone()
    with gateway(server) as url, sdk(url) as client:
        assert ask(client, "My name is Ada.", ada, "telling") == "I will remember that."
        ask(client, f"one {mark}", ada, "chat")
        ask(client, f"one {mark}", bob, "chat")
    server.restart()
    with gateway(server) as url, sdk(url) as client:
        ask(client, f"two {mark}", ada, "chat")
        ask(client, f"new {mark}", ada, "new chat")
        ask(client, f"bob {mark}", bob, "chat")
        assert ask(client, "What is my name?", ada, "another chat") == "Your name is Ada."
        assert ask(client, "What is my name?", bob, "another chat") == "I do not know your name."

    assert [turns(f"one {mark}", f"two {mark}")] == model.said(f"two {mark}")
    # Where an agent's memory stands: in the system prompt, of an old chat as of a new one.
    for text, knows in ((f"two {mark}", True), (f"new {mark}", True), (f"bob {mark}", False)):
        ((system, *_),) = model.received(text)
        assert (system[0], "Their name is Ada." in system[1]) == ("system", knows)


def test_six_chats_of_one_person_that_write_memory_at_once_all_keep_their_writes(
    server: AppServer, model: ScriptedModel, mark: str
) -> None:
    user, facts = someone(), [f"fact {i} {mark}" for i in range(6)]
    with gateway(server) as url, sdk(url) as client:
        ask(client, "hello", user, "first")
        bodies = [chat(f"Remember that {fact}", user=user, metadata={"chat_id": fact}) for fact in facts]
        answers = asyncio.run(at_once(url, bodies))
        ask(client, f"all {mark}", user, "last")

    assert [answer.rpartition("</think>")[2] for answer in answers] == ["I will remember that."] * 6
    (agent,) = server.agents(agent_tags("tutor", "programs", user))
    assert set(facts) <= set(server.memory(agent)["human"].splitlines())
    ((system, *_),) = model.received(f"all {mark}")
    assert not [fact for fact in facts if fact not in system[1]]


class Host(NamedTuple):
    """A host with something to lose, and somebody's agent on it."""

    url: str
    state: Path
    user: str
    secret: Path
    memory: Path
    model: ScriptedModel

    def seen(self) -> dict[str, str]:
        """All that an agent could do harm to."""
        files = [path for root in (self.secret.parent, self.memory) for path in root.rglob("*") if path.is_file()]
        kept = [path for path in files if ".git" not in path.parts or {"config", "hooks"} & set(path.parts)]
        return {str(path): path.read_text(errors="replace") for path in kept}


def settings_of_embedded(state: Path, request_seconds: float = 30, **changes: Any) -> Settings:
    letta = Letta(upstream="embedded", state=str(state), settle_seconds=0.05, request_seconds=request_seconds)
    types = changes.pop("types", (AgentType(id="tutor", system="You are a tutor."),))
    return Settings(letta=letta, agent_types=types, keys=(PROGRAMS,), **changes)


@contextmanager
def embedded(model: ScriptedModel, state: Path, **changes: Any) -> Iterator[str]:
    """A gateway with a Letta of its own, in front of the scripted model."""
    provider = Provider(id="openai-compatible", base_url=model.base_url)
    with served(create_app(settings_of_embedded(state, provider=provider, **changes))) as url:
        yield url


@contextmanager
def bare(model: ScriptedModel, state: Path, **changes: Any) -> Iterator[str]:
    """A gateway in front of a Letta that somebody else has set up."""
    state.mkdir(exist_ok=True)
    with AppServer(state, model.base_url) as server, gateway(server, **changes) as url:
        yield url


KINDS = {"bare": bare, "embedded": embedded}
READER = AgentType(id="reader", system="You read.", tools=("Read",))
TYPES = (AgentType(id="tutor", system="You are a tutor."), READER)


@pytest.fixture(scope="module", params=KINDS)
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    root, user, scripted = tmp_path_factory.mktemp("host"), someone(), ScriptedModel()
    (root / "home").mkdir()
    secret = root / "home" / "secret.md"
    secret.write_text("---\nname: secret\ndescription: secret\n---\nThe password is xyzzy.")
    with served(scripted.app) as model_url:
        scripted.base_url = f"{model_url}/v1"
        with KINDS[request.param](scripted, root / "state", types=TYPES) as url, sdk(url) as client:
            # Whatever an App Server does by itself for an agent it has done with these.
            ask(client, "hello", user)
            ask(client, REMEMBER.format("Ada"), user)
            ask(client, "hello again", user)
            (memory,) = (root / "state" / "backend" / "memfs").glob("*/memory")
            (memory / "link.md").symlink_to(secret)
            (memory / "out").symlink_to(secret.parent)
            yield Host(url, root / "state", user, secret, memory, scripted)


# What the model asks for; {home} and {memory} are directories of the host.
FORBIDDEN: dict[str, tuple[str, dict[str, Any]]] = {
    "a command": ("Bash", {"command": "touch {home}/made", "description": "touch"}),
    "a command of codex": ("exec_command", {"cmd": "touch {home}/made"}),
    "input for a command": ("write_stdin", {"session_id": 1, "chars": "touch {home}/made\n"}),
    "a file of the host": ("Read", {"file_path": "{home}/secret.md"}),
    "the users of the host": ("Read", {"file_path": "/etc/passwd"}),
    "a link out of the memory": ("Read", {"file_path": "{memory}/link.md"}),
    "a new file": ("Write", {"file_path": "{home}/made", "content": "made"}),
    "a new file by dots": ("Write", {"file_path": "{memory}/../../../../../home/made", "content": "made"}),
    "a new file through a link": ("Write", {"file_path": "{memory}/out/made", "content": "made"}),
    "a new file in the memory": ("Write", {"file_path": "{memory}/made.md", "content": "made"}),
    "git's configuration": ("Write", {"file_path": "{memory}/.git/config", "content": "[core]\nfsmonitor = false"}),
    "a hook of git's": ("Write", {"file_path": "{memory}/.git/hooks/pre-commit", "content": "touch {home}/made"}),
    "an edit of git's configuration": (
        "Edit",
        {"file_path": "{memory}/.git/config", "old_string": "[core]", "new_string": "[core]\nfsmonitor = false\n"},
    ),
    "an edit by dots": (
        "Edit",
        {"file_path": "{memory}/system/../.git/config", "old_string": "[core]", "new_string": "[core]\npager = id\n"},
    ),
    "an edit through a link": (
        "Edit",
        {"file_path": "{memory}/link.md", "old_string": "xyzzy", "new_string": "plugh"},
    ),
    "a patch": ("ApplyPatch", {"input": "*** Begin Patch\n*** Add File: {home}/made\n+made\n*** End Patch"}),
    "a sub-agent": (
        "Task",
        {"subagent_type": "general-purpose", "prompt": "touch", "description": "touch {home}/made"},
    ),
    "a sub-agent by its other name": ("Agent", {"subagent_type": "general-purpose", "prompt": "touch {home}/made"}),
    "a skill": ("Skill", {"skill": "initializing-memory"}),
    "another directory": ("SetWorkingDirectory", {"path": "/"}),
    "a tool nobody knows": ("no_such_tool", {"path": "{home}/made"}),
}


@pytest.mark.parametrize(("tool", "arguments"), FORBIDDEN.values(), ids=FORBIDDEN)
def test_a_tool_that_the_type_does_not_list_does_nothing_and_the_chat_goes_on(
    host: Host, tool: str, arguments: dict[str, Any], mark: str
) -> None:
    before = host.seen()
    with sdk(host.url) as client:
        thoughts, answer = whole(client, host, mark, {tool: arguments})
        assert ask(client, f"on {mark}", host.user, mark) == f"You said: on {mark}"

    assert f"\n{tool} is not allowed here: nothing was done.\n" in thoughts
    assert "Using" not in thoughts
    assert "Tool said: " in answer
    assert before == host.seen()
    assert_nothing_leaked(host, mark)


def whole(client: OpenAI, host: Host, chat_id: str, calls: dict[str, dict[str, Any]]) -> tuple[str, str]:
    """The thoughts and the answer of a turn in which the model makes `calls`, tool by tool."""
    script = "\n".join(f"!tool {tool} {filled(arguments, host)}" for tool, arguments in calls.items())
    completion = client.chat.completions.create(**chat(script, user=host.user, metadata={"chat_id": chat_id}))
    thoughts, _, answer = (completion.choices[0].message.content or "").rpartition("</think>")
    return thoughts, answer


def filled(arguments: dict[str, Any], host: Host) -> str:
    return json.dumps(arguments).replace("{home}", str(host.secret.parent)).replace("{memory}", str(host.memory))


def assert_nothing_leaked(host: Host, mark: str) -> None:
    """What the model was given back in the chat, and its system prompt, hold nothing of the host's files."""
    (received,) = host.model.received(f"on {mark}")
    told = [text for role, text in received if role in ("system", "tool")]
    assert len(told) > 1
    assert not [words for words in ("xyzzy", "root:", "repositoryformatversion") if words in str(told)]


LABELS = {
    "dots": "../../../../../home/secret",
    "dots behind a name": "human/../../x",
    "a hook": ".git/hooks/pre-commit",
    "git's configuration": ".git/config",
    "an absolute path": "/etc/passwd",
    "a mod": "mods/x",
    "a deferred folder": "system/human",
    "a link": "link",
    "through a link": "out/secret",
    "a line end": "human\n",
    "nothing": "",
    "letters that look alike": "humаn",
    "a file that is none": "human.md",
    "no text": 7,
}
INSERTED, REPLACED = {"new_string": "[core]fsmonitor = id"}, {"old_string": "password", "new_string": "pass"}


@pytest.mark.parametrize("label", LABELS.values(), ids=LABELS)
def test_memory_tools_with_a_label_that_is_none_do_nothing_and_the_chat_goes_on(
    host: Host, label: object, mark: str
) -> None:
    before = host.seen()
    calls = {"memory_insert": {"label": label, **INSERTED}, "memory_replace": {"label": label, **REPLACED}}
    with sdk(host.url) as client:
        thoughts, answer = whole(client, host, mark, calls)
        assert ask(client, f"on {mark}", host.user, mark) == f"You said: on {mark}"

    assert "\nUsing memory_insert…\nUsing memory_replace…\n" in thoughts
    results = answer.removeprefix("Tool said: ").splitlines()
    assert [result.startswith("Error: ") for result in results] == [True, True]
    assert before == host.seen()
    assert_nothing_leaked(host, mark)


def test_a_type_that_lists_a_tool_has_that_one_and_no_other(host: Host, mark: str) -> None:
    before = host.seen()
    calls = {
        "Read": {"file_path": "{home}/secret.md"},
        "Bash": {"command": "touch {home}/made", "description": "touch"},
    }
    said = []
    with sdk(host.url) as client:
        for tool, arguments in calls.items():
            script = f"!tool {tool} {filled(arguments, host)}"
            body = chat(script, model="reader", user=host.user, metadata={"chat_id": mark})
            said.append(client.chat.completions.create(**body).choices[0].message.content or "")

    assert "\nUsing Read…\n" in said[0]
    assert "The password is xyzzy." in said[0].rpartition("Tool said: ")[2]
    assert "\nBash is not allowed here: nothing was done.\n" in said[1]
    assert before == host.seen()


def test_forbidden_calls_beside_an_allowed_one_are_refused_and_it_is_carried_out(host: Host, mark: str) -> None:
    before = host.seen()
    calls = dict(list(FORBIDDEN.values())[:2]) | {"memory_insert": {"label": "human", "new_string": mark}}
    with sdk(host.url) as client:
        thoughts, answer = whole(client, host, mark, calls)
        assert ask(client, f"on {mark}", host.user, mark) == f"You said: on {mark}"

    for line in ("Bash is not allowed here: nothing was done.", "exec_command is not allowed", "Using memory_insert…"):
        assert line in thoughts
    assert answer.endswith("Done: your memory has been changed.")
    changed = {path for path, text in host.seen().items() if before.get(path) != text}
    assert changed == {str(host.memory / "human.md")}


def test_an_app_server_of_somebody_else_s_tells_the_model_paths_of_its_host(
    server: AppServer, model: ScriptedModel, mark: str
) -> None:
    with gateway(server) as url, sdk(url) as client:
        ask(client, mark, someone(), "chat")

    (received,) = model.received(mark)
    assert received[-1][1].startswith("<system-reminder>")
    assert str(server.directory) in received[-1][1]
    assert [[("user", mark)]] == model.said(mark)


def test_an_embedded_letta_tells_the_model_nothing_of_its_host(tmp_path: Path, mark: str) -> None:
    scripted, user, state = ScriptedModel(), someone(), tmp_path / "state"
    with served(scripted.app) as url:
        scripted.base_url = f"{url}/v1"
        with embedded(scripted, state) as url, sdk(url) as client:
            ask(client, "My name is Ada.", user, "chat")
            ask(client, "!tool Bash {}", user, "chat")
            ask(client, "hello", user, "new chat")
            history = [
                {"role": "system", "content": "Speak French."},
                {"role": "user", "content": "Bonjour"},
                {"role": "assistant", "content": "Salut!"},
                {"role": "user", "content": mark},
            ]
            ask(client, "", user, messages=history)
            (received,) = scripted.received(mark)

    instructed = (
        f"<system-reminder>\nInstructions of the client for this chat:\nSpeak French.\n</system-reminder>\n{mark}"
    )
    assert [("user", "Bonjour"), ("assistant", "Salut!"), ("user", instructed)] == received[1:]
    asked = json.dumps(scripted.requests)
    assert asked.count("<system-reminder>") == 1
    assert not [
        words
        for words in (str(tmp_path), "MEMORY_DIR", "AGENT_ID", "local-conv-", os.uname().nodename)
        if words in asked
    ]


def test_an_embedded_letta_without_a_provider_is_answered_by_the_offline_model_and_keeps_everything(
    tmp_path: Path,
) -> None:
    user, settings = someone(), settings_of_embedded(tmp_path / "state", types=(AgentType(id="tutor"),))
    with served(create_app(settings)) as url, sdk(url) as client:
        assert ask(client, "hello", user, "chat") == f"{FIRST}hello"
        assert ask(client, "My name is Ada.", user, "telling") == "I will remember that."
    with served(create_app(settings)) as url, sdk(url) as client:
        # The introduction belongs to the first answer of a chat: this one is known.
        assert ask(client, "hello again", user, "chat") == "You said: hello again"
        assert ask(client, "What is my name?", user, "new chat") == "Your name is Ada."
        assert ask(client, "What is my name?", someone(), "chat") == "I do not know your name."


@pytest.mark.parametrize("when", ["between turns", "mid-answer"])
def test_an_embedded_letta_that_is_killed_comes_back_and_the_chat_goes_on(tmp_path: Path, when: str) -> None:
    user, settings = someone(), settings_of_embedded(tmp_path / "state")
    upstream = EmbeddedUpstream(settings, offline_model)
    with served(create_app(settings, upstream)) as url, sdk(url) as client:
        ask(client, "hello", user, "chat")
        pid = upstream.process.pid
        assert pid
        if when == "mid-answer":
            with pytest.raises(openai.APIError) as caught:
                read(client, "!hang-after one two", user, lambda: os.kill(pid, signal.SIGKILL))
            assert caught.value.code == "upstream_broken"
        else:
            killed(pid)
        assert ask(client, "hello again", user, "chat") == "You said: hello again"
        assert upstream.process.pid != pid


@contextmanager
def bare_with_pid(model: ScriptedModel, state: Path) -> Iterator[tuple[str, Callable[[], int | None]]]:
    state.mkdir(exist_ok=True)
    with AppServer(state, model.base_url) as server, gateway(server) as url:
        yield url, lambda: server._process.pid


@contextmanager
def embedded_with_pid(model: ScriptedModel, state: Path) -> Iterator[tuple[str, Callable[[], int | None]]]:
    provider = Provider(id="openai-compatible", base_url=model.base_url)
    settings = settings_of_embedded(state, provider=provider)
    upstream = EmbeddedUpstream(settings, offline_model)
    with served(create_app(settings, upstream)) as url:
        yield url, lambda: upstream.process.pid


def limit_files(pid: int | None, size: int) -> None:
    """Have every writing of a process fail beyond so many bytes of a file, as on a full disk: needs no rights."""
    assert pid
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@pytest.mark.parametrize("when", ["before a message", "within an answer"])
@pytest.mark.parametrize("kind", [bare_with_pid, embedded_with_pid], ids=["bare", "embedded"])
def test_a_full_disk_is_told_and_loses_nothing_that_was_said(
    kind: Any, tmp_path: Path, model: ScriptedModel, mark: str, when: str
) -> None:
    user, there = someone(), {"metadata": {"chat_id": mark}}
    with kind(model, tmp_path / "state") as (url, pid), sdk(url) as client:

        def ask_and(text: str, during: Callable[[], None]) -> None:
            for chunk in client.chat.completions.create(**chat(text, user=user, stream=True, **there)):
                if "Hello" in (chunk.choices[0].delta.content or ""):
                    during()

        def fails(text: str, during: Callable[[], None] = lambda: None) -> None:
            with pytest.raises(openai.APIError) as caught:
                ask_and(text, during)
            assert caught.value.code == "upstream_storage_full"

        first = client.chat.completions.create(**chat(f"one {mark}", user=user, **there)).choices[0].message.content
        if when == "before a message":
            limit_files(pid(), 0)
            fails(f"two {mark}")
        else:
            fails(f"!slow 200\n!say Hello there two {mark}", lambda: limit_files(pid(), 0))
        fails(f"three {mark}")
        limit_files(pid(), resource.RLIM_INFINITY)
        client.chat.completions.create(**chat(f"four {mark}", user=user, **there))

    said = model.said(f"four {mark}")[-1]
    assert first
    assert said[:2] == [("user", f"one {mark}"), ("assistant", first.rpartition("</think>")[2])]
    texts = "\n".join(text for role, text in said[2:] if role == "user")
    assert [word in texts for word in (f"two {mark}", f"three {mark}", f"four {mark}")] == [True] * 3


def agent_file(state: Path, user: str) -> Path:
    """The file of this user's tutor."""
    *_, tag = agent_tags("tutor", "programs", user)
    (found,) = [path for path in (state / "backend" / "agents").iterdir() if tag in path.read_text()]
    return found


def test_an_agent_whose_file_is_garbled_is_missed_by_its_person_alone_until_the_file_is_mended_or_dropped(
    tmp_path: Path, mark: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    ada, bob, scripted = someone(), someone(), ScriptedModel()
    with served(scripted.app) as url:
        scripted.base_url = f"{url}/v1"
        with embedded(scripted, tmp_path) as url, sdk(url) as client:
            ask(client, f"My name is Ada. {mark}", ada, "chat")
            ask(client, "hello", bob, "chat")
        file = agent_file(tmp_path, ada)
        whole = file.read_text()
        file.write_text(whole[:100])
        agents = sorted(file.parent.iterdir())
        settings = settings_of_embedded(tmp_path, provider=Provider(id="openai-compatible", base_url=scripted.base_url))

        with served(create_app(settings)) as url, sdk(url) as client:
            for _ in range(2):
                with pytest.raises(openai.InternalServerError) as caught:
                    ask(client, "Are you there?", ada, "chat")
                assert (caught.value.status_code, caught.value.code) == (503, "agent_garbled")
            assert ask(client, f"on {mark}", bob, "chat") == f"You said: on {mark}"
            assert (sorted(file.parent.iterdir()), file.read_text()) == (agents, whole[:100])
            assert [str(file) in message for message in caplog.messages if "is damaged: " in message] == [True]

            file.write_text(whole)
            assert ask(client, f"back {mark}", ada, "chat") == f"You said: back {mark}"
            assert f"My name is Ada. {mark}" in str(scripted.received(f"back {mark}")[-1])

        file.write_text("")
        assert not asyncio.run(check(settings))
        problem = capsys.readouterr().out.partition("problem: ")[2]
        assert str(file) in problem
        assert "replaced by a copy of it, or deleted" in problem
        file.unlink()
        with served(create_app(settings)) as url, sdk(url) as client:
            assert ask(client, f"anew {mark}", ada, "chat")
            assert len(list(file.parent.iterdir())) == len(agents)


@pytest.mark.parametrize("garbled", ["backend/providers/auth.json", ".letta/settings.json"])
def test_an_embedded_letta_starts_on_half_a_file_of_what_it_is_told_anew_anyway(tmp_path: Path, garbled: str) -> None:
    user, settings = someone(), settings_of_embedded(tmp_path)
    with served(create_app(settings)) as url, sdk(url) as client:
        ask(client, "hello", user, "chat")
    half = (tmp_path / garbled).read_bytes()[:50]
    (tmp_path / garbled).write_bytes(half)
    with served(create_app(settings)) as url, sdk(url) as client:
        assert ask(client, "hello again", user, "chat") == "You said: hello again"


def test_an_embedded_letta_that_hangs_is_replaced_and_the_chat_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "DOUBT_SECONDS", 0.5)
    monkeypatch.setattr(process, "HANG_SECONDS", 2)
    user, settings = someone(), settings_of_embedded(tmp_path, request_seconds=12)
    upstream = EmbeddedUpstream(settings, offline_model)
    with served(create_app(settings, upstream)) as url, sdk(url) as client:
        ask(client, "hello", user, "chat")
        pid = upstream.process.pid
        assert pid
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(openai.APIError) as caught:
            ask(client, "Are you there?", user, "chat")
        assert caught.value.code == "upstream_timeout"
        assert ask(client, "hello again", user, "chat") == "You said: hello again"
        assert upstream.process.pid != pid


def killed(pid: int) -> None:
    """Kill a process; returns when it has ended."""
    end = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    assert select.select([end], [], [], 10)[0]
    os.close(end)


def test_an_embedded_letta_outlives_a_gateway_that_is_killed_in_what_it_keeps(tmp_path: Path) -> None:
    config, user = tmp_path / "gateway.toml", someone()
    config.write_text(
        f'[letta]\nupstream = "embedded"\nstate = "{tmp_path / "state"}"\n[[agent_types]]\nid = "tutor"\n'
        f'[[keys]]\nname = "programs"\nkey = "{KEY}"\n'
    )
    with ForkedGateway(config) as process, sdk(process.base_url) as client:
        ask(client, "My name is Ada.", user, "chat")
        process.kill()
    with ForkedGateway(config) as process, sdk(process.base_url) as client:
        assert ask(client, "What is my name?", user, "new chat") == "Your name is Ada."


@pytest.mark.parametrize(("tool", "arguments"), FORBIDDEN.values(), ids=FORBIDDEN)
def test_a_client_s_tool_is_the_client_s_whatever_its_name_is(
    host: Host, tool: str, arguments: dict[str, Any], mark: str
) -> None:
    before = host.seen()
    offered: Any = {"type": "function", "function": {"name": tool, "parameters": {"type": "object", "properties": {}}}}
    more: Any = {"user": host.user, "tools": [offered], "metadata": {"chat_id": mark}}
    # The model calls it as it is told of it.
    script: Any = [{"role": "user", "content": f"!tool {offered_name(tool)} {filled(arguments, host)}"}]
    with sdk(host.url) as client:
        called = client.chat.completions.create(model="tutor", messages=script, **more).choices[0]
        (call,) = called.message.tool_calls or []
        result: Any = {"role": "tool", "tool_call_id": call.id, "content": f"done by the client {mark}"}
        answered = client.chat.completions.create(model="tutor", messages=[*script, called.message, result], **more)
        assert ask(client, f"on {mark}", host.user, mark) == f"You said: on {mark}"

    assert call.type == "function"
    assert (call.function.name, json.loads(call.function.arguments)) == (tool, json.loads(filled(arguments, host)))
    assert f"done by the client {mark}" in (answered.choices[0].message.content or "")
    assert before == host.seen()
    assert_nothing_leaked(host, mark)
