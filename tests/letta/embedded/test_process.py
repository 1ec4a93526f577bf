"""The App Server of the gateway's own, a real one: how it starts, what it is told, and that it never stays behind."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from gateway.domain import errors
from gateway.letta.embedded import keeper, lock
from gateway.letta.embedded import process as app_server_process
from gateway.letta.embedded.directory import default_state
from gateway.letta.embedded.process import AppServerProcess
from tests.servers.scripted_model import ScriptedModel

pytestmark = [pytest.mark.anyio, pytest.mark.full]

# The gateway of the tests that kill it. uvloop, because that is what it has when it serves.
GATEWAY = """
import asyncio, sys
from pathlib import Path
import uvloop
from gateway.letta.embedded.process import AppServerProcess

async def main():
    server = AppServerProcess(Path(sys.argv[1]))
    await server.start()
    print(server.pid, flush=True)
    await asyncio.Event().wait()

uvloop.run(main())
"""
# An App Server in as far as it says so.
LISTENING = "import time; print('WebSocket: ws://127.0.0.1:1/ws', flush=True); time.sleep(60)"
NO_LUCK = "print('no luck')"
# A keeper whose child was the first to speak.
SLOW_KEEPER = """
import sys
print("WebSocket: ws://127.0.0.1:1/ws", flush=True)
print("Keeping process 1", flush=True)
sys.stdin.read()
"""
# A child of the keeper: the first is deaf to SIGTERM, and both say when they are ready.
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
SLEEPING = "import time; print('up', flush=True); time.sleep(60)"


@asynccontextmanager
async def started(state: Path) -> AsyncIterator[AppServerProcess]:
    server = AppServerProcess(state)
    await server.start()
    try:
        yield server
    finally:
        await server.aclose()


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[AppServerProcess]:
    """One for every test that leaves it alive. A key is in the environment when it starts."""
    state = tmp_path_factory.mktemp("embedded") / "state"
    (state / ".letta").mkdir(parents=True)
    (state / ".letta" / "settings.json").write_text(
        r'{"deviceId": "mine", "name": "half \ud83d", "reflectionTrigger": "step-count"}'
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", "sk-secret")
        async with started(state) as server:
            yield server


@contextmanager
def process(*command: str) -> Iterator[subprocess.Popen[str]]:
    """A process with pipes, killed at the end if it still runs."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        try:
            yield child
        finally:
            child.kill()


def keeping(code: str) -> Any:
    """A keeper whose child runs `code`."""
    return process(sys.executable, "-m", "gateway.letta.embedded.keeper", sys.executable, "-c", code)


def child_of(keeping: subprocess.Popen[str]) -> int:
    """The kept process, when it is up."""
    assert keeping.stdout
    # Either may speak first.
    said = {keeping.stdout.readline(), keeping.stdout.readline()}
    (kept,) = said - {"up\n"}
    return int(kept.removeprefix("Keeping process "))


def parent_of(pid: int) -> int:
    return int(told(pid, "stat").rpartition(")")[2].split()[1])


def is_there(pid: int) -> bool:
    """Whether the process runs; one that only waits for its parent to look at it does not."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return told(pid, "stat").rpartition(")")[2].split()[0] != "Z"
    return False


def becomes(condition: Callable[[], bool], seconds: float = 10) -> bool:
    """Whether `condition` comes true in time: what a process that is not one's own child does has no event."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def gone(pids: list[int], seconds: float = 10) -> bool:
    return becomes(lambda: not any(is_there(pid) for pid in pids), seconds)


def told(pid: int, name: str) -> str:
    """A file of /proc about a process."""
    return Path(f"/proc/{pid}/{name}").read_text()


def family(server: AppServerProcess) -> list[int]:
    """The App Server and its keeper."""
    assert server.pid
    return [server.pid, parent_of(server.pid)]


async def killed(server: AppServerProcess, pid: int) -> None:
    """Kill one of the family; returns when none of it is left and the gateway knows."""
    before = family(server)
    os.kill(pid, signal.SIGKILL)
    assert await asyncio.to_thread(gone, before)
    assert await asyncio.to_thread(becomes, lambda: server.pid != before[0])


async def answers(url: str, token: str) -> bool:
    async with connect(url, additional_headers={"Authorization": f"Bearer {token}"}) as socket:
        await socket.send('{"type": "app_server_info", "request_id": "1"}')
        return bool(json.loads(await socket.recv())["success"])


async def test_it_answers_whoever_has_the_token(server: AppServerProcess) -> None:
    assert await answers(*await server.address())


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer guessed"}])
async def test_it_refuses_whoever_has_not(server: AppServerProcess, headers: dict[str, str]) -> None:
    url, _ = await server.address()

    with pytest.raises(InvalidStatus, match="401"):
        await connect(url, additional_headers=headers)


async def test_it_listens_on_the_loopback_only(server: AppServerProcess) -> None:
    assert (await server.address())[0].startswith("ws://127.0.0.1:")


async def test_no_command_line_shows_the_token(server: AppServerProcess) -> None:
    _, token = await server.address()

    assert not [pid for pid in family(server) if token in told(pid, "cmdline")]


async def test_no_key_of_the_gateway_reaches_it(server: AppServerProcess) -> None:
    environments = [told(pid, "environ") for pid in family(server)]

    assert not [environment for environment in environments if "sk-secret" in environment]
    assert all(f"HOME={server.log.parent}\0" in environment for environment in environments)


async def test_nobody_else_can_read_what_it_keeps(server: AppServerProcess) -> None:
    # What is below a directory that is closed is out of reach.
    made = list(server.log.parent.iterdir())

    assert {"token", "lock", "app-server.log", ".letta"} <= {path.name for path in made}
    assert not [path for path in made if path.stat().st_mode & 0o077]


async def test_nobody_else_can_read_what_it_will_make(server: AppServerProcess) -> None:
    assert all("Umask:\t0077\n" in told(pid, "status") for pid in family(server))


async def test_its_settings_are_kept_but_for_those_the_gateway_needs(server: AppServerProcess) -> None:
    settings = json.loads((server.log.parent / ".letta" / "settings.json").read_bytes())

    assert {"deviceId": "mine", "reflectionTrigger": "off", "sessionContextEnabled": False}.items() <= settings.items()


async def test_its_log_tells_what_it_says(server: AppServerProcess) -> None:
    url, _ = await server.address()

    assert url in server.log.read_text()


async def test_a_second_gateway_is_told_that_the_state_is_taken(
    server: AppServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "LOCK_SECONDS", 0.1)

    with pytest.raises(errors.CannotStart, match=f"Another gateway uses .*{server.log.parent}"):
        await AppServerProcess(server.log.parent).start()
    assert await answers(*await server.address())


async def test_the_model_hears_no_reminder_of_the_app_server(server: AppServerProcess, model: ScriptedModel) -> None:
    url, token = await server.address()
    async with connect(url, additional_headers={"Authorization": f"Bearer {token}"}) as socket:
        fields = {"baseUrl": model.base_url, "apiKey": "any"}
        await ask(socket, "connect_provider", target="local", provider_id="openai-compatible", fields=fields)
        models = await ask(socket, "list_models")
        body = {"name": "anna", "model": models["entries"][0]["handle"]}
        conversation = await ask(
            socket, "runtime_start", create_agent={"body": body}, create_conversation={"body": {}}, mode="unrestricted"
        )
        message = {"role": "user", "content": "What is embedded here?", "client_message_id": "1"}
        payload = {"kind": "create_message", "messages": [message], "client_tool_allowlist": []}
        await ask(socket, "input", runtime=conversation["runtime"], payload=payload)
        while json.loads(await socket.recv())["type"] != "turn_finished":
            pass

    (heard,) = model.received("What is embedded here?")
    assert heard[1:] == [("user", "What is embedded here?")]


async def ask(socket: ClientConnection, kind: str, **more: Any) -> Any:
    """The answer to a request."""
    await socket.send(json.dumps({"type": kind, "request_id": kind, **more}))
    while (answer := json.loads(await socket.recv())).get("request_id") != kind:
        pass
    assert answer.get("success", True), answer
    return answer


async def test_what_died_comes_back_elsewhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with started(tmp_path / "state") as server:
        for which in (0, 1):  # The App Server, then its keeper.
            _, token = await server.address()
            await killed(server, family(server)[which])

            new = await server.address()

            assert new[1] != token
            assert await answers(*new)
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2


async def test_it_ends_when_it_is_closed(tmp_path: Path) -> None:
    async with started(tmp_path / "state") as server:
        processes = family(server)

    assert gone(processes, 0)
    assert server.pid is None
    await server.aclose()
    with pytest.raises(errors.Unreachable, match="not running"):
        await server.address()


async def test_it_ends_with_a_gateway_that_is_killed(tmp_path: Path) -> None:
    with process(sys.executable, "-c", GATEWAY, str(tmp_path)) as gateway:
        assert gateway.stdout
        pid = int(gateway.stdout.readline())
        processes = [pid, parent_of(pid)]
        gateway.kill()

        assert gone(processes)


async def test_the_next_gateway_waits_until_the_app_server_of_a_killed_one_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with process(sys.executable, "-c", GATEWAY, str(tmp_path)) as gateway:
        assert gateway.stdout
        pid = int(gateway.stdout.readline())
        monkeypatch.setattr(app_server_process, "LAUNCH", LISTENING)
        os.kill(pid, signal.SIGSTOP)  # So that its keeper has to grant it all it can.
        gateway.kill()

        async with started(tmp_path):
            assert gone([pid], 0)


async def test_it_is_started_until_it_comes_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(app_server_process, "LAUNCH", LISTENING)
    async with started(tmp_path) as server:
        monkeypatch.setattr(app_server_process, "LAUNCH", NO_LUCK)
        await killed(server, family(server)[0])
        assert await asyncio.to_thread(becomes, lambda: len(caplog.records) > 1)
        monkeypatch.setattr(app_server_process, "LAUNCH", LISTENING)

        assert (await server.address())[0] == "ws://127.0.0.1:1/ws"
    assert "starts again in 0.2 s" in caplog.messages[0]
    assert "starts again in 0.4 s" in caplog.messages[1]


async def test_one_that_waits_for_a_restart_learns_of_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_server_process, "LAUNCH", LISTENING)
    monkeypatch.setattr(app_server_process, "FIRST_RESTART_DELAY", 60)
    server = AppServerProcess(tmp_path)
    await server.start()
    await killed(server, family(server)[0])
    waiting = asyncio.create_task(server.address())
    await asyncio.sleep(0)

    await server.aclose()

    with pytest.raises(errors.Unreachable):
        await waiting


async def test_it_is_up_too_if_it_says_so_before_its_keeper_says_who_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = tmp_path / "embedded"
    shutil.copytree(app_server_process.HERE, ours)
    (ours / "keeper.py").write_text(SLOW_KEEPER)
    monkeypatch.setattr(app_server_process, "HERE", ours)

    async with started(tmp_path / "state") as server:
        assert (server.pid, (await server.address())[0]) == (1, "ws://127.0.0.1:1/ws")


@pytest.mark.parametrize("launch", [NO_LUCK, "import time; time.sleep(60)"], ids=["ends", "hangs"])
async def test_one_that_does_not_come_up_is_unreachable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, launch: str
) -> None:
    monkeypatch.setattr(app_server_process, "LAUNCH", launch)
    monkeypatch.setattr(app_server_process, "START_SECONDS", 2)
    server = AppServerProcess(tmp_path)

    with pytest.raises(errors.Unreachable, match=str(server.log)):
        await server.start()
    assert "Keeping process" in server.log.read_text()


async def test_nobody_else_can_enter_the_state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_server_process, "LAUNCH", NO_LUCK)
    with pytest.raises(errors.Unreachable):
        await AppServerProcess(tmp_path / "home" / "state").start()

    assert (tmp_path / "home" / "state").stat().st_mode & 0o777 == 0o700


async def test_it_starts_with_what_an_earlier_one_compiled_and_without_it_where_that_is_garbled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # All others share what they have compiled.
    monkeypatch.delenv("NODE_COMPILE_CACHE")
    async with started(tmp_path) as server:
        # Straight to the App Server: its keeper would not wait for it for ever.
        assert (pid := server.pid)
        os.kill(pid, signal.SIGTERM)
        assert await asyncio.to_thread(becomes, lambda: not is_there(pid), 60)
    kept = [path for path in (tmp_path / "compiled").rglob("*") if path.is_file()]
    sizes = [path.stat().st_size for path in kept]
    assert sum(sizes) > 1_000_000

    for path, size in zip(kept, sizes, strict=True):
        path.write_bytes(path.read_bytes()[: size // 2])
    async with started(tmp_path) as server:
        assert await answers(*await server.address())


async def test_a_large_log_is_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_server_process, "LAUNCH", NO_LUCK)
    monkeypatch.setattr(app_server_process, "MAX_LOG_BYTES", 10)
    (tmp_path / "app-server.log").write_text("many words")
    for _ in range(2):
        with pytest.raises(errors.Unreachable):
            await AppServerProcess(tmp_path).start()

    assert (tmp_path / "app-server.log.1").read_text().startswith("many words")
    assert "many words" not in (tmp_path / "app-server.log").read_text()


def without_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "letta_code", None)


def without_git(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")


@pytest.mark.parametrize(
    ("lack", "advice"),
    [(without_wheel, r"pip install letta-gateway\[embedded\]"), (without_git, "there is no git")],
    ids=["wheel", "git"],
)
async def test_what_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lack: Callable[[pytest.MonkeyPatch], None], advice: str
) -> None:
    lack(monkeypatch)

    with pytest.raises(errors.CannotStart, match=advice):
        await AppServerProcess(tmp_path).start()


async def test_a_state_directory_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")

    with pytest.raises(errors.CannotStart, match=f"{tmp_path / 'state'} cannot be used"):
        await AppServerProcess(tmp_path / "state").start()


def test_the_state_belongs_to_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/data")

    assert default_state() == Path("/data/letta-gateway")


def test_the_keeper_ends_its_child_when_it_is_let_go() -> None:
    with keeping(SLEEPING) as parent:
        child = child_of(parent)
        parent.stdin.close()

        assert parent.wait(10) == 128 + signal.SIGTERM
        assert gone([child], 0)


def test_the_keeper_ends_its_child_when_it_is_told_to() -> None:
    with keeping(SLEEPING) as parent:
        child = child_of(parent)
        parent.terminate()

        assert parent.wait(10) == 128 + signal.SIGTERM
        assert gone([child], 0)


def test_the_keeper_ends_a_child_that_is_deaf() -> None:
    with keeping(DEAF) as parent:
        child = child_of(parent)
        parent.stdin.close()

        assert parent.wait(keeper.GRACE_SECONDS + 10) == 128 + signal.SIGKILL
        assert gone([child], 0)


def test_a_child_dies_with_its_keeper() -> None:
    with keeping(DEAF) as parent:
        child = child_of(parent)
        parent.kill()

        assert gone([child])


def test_the_keeper_ends_with_its_child_and_as_it_did() -> None:
    with keeping("raise SystemExit(7)") as parent:
        assert parent.wait(10) == 7
