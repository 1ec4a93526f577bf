"""A configuration that changes while people read answers: what each of them sees, on every real Letta."""

import hashlib
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateways import ForkedGateway, chat, http
from tests.held import held, is_whole, told_error
from tests.integration.words import someone, unheard
from tests.servers.real_letta import RealLetta
from tests.servers.scripted_model import ScriptedModel

CONFIG = """
{more}
{letta}

[[agent_types]]
id = "tutor"
model = "{model}"
system = "You are {system}."

[[keys]]
name = "people"
sha256 = [{digests}]
scope = "all"

[[keys]]
name = "others"
key = "sk-others"
scope = "all"
"""
STREAMS = 5
OLD, NEW, OTHERS = "sk-old", "sk-new", "sk-others"


class Gateway(ForkedGateway):
    """A gateway whose configuration can be changed: at first the key `people` has the value OLD."""

    def __init__(self, letta: RealLetta, folder: Path, *more: str) -> None:
        self._letta, self._folder, self._reloads = letta, folder, 0
        self.path = folder / "gateway.toml"
        self.write(OLD)
        super().__init__(self.path, *more)

    def write(self, *values: str, system: str = "a tutor", more: str = "") -> None:
        digests = ", ".join(f'"{hashlib.sha256(value.encode()).hexdigest()}"' for value in values)
        letta, model = self._letta.config(self._folder), self._letta.model
        self.path.write_text(CONFIG.format(more=more, letta=letta, model=model, system=system, digests=digests))

    def reload(self) -> str:
        """Tell it to read its configuration again; gives what it says about that."""
        self.process.send_signal(signal.SIGHUP)
        return self.said_of_changes()

    def said_of_changes(self) -> str:
        """The next thing that it says about its configuration."""
        self._reloads += 1
        line = self.wait_for(" gateway.reloading ", self._reloads)[self._reloads - 1]
        return line.partition(" gateway.reloading ")[2].strip()

    def takes(self, key: str) -> bool:
        with http(self.base_url, key) as client:
            return client.get("/v1/models").status_code == 200


@pytest.fixture
def gateway(letta: RealLetta, tmp_path: Path) -> Iterator[Gateway]:
    with Gateway(letta, tmp_path) as process:
        yield process


def test_a_value_is_exchanged_for_another_without_a_stream_that_ends(gateway: Gateway, model: ScriptedModel) -> None:
    with held(gateway.base_url, model, {OLD: STREAMS}) as streams:
        gateway.write(OLD, NEW)
        assert gateway.reload() == "The configuration was taken up: keys: people changed."
        assert gateway.takes(OLD)
        assert gateway.takes(NEW)
        streams.gate.open()

        assert [is_whole(each) for each in streams.read(OLD)] == [True] * STREAMS


def test_streams_of_a_value_that_is_taken_away_end_with_an_error_and_no_other_does(
    gateway: Gateway, model: ScriptedModel
) -> None:
    with held(gateway.base_url, model, {OLD: STREAMS, OTHERS: STREAMS}) as streams:
        gateway.write(NEW)
        assert gateway.reload() == "The configuration was taken up: keys: people changed."

        assert [told_error(each) for each in streams.read(OLD)] == ["invalid_api_key"] * STREAMS
        assert not gateway.takes(OLD)
        assert gateway.takes(NEW)
        streams.gate.open()
        assert [is_whole(each) for each in streams.read(OTHERS)] == [True] * STREAMS


# What stands before the rest of the file -> what is said about it
BAD = {
    "no TOML": ("[[", "not a TOML file"),
    "a mistake": ("[server]\nmax_streams = 0\n", "server.max_streams"),
    "a change that needs a restart": (
        "[server]\nping_seconds = 3\n",
        "A change of server.ping_seconds needs a restart",
    ),
}


def test_a_file_that_cannot_be_taken_up_leaves_everything_as_it_was(gateway: Gateway, model: ScriptedModel) -> None:
    with held(gateway.base_url, model, {OLD: 1}) as streams:
        for more, words in BAD.values():
            gateway.write(NEW, more=more)
            line = gateway.reload()
            assert line.startswith("The configuration stays as it was.")
            assert words in line
            assert (gateway.takes(OLD), gateway.takes(NEW)) == (True, False)
        streams.gate.open()
        assert is_whole(*streams.read(OLD))


def test_agents_have_a_changed_system_prompt_from_the_next_message_on(gateway: Gateway, model: ScriptedModel) -> None:
    user, first, then = someone(), unheard("first"), unheard("then")
    with http(gateway.base_url, OLD) as client:
        for text, system in ((first, "a cook"), (then, "")):
            body = chat(text, user=user, metadata={"chat_id": "one"})
            assert client.post("/v1/chat/completions", json=body).status_code == 200
            if system:
                gateway.write(OLD, system=system)
                assert gateway.reload() == "The configuration was taken up: agent types: tutor changed."

    systems = [model.received(text)[0][0][1] for text in (first, then)]
    assert ["You are a tutor." in systems[0], "You are a cook." in systems[1]] == [True, True]


def test_a_file_that_is_watched_is_taken_up_by_itself(letta: RealLetta, tmp_path: Path) -> None:
    with Gateway(letta, tmp_path, "--watch") as gateway:
        gateway.write(NEW)
        assert gateway.said_of_changes() == "The configuration was taken up: keys: people changed."
        assert (gateway.takes(OLD), gateway.takes(NEW)) == (False, True)
