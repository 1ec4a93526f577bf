"""Recorded runs, replayed through the real letta-client and shown by narrator and encoder."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import httpx
import pytest

from gateway.domain import errors
from gateway.domain.events import Event, Text, ToolReturned
from gateway.domain.messages import Message
from gateway.letta.rest.upstream import RestUpstream
from gateway.letta.upstream import Conversation, Instructions, Sending
from gateway.settings import Letta, Secret
from tests import events as e
from tests.frontends.open_webui.cards import Card, part
from tests.wires.oracle import check_stream, play, played

pytestmark = pytest.mark.anyio

T = TypeVar("T")
LETTA = Letta(upstream="rest")
RUNS = Path(__file__).parents[2] / "runs"
SENDING = Sending([Message("assistant", "Hello, I am here."), Message("user", "Hello", "gw1-0-1-2-3")])
THOUGHT = "Let me think about it .  "
GREETING = (
    "Hello! You said: 'Hello'. I have {} messages in context. Tools: conversation_search,memory_insert,memory_replace."
)
TOOL_RETURN = 'Tool said: {{\n  "status": "{}",\n  "message": "{}",\n  "time": "2026-11-21 01:49:{} AM UTC+0000"\n}} '
# Of a tool that nobody has brought.
QUESTION = """**May I do this?** It needs your approval:

- run `get_weather` with
  ```json
  {
    "city": "Oslo"
  }
  ```

Please answer **yes** or **no** (or “no, because …”); anything else counts as a no."""
NO_NEW_STR = "LettaCoreToolExecutor.memory_insert() got an unexpected keyword argument 'new_str'"

# file -> visible text, blocks of thoughts, finish reason or the error's code, total of the usage
RECORDED: dict[str, tuple[str, list[str], str, int | None]] = {
    "plain-answer": (GREETING.format(2) + " ", [THOUGHT], "stop", 18),
    "whole-messages": (GREETING.format(4), [], "stop", 18),
    "server-tool-then-answer": (
        TOOL_RETURN.format("Failed", NO_NEW_STR, 48),
        [THOUGHT + "\nUsing memory_insert…\n", THOUGHT],
        "stop",
        36,
    ),
    "client-tool-asks-approval": (QUESTION, [THOUGHT], "stop", 18),
    "client-tool-result-then-answer": (TOOL_RETURN.format("OK", "12C cloudy", 50), [THOUGHT], "stop", 18),
    "pending-approval-then-user": ("", [], "conversation_busy", None),
    "provider-500": ("", [], "model_error", None),
    "provider-429": ("", [], "rate_limit_exceeded", None),
    "cancelled-in-the-answer": ("Hello! You said: ", [THOUGHT], "run_cancelled", None),
    "cancelled-in-the-background": ("Hello! You said: ", [THOUGHT], "run_cancelled", None),
    "cancelled-in-the-thoughts": ("", ["Let me think "], "run_cancelled", None),
    "provider-error-after-tokens": ("Hello! You said: ", [THOUGHT], "upstream_error", None),
    "context-window-exceeded": ("", [], "context_length_exceeded", None),
    "compaction-after-the-answer": (GREETING.format(2) + " ", [THOUGHT], "stop", 18),
    "cut-without-a-reason-to-stop": ("Hello! You said: ", [THOUGHT], "upstream_broken", None),
    "empty-answer": ("", [], "stop", 18),
    "too-many-steps": (GREETING.format(2) + " ", [THOUGHT], "length", 18),
}


class Pieces(httpx.AsyncByteStream):
    """A body that comes in pieces, and may break at its end."""

    def __init__(self, body: bytes, size: int, failure: Exception | None = None) -> None:
        self._pieces = [body[start : start + size] for start in range(0, len(body), size)]
        self._failure = failure

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece
        if self._failure:
            raise self._failure


class Replay:
    """A Letta that answers every request alike, and keeps what it received."""

    def __init__(self, answer: Callable[[], httpx.Response]) -> None:
        self._answer = answer
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self._answer()

    def upstream(self, settings: Letta = LETTA) -> RestUpstream:
        return RestUpstream(settings, http_client=httpx.AsyncClient(transport=httpx.MockTransport(self)))


def body(name: str) -> bytes:
    return (RUNS / f"{name}.sse").read_bytes()


def replay(name: str, size: int = 1_000_000, failure: Exception | None = None) -> Replay:
    """A Letta that streams a recorded run."""
    headers = {"content-type": "text/event-stream; charset=utf-8"}
    return Replay(lambda: httpx.Response(200, headers=headers, stream=Pieces(body(name), size, failure)))


def refusal(status: int, content: bytes = b'{"detail":"secret of agent-1"}') -> Replay:
    """A Letta that answers with a status."""
    return Replay(lambda: httpx.Response(status, content=content, headers={"content-type": "application/json"}))


def breakage(failure: Exception) -> Replay:
    """A Letta whose connection breaks before it answers."""

    def answer() -> httpx.Response:
        raise failure

    return Replay(answer)


async def run(letta: Replay, events: list[Event] | None = None, sending: Sending = SENDING) -> list[Event]:
    """What Letta says in one run; `events` has what it said before it failed, too."""
    events = [] if events is None else events
    upstream = letta.upstream()
    try:
        await upstream.run("agent-1", "conv-1", sending, (), events.extend)
    finally:
        await upstream.aclose()
    return events


def unheard(events: list[Event]) -> None:
    """Takes what a run says, where only what was sent matters."""


@pytest.mark.parametrize("size", [1_000_000, 100, 7], ids=["at once", "in pieces", "in crumbs"])
@pytest.mark.parametrize("name", RECORDED)
async def test_a_recorded_run_becomes_an_answer(name: str, size: int) -> None:
    visible, thoughts, end, total = RECORDED[name]
    stream = played(await run(replay(name, size)), include_usage=True)

    assert (stream.visible, stream.thoughts) == (visible, thoughts)
    assert (stream.error["code"] if stream.error else stream.finish_reason) == end
    assert (stream.usage.total_tokens if stream.usage else None) == total


@pytest.mark.parametrize("size", [1_000_000, 7], ids=["at once", "in crumbs"])
async def test_a_call_comes_with_its_arguments_in_pieces_and_its_return(size: int) -> None:
    events = await run(replay("server-tool-then-answer", size))
    pieces = e.calls_of(events)
    (returned,) = [event for event in events if isinstance(event, ToolReturned)]

    assert "".join(piece.arguments for piece in pieces) == '{"label":"human","new_str":"likes tea"}'
    assert (returned.failed, returned.text) == (True, NO_NEW_STR)
    assert {piece.id for piece in pieces} == {returned.call_id}


# file -> its cards for Open WebUI
CARDS = {
    "server-tool-then-answer": [
        Card("memory_insert", '{"label":"human","new_str":"likes tea"}', NO_NEW_STR, failed=True),
    ]
}


@pytest.mark.parametrize("name", RECORDED)
async def test_a_recorded_run_has_cards_for_its_tools_and_says_the_same_beside_them(name: str) -> None:
    events = await run(replay(name))
    parted = part(play(events, tools="rich"))
    visible, thoughts, _, _ = RECORDED[name]
    check_stream(parted.frames)

    assert parted.cards == CARDS.get(name, [])
    assert "".join(parted.texts) == visible
    assert parted.thoughts == [thought.partition("\nUsing ")[0] for thought in thoughts]


async def test_a_recorded_card_stands_between_the_thoughts_of_two_steps() -> None:
    timeline = part(play(await run(replay("server-tool-then-answer")), tools="rich")).timeline
    places = [i for i, told in enumerate(timeline) if told[:1] in ("(", "[") or told in ("<think>", "</think>")]

    assert [timeline[i][:20] for i in places] == [
        *("<think>", "(Using memory_insert", "</think>", "(memory_insert faile", '[memory_insert {"lab', "<think>"),
        "</think>",
    ]


def test_every_recorded_run_is_replayed() -> None:
    assert {path.stem for path in RUNS.glob("*.sse")} == {*RECORDED, "cut-within-a-line"}


@pytest.mark.parametrize(
    "name", ["provider-500", "provider-429", "pending-approval-then-user", "context-window-exceeded"]
)
async def test_an_error_tells_nothing_of_letta_s_own_words(name: str) -> None:
    error = str(played(await run(replay(name))).error)

    assert not any(word in error for word in ("mock", "CONFLICT", "INVALID_ARGUMENT", "Error code", "CONTEXT_WINDOW"))


CUTS: dict[str, Exception | None] = {
    "an orderly end": None,
    "an incomplete body": httpx.RemoteProtocolError("incomplete chunked read"),
    "a lost connection": httpx.ReadError("gone"),
}


@pytest.mark.parametrize("failure", CUTS.values(), ids=CUTS)
async def test_a_run_that_is_cut_within_a_line_is_a_broken_stream(failure: Exception | None) -> None:
    events: list[Event] = []
    with pytest.raises(errors.BrokenStream) as raised:
        await run(replay("cut-within-a-line", failure=failure), events)

    assert raised.value.taken
    assert played(events).visible == "Hello! You said: "


async def test_silence_within_a_run_is_told_as_such() -> None:
    events: list[Event] = []
    with pytest.raises(errors.TimedOut) as raised:
        await run(replay("cut-within-a-line", failure=httpx.ReadTimeout("silent")), events)

    assert raised.value.taken
    assert played(events).thoughts == [THOUGHT]


async def test_garbage_within_a_run_is_a_broken_stream() -> None:
    with pytest.raises(errors.BrokenStream) as raised:
        await run(Replay(lambda: httpx.Response(200, content=body("plain-answer")[:1500] + b"\n\ndata: secret\n\n")))

    assert "secret" not in str(raised.value)


async def test_all_that_came_in_one_read_is_given_at_once() -> None:
    upstream = replay("plain-answer").upstream()
    sizes: list[int] = []
    await upstream.run("agent-1", "conv-1", SENDING, (), lambda events: sizes.append(len(events)))

    assert sizes == [22]


async def test_a_run_is_asked_for_once_and_streamed_with_pings() -> None:
    letta = replay("plain-answer")
    await run(letta)

    (request,) = letta.requests
    assert (request.method, request.url.path) == ("POST", "/v1/conversations/conv-1/messages")
    assert json.loads(request.content) == {
        "messages": [
            {"role": "assistant", "content": "Hello, I am here."},
            {"role": "user", "content": "Hello", "otid": "gw1-0-1-2-3"},
        ],
        "streaming": True,
        "stream_tokens": True,
        "include_pings": True,
    }
    assert request.headers["accept"] == "text/event-stream"
    assert request.headers["accept-encoding"] == "identity"


async def test_a_client_s_instructions_are_added_to_the_agent_s_own_prompt_for_this_run() -> None:
    letta = replay("plain-answer")
    told = Instructions("Speak like a pirate.", prompt="You are a tutor.\n<memory>Ada</memory>")
    await run(letta, sending=Sending(SENDING.messages, told))
    sent = json.loads(letta.requests[0].content)

    assert sent["override_system"] == (
        "You are a tutor.\n<memory>Ada</memory>\n\n<client_instructions>\nSpeak like a pirate.\n</client_instructions>"
    )
    assert [message["content"] for message in sent["messages"]] == ["Hello, I am here.", "Hello"]


async def test_without_instructions_the_agent_s_own_prompt_stays() -> None:
    letta = replay("plain-answer")
    await run(letta, sending=Sending(SENDING.messages, Instructions(sent_before="Be kind.", prompt="You are a tutor.")))

    assert "override_system" not in json.loads(letta.requests[0].content)


async def test_what_waits_for_an_approval_is_denied_before_anything_is_said() -> None:
    letta = replay("plain-answer")
    await run(letta, sending=Sending([Message("user", "Hello")], denied=("call-1", "call-2")))
    denial, said = json.loads(letta.requests[0].content)["messages"]

    assert denial["type"] == "approval"
    assert [(one["type"], one["tool_call_id"], one["approve"]) for one in denial["approvals"]] == [
        ("approval", "call-1", False),
        ("approval", "call-2", False),
    ]
    assert said == {"role": "user", "content": "Hello"}


async def test_a_run_may_be_silent_for_three_of_letta_s_pings() -> None:
    letta = replay("plain-answer")
    upstream = letta.upstream(Letta(upstream="rest", ping_seconds=4.0))
    await upstream.run("agent-1", "conv-1", SENDING, (), unheard)

    assert letta.requests[0].extensions["timeout"]["read"] == 12.0


async def test_letta_s_key_is_sent() -> None:
    letta = replay("plain-answer")
    upstream = letta.upstream(Letta(upstream="rest", api_key=Secret("sk-let")))
    await upstream.run("agent-1", "conv-1", SENDING, (), unheard)

    assert letta.requests[0].headers["authorization"] == "Bearer sk-let"


# status -> the error it is, and whether Letta may have the message of a turn then
STATUSES: dict[int, tuple[type[errors.UpstreamError], bool]] = {
    400: (errors.Refused, False),
    401: (errors.KeyRefused, False),
    402: (errors.OutOfCredits, False),
    403: (errors.KeyRefused, False),
    404: (errors.NotFound, False),
    408: (errors.TimedOut, False),
    409: (errors.Busy, False),
    422: (errors.Refused, False),
    429: (errors.RateLimited, False),
    500: (errors.RunFailed, True),
    502: (errors.RunFailed, True),
    503: (errors.RunFailed, True),
    504: (errors.TimedOut, True),
}


@pytest.mark.parametrize("status", STATUSES)
async def test_a_status_of_a_run_is_an_error_and_nothing_is_sent_twice(status: int) -> None:
    kind, taken = STATUSES[status]
    letta = refusal(status)
    with pytest.raises(errors.UpstreamError) as raised:
        await run(letta)

    assert (type(raised.value), raised.value.taken) == (kind, taken)
    assert "secret" not in str(raised.value)
    assert len(letta.requests) == 1


@pytest.mark.parametrize("status", STATUSES)
async def test_a_status_of_any_other_call_leaves_the_message_untaken(status: int) -> None:
    letta = refusal(status)
    with pytest.raises(errors.UpstreamError) as raised:
        await letta.upstream().create_conversation("agent-1", "a summary", [])

    assert (type(raised.value), raised.value.taken) == (STATUSES[status][0], False)
    assert "secret" not in str(raised.value)
    assert len(letta.requests) == 1


@pytest.mark.parametrize("name", ["unknown-conversation-404", "unknown-agent-404"])
async def test_the_body_of_a_404_is_not_passed_on(name: str) -> None:
    with pytest.raises(errors.NotFound) as raised:
        await run(refusal(404, (RUNS / f"{name}.json").read_bytes()))

    assert str(raised.value) == "HTTP 404"


def _caused(failure: Exception, cause: Exception) -> Exception:
    """An error of httpx as letta-client's transport raises it: its cause tells more."""
    failure.__cause__ = cause
    return failure


# what breaks before an answer -> the error of a run, whether Letta may have the message; the error of another call
BREAKAGES: dict[str, tuple[Exception, type[errors.UpstreamError], bool, type[errors.UpstreamError]]] = {
    "no connection": (httpx.ConnectError("refused"), errors.Unreachable, False, errors.Unreachable),
    "no connection in time": (
        _caused(httpx.ConnectTimeout("slow"), aiohttp.ConnectionTimeoutError()),
        errors.Unreachable,
        False,
        errors.Unreachable,
    ),
    "a connection that is closed as it is used": (
        _caused(httpx.ConnectTimeout("gone"), aiohttp.ServerDisconnectedError()),
        errors.BrokenStream,
        True,
        errors.Unreachable,
    ),
    "a connection that is lost": (httpx.ReadError("gone"), errors.BrokenStream, True, errors.Unreachable),
    "a connection that ends": (httpx.RemoteProtocolError("gone"), errors.BrokenStream, True, errors.Unreachable),
    "a connection that does not take all": (httpx.WriteError("gone"), errors.BrokenStream, True, errors.Unreachable),
    "silence": (httpx.ReadTimeout("silent"), errors.TimedOut, True, errors.TimedOut),
}


@pytest.mark.parametrize(("failure", "kind", "taken", "_"), BREAKAGES.values(), ids=BREAKAGES)
async def test_a_broken_connection_of_a_run_is_an_error_and_nothing_is_sent_twice(
    failure: Exception, kind: type[errors.UpstreamError], taken: bool, _: object
) -> None:
    letta = breakage(failure)
    with pytest.raises(errors.UpstreamError) as raised:
        await run(letta)

    assert (type(raised.value), raised.value.taken) == (kind, taken)
    assert len(letta.requests) == 1


@pytest.mark.parametrize(("failure", "_", "__", "kind"), BREAKAGES.values(), ids=BREAKAGES)
async def test_a_broken_connection_of_any_other_call_leaves_the_message_untaken(
    failure: Exception, _: object, __: object, kind: type[errors.UpstreamError]
) -> None:
    letta = breakage(failure)
    with pytest.raises(errors.UpstreamError) as raised:
        await letta.upstream().create_conversation("agent-1", "a summary", [])

    assert (type(raised.value), raised.value.taken) == (kind, False)
    assert len(letta.requests) == 1


# Halves of surrogate pairs, as Python's `json` and Node write them.

SPOKEN: list[Any] = [
    {"message_type": "reasoning_message", "reasoning": "so \ud83e"},
    {"message_type": "reasoning_message", "reasoning": "\udd14"},
    {"message_type": "assistant_message", "content": "a\ud83e"},
    {"message_type": "ping"},
    {"message_type": "assistant_message", "content": [{"type": "text", "text": "\udd8ab\ud83d"}]},
    {"message_type": "tool_return_message", "tool_returns": [{"tool_call_id": "c", "tool_return": "cut\ud83d"}]},
    {"message_type": "assistant_message", "content": "\ude00 and \ud83d"},
]
ENDED: list[Any] = [{"message_type": "stop_reason", "stop_reason": "end_turn"}]


def streamed(*events: Any) -> Replay:
    content = b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in events)
    headers = {"content-type": "text/event-stream"}
    return Replay(lambda: httpx.Response(200, headers=headers, stream=Pieces(content, 50)))


async def test_halves_of_one_text_are_put_together_and_others_replaced() -> None:
    events = await run(streamed(*SPOKEN, *ENDED))
    (returned,) = [event for event in events if isinstance(event, ToolReturned)]

    assert played(events).content == "<think>so 🤔</think>a🦊b\ufffd\ufffd and \ufffd"
    assert returned.text == "cut\ufffd"


@pytest.mark.parametrize("rest", [[], [{"message_type": "stop_reason", "stop_reason": 7}]], ids=["cut", "garbage"])
async def test_a_half_that_a_broken_stream_ends_with_is_told_first(rest: list[Any]) -> None:
    events: list[Event] = []
    with suppress(errors.BrokenStream):
        await run(streamed(*SPOKEN, *rest), events)

    assert [event.text for event in events if isinstance(event, Text) and event.text][-2:] == ["\ufffd and ", "\ufffd"]


async def test_a_half_in_a_listing_takes_nothing_of_it_along() -> None:
    listed = [
        {"id": "message-1", "message_type": "user_message", "content": "Hi \ud83d", "otid": "gw1"},
        {"id": "message-2", "message_type": "assistant_message", "content": [{"type": "text", "text": "Hello \ud83d"}]},
        {"id": "message-3", "message_type": "assistant_message", "content": "\ude00", "new": {"\ud83d": "\ud83d"}},
    ]
    past = await asked_of(listed, lambda upstream: upstream.read_conversation("agent-1", Conversation("conv-1")))

    assert [(said.role, said.content) for said in past.messages] == [
        ("user", "Hi \ufffd"),
        ("assistant", "Hello \ufffd\n\n\ufffd"),
    ]


async def test_a_half_in_a_summary_is_replaced() -> None:
    found = await asked_of([{"id": "conv-1", "summary": "a \ud83d"}], lambda up: up.find_conversations("agent-1", "a"))

    assert [one.summary for one in found] == ["a \ufffd"]


async def asked_of(answer: object, ask: Callable[[RestUpstream], Awaitable[T]]) -> T:
    """What is made of an answer that is written as Python's `json` does."""
    body = json.dumps(answer).encode()
    upstream = Replay(
        lambda: httpx.Response(200, content=body, headers={"content-type": "application/json"})
    ).upstream()
    try:
        return await ask(upstream)
    finally:
        await upstream.aclose()
