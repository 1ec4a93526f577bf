"""Calls without a result in an App Server's listings, and what a client's tools gave in what is sent and listed."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.messages import Message, image_of, message_of
from gateway.letta.app_server import turns
from gateway.letta.app_server.frames import KeptMessage
from gateway.letta.app_server.input import to_input
from gateway.letta.app_server.listing import calls_wait, to_past
from gateway.letta.app_server.upstream import AppServerUpstream
from gateway.letta.notes import EXCHANGED, REMINDER_END
from gateway.letta.stream_messages import StreamedCall
from gateway.letta.upstream import Conversation, Instructions, Sending
from tests.letta.app_server.parked import park
from tests.letta.words import WORDS, client_note, texts
from tests.servers.fake_app_server import FakeAppServer, Frame

pytestmark = pytest.mark.anyio

SAID = KeptMessage("1", "user_message", "gw1-1")
THOUGHT = KeptMessage("2", "reasoning_message")


def call(id: str, name: str = "weather") -> KeptMessage:
    return KeptMessage(f"call-{id}", "approval_request_message", tool_call=StreamedCall(name, id))


def returned(id: str) -> KeptMessage:
    return KeptMessage(f"return-{id}", "tool_return_message", tool_call_id=id)


# the oldest first -> whether a call waits
WAIT: dict[str, tuple[list[KeptMessage], bool]] = {
    "nothing was said": ([], False),
    "a question": ([SAID], False),
    "an answer": ([SAID, THOUGHT, KeptMessage("3", "assistant_message")], False),
    "a call": ([SAID, THOUGHT, call("c1")], True),
    "a call with its result": ([SAID, call("c1"), returned("c1")], False),
    "two calls, one with its result": ([SAID, call("c1"), call("c2"), returned("c2")], True),
    "two calls with their results": ([SAID, call("c1"), call("c2"), returned("c2"), returned("c1")], False),
    "another call after a result": ([SAID, call("c1"), returned("c1"), THOUGHT, call("c2")], True),
    "a call of an earlier turn": ([SAID, call("c1"), SAID, KeptMessage("3", "assistant_message")], False),
    "a call of the memory": ([SAID, call("c1", "memory_insert")], False),
    "a call of the memory, and another": ([SAID, call("c1", "memory_insert"), call("c2")], True),
    "a call of which nothing is told": ([SAID, KeptMessage("2", "approval_request_message")], False),
    "a call before any question": ([call("c1")], True),
}


@pytest.mark.parametrize(("listed", "waits"), WAIT.values(), ids=WAIT)
def test_a_call_of_the_last_turn_waits_until_it_has_a_result(listed: list[KeptMessage], waits: bool) -> None:
    assert calls_wait(listed[::-1]) is waits


# Conversations with such calls


def asked(id: str, text: str, otid: str) -> Frame:
    return {"id": id, "message_type": "user_message", "otid": otid, "content": [{"type": "text", "text": text}]}


def answered(id: str, text: str) -> Frame:
    return {"id": id, "message_type": "assistant_message", "content": [{"type": "text", "text": text}]}


def called(id: str, name: str) -> Frame:
    told = {"name": name, "tool_call_id": "c1", "arguments": "{}"}
    return {"id": id, "message_type": "approval_request_message", "tool_call": told}


TURN = (asked("ui-1", "Hi", "gw1-1"), answered("ui-2", "Hello"))
BEGUN = (asked("ui-3", "More", "gw1-3"), answered("ui-4", "Let me see."))
RESULT = {"id": "ui-6", "message_type": "tool_return_message", "tool_call_id": "c1"}
# what follows -> whether the last turn is read, and the next can be added
READ: dict[str, tuple[list[Frame], bool]] = {
    "a call of the client's": ([called("ui-5", "weather")], False),
    "a call with its result": ([called("ui-5", "weather"), RESULT], True),
    "a call of the memory": ([called("ui-5", "memory_insert")], True),
    "no call": ([], True),
}


@pytest.mark.parametrize(("listed", "read"), READ.values(), ids=READ)
async def test_a_turn_that_waits_elsewhere_is_no_part_of_the_past(
    server: FakeAppServer, upstream: AppServerUpstream, listed: list[Frame], read: bool
) -> None:
    everything = [*TURN, *BEGUN, *listed]
    server.answers["conversation_messages_list"] = {"success": True, "messages": everything[::-1]}
    past = await upstream.read_conversation("agent-1", Conversation("conv-1"))

    assert [message.content for message in past.messages] == [
        *("Hi", "Hello"),
        *(["More", "Let me see."] if read else []),
    ]
    assert (past.appendable, past.pending) == (read, ())


async def test_a_turn_that_waits_here_is_a_part_of_the_past(
    server: FakeAppServer, upstream: AppServerUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "ENDING_SECONDS", 0.01)
    await park(server, upstream, "weather")
    everything = [*TURN, *BEGUN, called("ui-5", "weather")]
    server.answers["conversation_messages_list"] = {"success": True, "messages": everything[::-1]}
    past = await upstream.read_conversation("agent-1", Conversation("conv-1"))

    assert [message.content for message in past.messages] == ["Hi", "Hello", "More", "Let me see."]
    assert past.appendable
    assert [call.name for call in past.pending] == ["weather"]


# What was called to answer a question is told before it, and is no part of it.

NOTE = f'{EXCHANGED}{{"tool":"weather","result":"sunny"}}{REMINDER_END}'
EXCHANGE = '{"tool":"weather","result":"sunny"}'
SHOWN = image_of("image/png", "cmVk")


def test_an_exchange_is_told_before_its_question_and_after_what_the_client_says() -> None:
    sending = Sending([Message("user", "Hi", exchanged=EXCHANGE), Message("user", "More")], Instructions("Be kind"))

    assert [texts(message) for message in to_input(sending)] == [[client_note("Be kind"), NOTE, "Hi"], ["More"]]


def listed(sent: dict[str, Any]) -> KeptMessage:
    return KeptMessage("ui-1", "user_message", sent["client_message_id"], sent["content"])


SAYINGS = st.one_of(WORDS, st.just(NOTE), st.just(EXCHANGED), st.just(REMINDER_END))
EXCHANGES = st.sampled_from(["", EXCHANGE, f"{EXCHANGE}\n{EXCHANGE}"])


@given(SAYINGS, EXCHANGES, st.booleans(), st.sampled_from(["", "Be kind"]))
def test_a_question_is_found_again_without_its_exchange_whatever_it_says(
    text: str, exchange: str, shows: bool, instructions: str
) -> None:
    said = message_of("user", [text, SHOWN] if shows else [text])
    message = Message("user", text, "gw1-1", images=said.images, exchanged=exchange)
    (sent,) = to_input(Sending([message], Instructions(instructions)))
    (found,) = to_past([listed(sent)]).messages

    assert (found.content, found.images, found.exchanged) == (text, said.images, "")
