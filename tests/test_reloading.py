"""A configuration that is read again: what is taken up, what is refused, and what is said about it."""

import asyncio
import os
import pty
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest

from gateway.configuration import SettingsError, files_of
from gateway.http.in_force import InForce
from gateway.reloading import Reloading
from gateway.settings import AgentType, Chats, Key, Letta, Provider, Secret, Server, Settings, UserSource
from gateway.watching import changes_of
from tests.servers.fake_letta import FakeLetta

pytestmark = pytest.mark.anyio

TUTOR, COOK = AgentType(id="tutor", model="m"), AgentType(id="cook", model="m")
FIRST, SECOND = Key(name="first", key=Secret("sk-1")), Key(name="second", key=Secret("sk-2"))
BEFORE = Settings(agent_types=(TUTOR,), keys=(FIRST,))


def changed(**fields: object) -> Settings:
    return msgspec.structs.replace(BEFORE, **fields)


def with_field(what: AgentType | Key, **fields: object) -> tuple[object]:
    return (msgspec.structs.replace(what, **fields),)


async def said_of(after: Settings, caplog: pytest.LogCaptureFixture, before: Settings = BEFORE) -> list[str]:
    """What is said when `after` is read."""
    caplog.set_level("INFO", "gateway.reloading")
    in_force = InForce(before)
    await Reloading(lambda: after, in_force).reload()
    said = [record.message for record in caplog.records if record.name == "gateway.reloading"]
    assert in_force.settings is (after if said[0].startswith("The configuration was taken up") else before)
    return said


TAKEN_UP: dict[str, tuple[Settings, str]] = {
    "a key": (changed(keys=(FIRST, SECOND)), "keys: second added"),
    "a key less": (changed(keys=(SECOND,)), "keys: second added, first removed"),
    "a key's value": (changed(keys=with_field(FIRST, key=Secret("sk-3"))), "keys: first changed"),
    "a key's users": (changed(keys=with_field(FIRST, user_from=(UserSource("header:x"),))), "keys: first changed"),
    "an agent type": (changed(agent_types=(TUTOR, COOK)), "agent types: cook added"),
    "an agent type's look": (changed(agent_types=with_field(TUTOR, reasoning="hidden")), "agent types: tutor changed"),
    "both": (changed(keys=(SECOND, FIRST), agent_types=(COOK, TUTOR)), "keys: second added; agent types: cook added"),
}


@pytest.mark.parametrize(("after", "words"), TAKEN_UP.values(), ids=TAKEN_UP)
async def test_keys_and_agent_types_are_taken_up(after: Settings, words: str, caplog: pytest.LogCaptureFixture) -> None:
    assert await said_of(after, caplog) == [f"The configuration was taken up: {words}."]


async def test_another_order_is_taken_up(caplog: pytest.LogCaptureFixture) -> None:
    before, after = changed(agent_types=(TUTOR, COOK)), changed(agent_types=(COOK, TUTOR))

    assert await said_of(after, caplog, before) == ["The configuration was taken up: agent types: in another order."]


REFUSED: dict[str, tuple[Settings, str]] = {
    "the port": (changed(server=Server(port=1)), "server.port"),
    "two fields": (changed(server=Server(port=1, ping_seconds=1)), "server.port, server.ping_seconds"),
    "Letta, and a key": (changed(letta=Letta(base_url="ws://h"), keys=(SECOND,)), "letta.base_url"),
    "chats": (changed(chats=Chats(grace_seconds=2)), "chats.grace_seconds"),
    "a provider": (changed(provider=Provider(id="openai")), "provider"),
    "the last key": (changed(keys=()), "keys (none are left)"),
    "a first key that reads metrics": (
        changed(keys=with_field(SECOND, metrics=True)),
        "keys (none read metrics, and nothing was counted)",
    ),
    "another shared agent": (changed(agent_types=with_field(TUTOR, agent="agent-2", model=None)), "the agent of tutor"),
}


@pytest.mark.parametrize(("after", "names"), REFUSED.values(), ids=REFUSED)
async def test_what_needs_a_restart_is_named_and_nothing_is_taken_up(
    after: Settings, names: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert await said_of(after, caplog) == [f"The configuration stays as it was. A change of {names} needs a restart"]


async def test_a_first_key_needs_a_restart(caplog: pytest.LogCaptureFixture) -> None:
    assert "keys (there were none)" in "".join(await said_of(BEFORE, caplog, changed(keys=())))


async def test_a_mistake_is_said_and_nothing_is_taken_up(caplog: pytest.LogCaptureFixture) -> None:
    def read() -> Settings:
        raise SettingsError("gateway.toml", "keys[0].name", "missing")

    in_force = InForce(BEFORE)
    await Reloading(read, in_force).reload()

    assert [record.message for record in caplog.records] == [
        "The configuration stays as it was. gateway.toml: keys[0].name: missing"
    ]
    assert in_force.settings is BEFORE


async def test_what_has_not_changed_is_said_to_whoever_asks_and_to_nobody_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "gateway.reloading")
    reloading = Reloading(lambda: changed(), InForce(BEFORE))
    await reloading.reload(asked=False)
    await reloading.reload()

    assert [record.message for record in caplog.records] == ["The configuration has not changed."]


async def test_a_watch_that_breaks_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    async def breaking() -> AsyncIterator[None]:
        raise OSError("no more watches")
        yield

    await Reloading(lambda: BEFORE, InForce(BEFORE)).follow(breaking())

    assert [record.message for record in caplog.records] == [
        "The configuration is watched no more (OSError); SIGHUP still has it read."
    ]


async def test_a_file_that_stays_bad_is_told_of_once_unless_somebody_asks(caplog: pytest.LogCaptureFixture) -> None:
    reloading = Reloading(lambda: changed(keys=()), InForce(BEFORE))
    for asked in (False, False, True):
        await reloading.reload(asked)

    assert len(caplog.records) == 2


CONFIG = """
[letta]
base_url = "{letta}"

[[agent_types]]
id = "tutor"
model = "m"
system_file = "{system}"
"""


def written(folder: Path, system: str) -> Path:
    """A configuration whose agents have the system prompt in this file of its folder."""
    path = folder / "gateway.toml"
    path.write_text(CONFIG.format(letta="http://127.0.0.1:9", system=system))
    return path


def test_the_files_of_a_configuration_are_those_that_it_names(tmp_path: Path) -> None:
    assert files_of(written(tmp_path, "prompts/a.md")) == [tmp_path / "gateway.toml", tmp_path / "prompts/a.md"]


def test_of_a_configuration_that_cannot_be_read_one_file_is_known(tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").write_text("[[")

    assert files_of(tmp_path / "gateway.toml") == [tmp_path / "gateway.toml"]


def rewrite(file: Path) -> None:
    file.write_text(file.read_text() + "# changed\n")


def replace(file: Path) -> None:
    """As editors do."""
    new = file.with_name("new")
    new.write_text(file.read_text() + "# changed\n")
    new.replace(file)


def mount(file: Path) -> None:
    """As Kubernetes does: a link in the folder points to another folder at once."""
    target = file.parent / "..data" / file.name
    if not file.is_symlink():
        (file.parent / "..1").mkdir()
        file.rename(file.parent / "..1" / file.name)
        (file.parent / "..data").symlink_to("..1")
        file.symlink_to(target.relative_to(file.parent))
        return
    (file.parent / "..2").mkdir()
    (file.parent / "..2" / file.name).write_text(file.read_text() + "# changed\n")
    (file.parent / "..next").symlink_to("..2")
    (file.parent / "..next").replace(file.parent / "..data")


WAYS: dict[str, Callable[[Path], None]] = {"in place": rewrite, "by another": replace, "as a mount": mount}


@pytest.mark.parametrize("change", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("which", ["gateway.toml", "prompts/a.md"])
async def test_a_change_of_any_file_is_noticed_and_nothing_else_is(
    tmp_path: Path, which: str, change: Callable[[Path], None]
) -> None:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "a.md").write_text("You are a tutor.")
    config = written(tmp_path, "prompts/a.md")
    if change is mount:
        mount(tmp_path / which)
    looked = asyncio.Event()

    def files() -> list[Path]:
        looked.set()
        return files_of(config)

    changes = changes_of(files)
    noticed = asyncio.ensure_future(anext(changes))
    await looked.wait()
    for number in range(100):
        if number == 20:
            assert not noticed.done()
            change(tmp_path / which)
        # The watch may not have begun yet when the file changes; then it is this that makes it look.
        (tmp_path / "beside.log").write_text(str(number))
        (tmp_path / "prompts" / "beside.log").write_text(str(number))
        await asyncio.wait([noticed], timeout=0.05)
    assert noticed.done()
    await changes.aclose()


def test_a_gateway_ends_when_its_terminal_has_gone(tmp_path: Path) -> None:
    with FakeLetta() as letta:
        path = tmp_path / "gateway.toml"
        path.write_text(f'[letta]\nbase_url = "{letta.base_url}"\n[[agent_types]]\nid = "tutor"\nmodel = "m"\n')
        child, terminal = pty.fork()
        if not child:
            # With `nohup` nobody is told of it.
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
            os.execv(sys.executable, [sys.executable, "-m", "gateway", "serve", "--config", str(path), "--port", "0"])
        said = b""
        while b"Serving at" not in said:
            said += os.read(terminal, 4096)
        os.close(terminal)

        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


def test_a_gateway_without_a_terminal_outlives_a_hangup(tmp_path: Path) -> None:
    with FakeLetta() as letta:
        path = tmp_path / "gateway.toml"
        path.write_text(f'[letta]\nbase_url = "{letta.base_url}"\n[[agent_types]]\nid = "tutor"\nmodel = "m"\n')
        command = [sys.executable, "-m", "gateway", "serve", "--config", str(path), "--port", "0"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
            assert process.stderr
            for line in process.stderr:
                if "Serving at" in line:
                    process.send_signal(signal.SIGHUP)
                if "gateway.reloading" in line:
                    assert "The configuration has not changed." in line
                    process.terminate()
        assert process.returncode == 0
