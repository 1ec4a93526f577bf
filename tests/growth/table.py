"""Who reads what a caller or a model wrote without any I/O, and with what each is kept busy."""

import copy
import gzip
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, cast

import msgspec
from msgspec import Struct

from gateway.domain import errors as wire_errors
from gateway.domain import messages, tasks
from gateway.domain.event_bytes import events_from_bytes, events_to_bytes, failure_from_bytes, failure_to_bytes
from gateway.domain.events import (
    CallPiece,
    CallWaits,
    Event,
    StopReason,
    Text,
    Thought,
    ToolCalled,
    ToolReturned,
    shortened,
)
from gateway.domain.json_format import JsonFormat
from gateway.domain.look import Look, ToolActivity
from gateway.domain.messages import Message, PendingCall, ToolResult, last_answer, message_of
from gateway.domain.places import ResponsePlace
from gateway.domain.request import NEVER_SENT, NO_TOOLS, ClientTool, ClientTools, RequestMessage, ShownPicture
from gateway.domain.texts import halves, joining
from gateway.domain.texts.halves import UNREADABLE
from gateway.frontends import reading
from gateway.frontends.open_webui.answer import OpenWebUIAdditions
from gateway.frontends.open_webui.cards import Cards
from gateway.frontends.open_webui.items import Items
from gateway.frontends.open_webui.messages import bare_question
from gateway.http import texts
from gateway.http.answers import compressor
from gateway.http.incoming.encodings import Decoder
from gateway.letta import error_words, notes, parts, past, provider_words, stream_messages
from gateway.letta.app_server import frames, history_format, memory
from gateway.letta.app_server import input as app_server_input
from gateway.letta.app_server import listing as app_server_listing
from gateway.letta.app_server.turn_machine import TurnMachine
from gateway.letta.rest import decoder as letta
from gateway.letta.rest import input, listing
from gateway.letta.stream_messages import StreamedCall, StreamedReturn, StreamMessage
from gateway.letta.upstream import Conversation, Instructions, Past, Sending
from gateway.offline import arguments, calls, script
from gateway.offline import request as offline_request
from gateway.pictures import data_urls
from gateway.settings import OPEN_KEY
from gateway.tasks import answers
from gateway.turns.about import About, from_about, to_about
from gateway.turns.chats import exact, likeness, markers, to_send, tool_history, unkept
from gateway.turns.chats import reconcile as chats
from gateway.turns.chats.path import RequestedPath, read_said
from gateway.turns.runs import pending_calls, requirements, resend, strict
from gateway.turns.runs.account import untold
from gateway.turns.runs.course import Course
from gateway.turns.turn import Turn
from gateway.wires import json_format, limits, question, schemas
from gateway.wires.chat_completions import request, response, think_tags, tools
from gateway.wires.chat_completions.encoder import ChatCompletionEncoder
from gateway.wires.chat_completions.read import to_request
from gateway.wires.chat_completions.request import ChatCompletionRequest, ChatMessage
from gateway.wires.client_calls import ClientCalls
from gateway.wires.narrator import Narrator
from gateway.wires.responses import request as responses_request
from gateway.wires.responses.conversations import decode_conversation
from gateway.wires.responses.custom_input import CustomInput
from gateway.wires.responses.echo import Echo, to_echo
from gateway.wires.responses.encoder import ResponsesEncoder
from gateway.wires.responses.ids import Seal
from gateway.wires.responses.read import to_messages
from gateway.wires.responses.read import to_request as read_response_request
from gateway.wires.responses.request import InputItem, InputPart, OfferedTool, ResponsesRequest
from gateway.wires.responses.tools import custom_arguments, to_offered_tools
from gateway.wires.sayings import ClientCallBegun, ClientCallContinued, Finished, Saying, ToolsOver
from gateway.wires.visible_text import visible_text
from gateway.workers import sums
from tests.asking import path_shown
from tests.growth.kinds import (
    ASKED,
    allowing,
    asking,
    call,
    dialogue,
    doubling,
    going_on,
    in_pieces,
    nested,
    of,
    of_text,
    offered,
    piece_of_call,
    referring,
    respaced,
    told,
    told_calls,
)
from tests.growth.measure import Make
from tests.growth.patterns import Shape
from tests.pictures.drawn import GIF
from tests.turns.turns import turn

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PROMPT = "### Task:\nGenerate a concise, 3-5 word title<chat_history>"
BLOCK = "---\nlimit: 1\n---\n"


ANY_OBJECT: dict[str, Any] = {"type": "object", "properties": {"any": {}}}


def refused(read: Callable[..., object], *arguments: object) -> Callable[[Any], object]:
    """`read`, which may say no."""

    def tried(value: Any) -> None:
        with suppress(wire_errors.InvalidRequest, memory.Rejected, offline_request.BadRequest, *UNREADABLE, ValueError):
            read(value, *arguments)

    return tried


def offline_with_a_tool(text: str) -> offline_request.ChatRequest:
    """A request for the offline model that offers it a tool."""
    tool = offline_request.Tool(offline_request.Function("get_weather"))
    return offline_request.ChatRequest([offline_request.Message("user", text)], tools=[tool])


def series(count: int) -> str:
    """So many series of a metric, as its writer writes them."""
    lines = "".join(f'a_total{{b="{i}"}} 1.0\n' for i in range(count))
    return f"# HELP a_total Told.\n# TYPE a_total counter\n{lines}"


def encoder() -> ChatCompletionEncoder:
    return ChatCompletionEncoder(id="x", created=1, model="m", reasoning="think_tags")


def narrator(activity: ToolActivity = "thoughts") -> Narrator:
    return Narrator(Look("think_tags", activity))


def items() -> Items:
    return Items("x", lambda: 0.0)


def additions() -> Callable[[Saying], object]:
    return OpenWebUIAdditions("x", lambda: 0.0).frames


def cards(count: int) -> tuple[Cards, list[ToolReturned]]:
    """So many tools that run, and their returns."""
    running = Cards(items())
    for i in range(count):
        running.begin(call(i), "Using x…", "x failed.")
    return running, [ToolReturned(f"call-{i}", "") for i in range(count)]


def chunks_of_call(count: int) -> list[Struct]:
    """A call in so many pieces, and its end."""
    pieces = [ClientCallContinued(0, "and more of it") for _ in range(count)]
    said: list[Saying] = [ClientCallBegun(0, "a", "x"), *pieces, Finished(StopReason.WAITING)]
    writes = encoder()
    return [chunk for one in said for chunk in writes.chunks(one)]


def body(more: str) -> bytes:
    return f'{{"model": "m", "messages": [{{"role": "user", "content": "Hi"}}], "x": {more}}}'.encode()


def strict_calls() -> strict.StrictCalls:
    return strict.StrictCalls([ClientTool("x", strict=True)])


def called_in_pieces(count: int) -> strict.StrictCalls:
    """A call in half of so many pieces, and as many calls."""
    held = strict_calls()
    calls = [piece_of_call(i) if i % 2 else call(i) for i in range(count)]
    held.take([CallWaits(one) for one in calls])
    return held


def begun() -> Callable[[list[Event]], object]:
    run = Course(False, ())
    run.send()
    return run.hear


def messages_of(told: list[ChatMessage]) -> tuple[RequestMessage, ...]:
    return to_request(ChatCompletionRequest("m", told)).messages


def asking_of(told: list[ChatMessage]) -> object:
    return to_request(ChatCompletionRequest("m", told))


def noted(messages: tuple[RequestMessage, ...]) -> object:
    return tool_history.tool_notes(messages, texts.TEXTS)


async def fits(json: JsonFormat, answer: str) -> bool:
    return True


SAID = InputItem(role="user", content="Hi")
SEAL = Seal((b"secret",))


def custom_input() -> CustomInput:
    """One whose text has begun."""
    begun = CustomInput()
    begun.feed('{"input": "')
    return begun


def responses_encoder() -> ResponsesEncoder:
    place = ResponsePlace("5e" * 16, "0b1c2d3e", "9f86d081", "chat", "1f" * 16, "c0ffee0123456789")
    echo = Echo("m", custom_tools=("patch",))
    return ResponsesEncoder(ids=SEAL.ids_of(place), created_at=1, echo=echo, tool_activity="mcp_calls")


def encoded(said: list[Saying]) -> object:
    return responses_encoder().encode(said)


def telling(count: int) -> ResponsesRequest:
    return ResponsesRequest("m", "Hi", metadata={f"a{i}": "b" for i in range(count)})


def call_said(count: int, name: str) -> list[Saying]:
    """A call in so many pieces, and its end."""
    pieces = [ClientCallContinued(0, "and more of it") for _ in range(count)]
    return [ClientCallBegun(0, "a", name), *pieces, Finished(StopReason.WAITING)]


def calls_said(count: int) -> list[Saying]:
    return [*(ClientCallBegun(i, f"call-{i}", "x") for i in range(count)), Finished(StopReason.WAITING)]


def own_calls_said(count: int) -> list[Saying]:
    """As many calls, each with its return."""
    pairs = ((ToolCalled(call(i)), ToolReturned(f"call-{i}", "so")) for i in range(count))
    return [saying for pair in pairs for saying in pair]


def items_of(count: int, kind: str) -> list[InputItem]:
    """As many items of a type, and for calls their outputs."""
    fields: dict[str, Any] = {"name": "x", "arguments": "{}", "approval_request_id": "a", "approve": True, "id": "a"}
    items = [InputItem(kind, role="assistant", call_id=f"call-{i}", **fields) for i in range(count)]
    outputs = [InputItem("function_call_output", call_id=f"call-{i}", output="so") for i in range(count)]
    return [*items, *outputs] if kind == "function_call" else items


def response_read(items: list[InputItem]) -> object:
    return read_response_request(ResponsesRequest("m", items))


def offering(count: int) -> ResponsesRequest:
    """A request that offers so many tools, with a lot to say."""
    properties = {f"p{i}": {"type": "string"} for i in range(20)}
    tools = [OfferedTool("function", f"t{i}", parameters={"properties": properties}) for i in range(count)]
    return ResponsesRequest("m", "Hi", tools=tools)


def in_steps(count: int) -> list[Event]:
    return [Text("x", f"step-{i}") for i in range(count)]


def uncounted(steps: list[Event]) -> None:
    untold(steps, 1, cut=True)


def judged(held: strict.StrictCalls) -> None:
    with suppress(StopIteration):
        held.find_fault(fits).send(None)


def listed(count: int) -> list[frames.KeptMessage]:
    """Answers in many parts, with many calls between."""
    kinds = ("assistant_message", "approval_request_message", "assistant_message", "tool_return_message")
    said = [frames.KeptMessage(f"m{i}", kinds[i % 4], content="so", tool_call=streamed(i)) for i in range(count)]
    return [*said, frames.KeptMessage("m", "user_message", "gw-1", "Hi")]


def rest_listed(count: int) -> list[listing.ListedMessage]:
    return [listing.ListedMessage(f"m{i}", NOW, "assistant_message", content="so") for i in range(count)]


def rest_asked(count: int) -> list[listing.ListedMessage]:
    return [listing.ListedMessage(f"m{i}", NOW, "user_message", content="Hi") for i in range(count)]


def rest_answered(count: int) -> list[listing.ListedMessage]:
    """The results of many calls, and what else came of them."""
    ids = [f"call-{i}" for i in range(count)]
    answers = [listing.ListedAnswer("tool", id, "so") for id in ids]
    returns = [StreamedReturn(id, "success", "so") for id in [*ids, "call"]]
    return [
        listing.ListedMessage("m0", NOW, "approval_response_message", approvals=answers),
        listing.ListedMessage("m1", NOW, "tool_return_message", tool_returns=returns),
    ]


def transcript(count: int) -> past.Transcript:
    """Many questions, and half as many answers in several parts."""
    reading = past.Transcript()
    for i in range(count):
        exchange = reading.ask(Message("user", "Hi"), run_id=f"run-{i}")
        exchange.events += [Text("so")] * (i % 2 * 4)
    return reading


def turn_of(count: int) -> tuple[Turn, list[PendingCall]]:
    """One that brings many tools and the results of half of its calls, of which all wait."""
    functions = ClientTools(tuple(ClientTool(f"t{i}") for i in range(min(count, 1_000))))
    results = tuple(ToolResult(f"call-{i}", "done") for i in range(0, count, 2))
    asks = turn("Hi", tools=functions)
    asks = msgspec.structs.replace(asks, asked=msgspec.structs.replace(asks.asked, results=results))
    return asks, [PendingCall(f"call-{i}", "x") for i in range(count)]


def known(count: int) -> tuple[RequestedPath, list[Past]]:
    """A chat that differs from what is known of it in every message, at last in one that nothing explains."""
    return RequestedPath([*respaced(count | 1), Message("assistant", "No"), Message("user", "Hi")]), [
        Past(dialogue(count | 1)) for _ in range(3)
    ]


def one_id(count: int) -> list[Past]:
    """A conversation whose messages all have the id of one."""
    return [Past([msgspec.structs.replace(one, client_id="gw1-a-a-c-d") for one in dialogue(count)])]


def read_turn(count: int) -> tuple[TurnMachine, frames.Frame]:
    ids = [f"gw-{i}" for i in range(count)]
    return TurnMachine(frames.Runtime(), ids), frames.Frame(loop_status=frames.LoopStatus("", {"run": ids}))


def parked_turn(count: int) -> tuple[TurnMachine, Sending]:
    """One that waits for the results of many calls of one step."""
    machine = TurnMachine(frames.Runtime(), ["gw-1"], clients=["weather"])
    machine.receive(frames.Frame(loop_status=frames.LoopStatus("", {"run": ["gw-1"]})))
    for i in range(count):
        call = StreamedCall("weather", f"call-{i}", "{}")
        delta = frames.StreamDelta("approval_request_message", run_id="run", tool_call=call)
        machine.receive(frames.Frame("stream_delta", delta=delta))
    classified = frames.StreamDelta("approval_classification_end", run_id="run")
    machine.receive(frames.Frame("stream_delta", delta=classified))
    return machine, Sending([], results=tuple(ToolResult(f"call-{i}", "so") for i in range(count)))


def with_options(size: int) -> Sending:
    return Sending(dialogue(size), results=tuple(ToolResult(f"call-{i}", "so") for i in range(size)))


def formed(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}


def streamed(number: int) -> StreamedCall:
    return StreamedCall("x", f"call-{number}", "{}")


def calling(count: int) -> StreamMessage:
    return StreamMessage("tool_call_message", tool_calls=[streamed(i) for i in range(count)])


def returning(count: int) -> StreamMessage:
    returns = [StreamedReturn(f"call-{i}", "success", "done") for i in range(count)]
    return StreamMessage("tool_return_message", tool_returns=returns)


def failing(text: str) -> StreamMessage:
    return StreamMessage("error_message", error_type="llm_error", message=text, detail=text)


def word(number: int) -> list[Event]:
    return [Text("so")]


def piece_that_waits(number: int) -> list[Event]:
    return [CallWaits(piece_of_call(number))]


def told_parts(count: int) -> list[dict[str, str]]:
    return [{"text": "a"}] * count


def follow(pair: tuple[list[Message], list[Message]]) -> tuple[int, int]:
    return chats.follow(*pair, lenient=True)


def compared(count: int) -> tuple[likeness.Matched, list[Message]]:
    """A chat of so many messages, and what is remembered of its comparison."""
    known, said = likeness.Matched(), dialogue(count)
    chats.follow(said, said, lenient=False, matched=known)
    return known, said


LETTERS = {"letters": Shape("", "A", "")}
DEEP = {"deep": nested("[", "")}
WRITER = {"half tags": Shape("", "<", "")}
HALVES = {"halves": Shape('"', "\\ud83d", '"'), "backslashes": Shape('"', "\\", '\\ud83d"')}
UNPAIRED = {"lone": Shape("", "\ud83d", ""), "pairs": Shape("", "\ud83d\ude00", "")}
TABLE: dict[str, dict[str, Make]] = {
    "domain.texts.halves.Mender.feed": of_text(lambda text: halves.Mender().feed(text), **HALVES)
    | {"pieces": in_pieces(lambda: halves.Mender().feed, lambda i: "\\", 1)},
    "domain.texts.halves.decode": of_text(refused(lambda text: halves.decode(text, str)), **HALVES),
    "domain.texts.halves.decode_pieces": of_text(
        refused(lambda text: halves.decode_pieces(text.encode(), str)), **HALVES
    ),
    "domain.texts.halves.joined": of_text(halves.joined, **UNPAIRED),
    "domain.texts.halves.mend": of_text(halves.mend, **HALVES),
    "domain.texts.halves.mended": of_text(
        lambda text: halves.mended(text.encode("utf-8", "surrogatepass")), **HALVES, **UNPAIRED
    ),
    "domain.texts.halves.whole": of_text(halves.whole, **UNPAIRED),
    "http.answers.compressor.compressor_for": of_text(
        compressor.compressor_for,
        commas=Shape("", ",", ""),
        semicolons=Shape("gzip", ";", ""),
        spaces=Shape("", " ", ""),
    ),
    "http.incoming.encodings.Decoder.pieces": {
        "one body": of(lambda count: gzip.compress(b"a" * 20 * count), lambda data: [*Decoder("gzip").pieces(data)])
    },
    "letta.error_words.no_space": of_text(error_words.no_space),
    "letta.error_words.of_files": of_text(error_words.of_files),
    "letta.error_words.from_error_message": of_text(
        lambda text: error_words.from_error_message("llm_error", text, text)
    ),
    "letta.rest.decoder.EventDecoder.feed": {
        "one line in pieces": in_pieces(lambda: letta.EventDecoder().feed, lambda i: b"data: and more of it", 20),
        "many lines": in_pieces(lambda: letta.EventDecoder().feed, lambda i: b'data: {"message_type": "x"}\n', 28),
    },
    "letta.app_server.turn_machine.TurnMachine.receive": {"ids": of(read_turn, lambda pair: pair[0].receive(pair[1]))},
    "letta.app_server.turn_machine.TurnMachine.answer": {
        "calls": of(parked_turn, lambda pair: copy.copy(pair[0]).answer(pair[1], ["gw-2"]))
    },
    "letta.error_words.innermost_message": of_text(error_words.innermost_message, **DEEP),
    "letta.error_words.from_loop_error": of_text(error_words.from_loop_error, statuses=Shape("", "429: context ", "")),
    "letta.error_words.from_provider": of_text(error_words.from_provider, contexts=Shape("", "context", "")),
    "letta.provider_words.read_provider": of_text(
        provider_words.read_provider,
        fields=Shape("X: Error code: 400 - {'error': {", "'code': 'a', ", "}}"),
        behind=Shape("X: Error code: 400 - {'error': {'message': ''", ", 'code': 'a'", "}}"),
        words=Shape('400: {"code": "', "a_", '"}'),
        parameters=Shape('400: {"param": "', "a[1].", '"}'),
        **DEEP,
    ),
    "letta.rest.input.to_input": {"messages": of(with_options, input.to_input)},
    "letta.rest.input.to_prompt": of_text(lambda text: input.to_prompt(Instructions(text, "", text))),
    "domain.texts.joining.Joiner.join": {
        "halves": in_pieces(lambda: joining.Joiner().join, lambda i: [Text("so \ud83d")]),
        "calls": in_pieces(
            lambda: joining.Joiner().join, lambda i: [ToolCalled(CallPiece(f"call-{i}", "x", "\ud83d"))]
        ),
    },
    "letta.notes.in_prompt": of_text(lambda text: notes.in_prompt(text, text)),
    "letta.notes.is_alert": of_text(notes.is_alert, alerts=Shape("{", " ", "x")),
    "letta.notes.looks_like_a_note": of_text(notes.looks_like_a_note),
    "letta.notes.looks_like_an_exchange": of_text(notes.looks_like_an_exchange),
    "letta.notes.note": of_text(lambda text: notes.note(notes.EXCHANGED, text)),
    "letta.notes.told_in": of_text(lambda text: notes.told_in(text, notes.EXCHANGED)),
    **{
        f"letta.app_server.frames.{name.__name__}": of_text(name, prefixes=Shape("", "client_", "Bash"))
        for name in (frames.client_name, frames.offered_name)
    },
    "letta.app_server.memory.edit": of_text(
        refused(lambda text: memory.edit("memory_replace", {"old_string": text[: len(text) // 2] + "\0"}, BLOCK + text))
    )
    | of_text(
        refused(
            lambda text: memory.edit(
                "memory_replace", {"old_string": text[: len(text) // 2], "new_string": ""}, BLOCK + text
            )
        )
    ),
    "letta.app_server.memory.is_block": of_text(memory.is_block, fronts=Shape("---\n", "\n---", "x")),
    "letta.app_server.memory.path_of": of_text(refused(lambda text: memory.path_of({"label": text}))),
    "domain.events.shortened": of_text(shortened),
    "domain.event_bytes.events_to_bytes": {
        "pieces": of(lambda count: [cast(Event, Text("so"))] * count, events_to_bytes)
    },
    "domain.event_bytes.events_from_bytes": {
        "pieces": of(lambda count: events_to_bytes([Text("so")] * count), events_from_bytes)
    },
    "domain.event_bytes.failure_to_bytes": of_text(lambda text: failure_to_bytes(wire_errors.RunFailed("", said=text))),
    "domain.event_bytes.failure_from_bytes": {
        "said": of(lambda count: failure_to_bytes(wire_errors.RunFailed("", said="a" * count)), failure_from_bytes)
    },
    "domain.messages.last_answer": {"questions": of(lambda count: [Message("user", "so")] * count, last_answer)},
    "domain.messages.image_of": of_text(lambda text: messages.image_of("image/png", text)),
    "domain.messages.message_of": {"pieces": of(lambda count: ["a"] * count, lambda some: message_of("user", some))},
    "letta.parts.exchange_notes": of_text(lambda text: parts.exchange_notes(Message("user", "", exchanged=text))),
    "letta.parts.from_parts": {
        "parts": of(lambda count: [{"text": "a"}] * count, lambda some: [*parts.from_parts(some)])
    },
    "letta.parts.to_parts": of_text(lambda text: parts.to_parts(Message("user", text))),
    "letta.past.Transcript.exchanges": {"exchanges": of(transcript, past.Transcript.exchanges)},
    "letta.rest.listing.to_past": {
        "parts of an answer": of(rest_listed, listing.to_past),
        "questions": of(rest_asked, listing.to_past),
    },
    "letta.rest.listing.to_exchanges": {
        "parts of an answer": of(rest_listed, lambda listed: listing.to_exchanges(listed, {})),
        "results": of(rest_answered, lambda listed: listing.to_exchanges(listed, {})),
    },
    "letta.stream_messages.content_text": {"parts": of(told_parts, stream_messages.content_text)},
    "letta.stream_messages.to_events": {
        "calls": of(calling, stream_messages.to_events),
        "returns": of(returning, stream_messages.to_events),
    }
    | of_text(lambda text: stream_messages.to_events(failing(text))),
    "letta.stream_messages.to_returned": {
        "parts": of(lambda count: StreamedReturn("call-1", "success", told_parts(count)), stream_messages.to_returned)
    }
    | of_text(lambda text: stream_messages.to_returned(StreamedReturn("call-1", "success", text))),
    "letta.app_server.listing.calls_wait": {
        "calls": of(lambda count: listed(count)[::-1], app_server_listing.calls_wait)
    },
    "letta.app_server.history_format.is_known_format": of_text(history_format.is_known_format, **DEEP),
    "letta.app_server.input.said_parts": of_text(lambda text: app_server_input.said_parts(Message("user", text))),
    "letta.app_server.input.to_input": {"messages": of(with_options, app_server_input.to_input)},
    "letta.app_server.listing.to_past": {"parts of an answer": of(listed, app_server_listing.to_past)},
    "letta.app_server.listing.to_exchanges": {"parts of an answer": of(listed, app_server_listing.to_exchanges)},
    "letta.app_server.listing.unfinished": {
        "calls": of(
            lambda count: listed(count)[::-1], lambda newest: app_server_listing.unfinished(newest, "gw-2", True)
        )
    },
    "letta.app_server.history_format.with_history": {
        "messages": of(
            dialogue,
            lambda said: history_format.with_history(
                '{"id": "c", "agent_id": "a", "in_context_message_ids": []}', "", said, NOW
            ),
        )
    },
    "offline.arguments.to_arguments": of_text(lambda text: arguments.to_arguments(ANY_OBJECT, text)),
    "offline.calls.tool_for": of_text(lambda text: calls.tool_for(offline_with_a_tool(text), text)),
    "offline.request.decode": of_text(
        refused(lambda text: offline_request.decode(text.encode(), offline_request.ChatRequest))
    )
    | {"deep": of(lambda count: b"[" * count, refused(offline_request.decode, offline_request.ChatRequest), 1)},
    "offline.script.to_script": of_text(
        refused(lambda text: script.to_script(offline_request.ChatRequest([offline_request.Message("user", text)]))),
        asks=Shape("what is my name", " ", "x"),
        reminders=Shape("", "<system-reminder>", ""),
        commands=Shape("", "!tool x\n", ""),
    ),
    "wires.question.Questions.call": {
        "pieces": in_pieces(lambda: question.Questions().call, piece_of_call),
        "calls": in_pieces(lambda: question.Questions().call, call),
    },
    "wires.question.asks": of_text(question.asks),
    "wires.question.end_of_question": of_text(lambda text: question.end_of_question(text, len(ASKED))),
    "wires.client_calls.ClientCalls.receive": {
        "pieces": in_pieces(lambda: ClientCalls(NO_TOOLS).receive, piece_of_call)
    },
    "wires.chat_completions.tools.to_client_tools": {
        "tools": of(offered, lambda some: tools.to_client_tools(some, None, None), 1_000),
        "allowed": of(allowing, refused(lambda choice: tools.to_client_tools(offered(1_000), choice, None))),
    },
    "wires.chat_completions.think_tags.Defuser.feed": of_text(lambda text: think_tags.Defuser().feed(text), **WRITER)
    | {"pieces": in_pieces(lambda: think_tags.Defuser().feed, lambda i: "<", 1)},
    "wires.chat_completions.think_tags.defuse_answer": of_text(
        think_tags.defuse_answer, blocks=Shape("", "<think></think>", "")
    ),
    "wires.chat_completions.read.to_request": {
        "chat": of(told, asking_of),
        "calls": of(told_calls, asking_of),
        "parts": of(lambda count: [request.ChatMessage("user", [request.ContentPart("text", "a")] * count)], asking_of),
    },
    "wires.visible_text.visible_text": of_text(visible_text, ended=Shape("", "<think></think>", "")),
    "wires.chat_completions.think_tags.restore": of_text(think_tags.restore, **WRITER),
    "pictures.data_urls.to_data_url": of_text(refused(lambda text: data_urls.to_data_url(GIF + text.encode()))),
    "pictures.data_urls.to_image": of_text(
        lambda text: data_urls.to_image(ShownPicture(text, "x"), 5),
        types=Shape("data:image/png", ";a=a", "x"),
    ),
    "domain.json_format.JsonFormat.find": of_text(
        JsonFormat().find, lines=Shape("```json\n", "\n", "\n```"), deep=nested("[", "")
    ),
    "wires.json_format.to_json_format": {
        "referring": of(lambda count: formed(referring(count)), refused(json_format.to_json_format), 60),
        "doubling": of(lambda count: formed(doubling(count)), refused(json_format.to_json_format), 60),
    },
    "wires.limits.check_depth": {
        "wide": of(lambda count: [[]] * count, lambda value: limits.check_depth(value, "x")),
    },
    "wires.limits.check_values": of_text(
        lambda text: refused(limits.check_values)(body(text)), commas=Shape("", ",", "")
    ),
    "wires.chat_completions.request.decode_request": of_text(
        lambda text: refused(request.decode_request)(body(text)), deep=nested("[", ""), texts=Shape("", '"",', "")
    ),
    "wires.chat_completions.response.to_completion": {"pieces of a call": of(chunks_of_call, response.to_completion)},
    "wires.schemas.check_expansions": {
        "referring": of(referring, refused(schemas.check_expansions, "x"), 60),
        "doubling": of(doubling, refused(schemas.check_expansions, "x"), 60),
    },
    "wires.responses.custom_input.CustomInput.feed": of_text(
        lambda text: CustomInput().feed('{"input": "' + text),
        escapes=Shape("", "\\n", ""),
        halves=Shape("", "\\u00", "x"),
        no_escapes=Shape("", "\\uz", ""),
        spaces_before=Shape("", " ", "x"),
    )
    | {
        "pieces": in_pieces(lambda: custom_input().feed, lambda i: "so \\"),
        "pieces of something else": in_pieces(lambda: CustomInput().feed, lambda i: " "),
    },
    "wires.responses.echo.to_echo": {
        "tools": of(lambda count: offering(min(count, 1_000)), to_echo, 1_000),
        "metadata": of(
            lambda count: ResponsesRequest("m", "Hi", metadata={f"a{i}": "b" for i in range(count)}), to_echo
        ),
    },
    "wires.responses.encoder.ResponsesEncoder.encode": {
        "words": in_pieces(lambda: responses_encoder().encode, lambda i: [Text("so")]),
        "thoughts": in_pieces(lambda: responses_encoder().encode, lambda i: [Thought("so")]),
        "pieces of a call": of(
            lambda count: call_said(count, "weather"), lambda said: responses_encoder().encode(said)
        ),
        "pieces of an input": of(
            lambda count: call_said(count, "patch"), lambda said: responses_encoder().encode(said)
        ),
        "calls": of(calls_said, lambda said: responses_encoder().encode(said)),
        "calls of Letta's": of(own_calls_said, lambda said: responses_encoder().encode(said)),
        "calls that never return": of(
            lambda count: [*own_calls_said(count)[::2], ToolsOver()], lambda said: responses_encoder().encode(said)
        ),
    },
    "wires.responses.ids.Seal.read_approval": of_text(lambda text: SEAL.read_approval(f"mcpr_{text}"), **LETTERS),
    "wires.responses.ids.Seal.read_conversation": of_text(
        lambda text: SEAL.read_conversation(f"conv_{text}"), **LETTERS
    ),
    "wires.responses.ids.Seal.read_item": of_text(lambda text: SEAL.read_item(f"msg_{text}"), **LETTERS),
    "wires.responses.ids.Seal.read_response": of_text(lambda text: SEAL.read_response(f"resp_{text}"), **LETTERS),
    "wires.responses.read.to_request": {
        "chat": of(lambda count: items_of(count, "message"), response_read),
        "calls": of(lambda count: items_of(count, "function_call"), response_read),
        "references": of(lambda count: [*items_of(count, "item_reference"), SAID], response_read),
        "parts": of(
            lambda count: [InputItem(role="user", content=[InputPart("input_text", "a")] * count)], response_read
        ),
        "approvals": of(lambda count: items_of(count, "mcp_approval_response"), response_read),
    },
    "wires.responses.request.decode_request": of_text(
        lambda text: refused(responses_request.decode_request)(f'{{"model": "m", "input": {text}}}'.encode()),
        deep=nested("[", ""),
        items=Shape("[", "{},", "{}]"),
        texts=Shape("[", '"",', ""),
    ),
    "wires.responses.read.to_messages": {
        "chat": of(lambda count: items_of(count, "message"), lambda items: to_messages(items, "items")),
        "calls": of(lambda count: items_of(count, "function_call"), lambda items: to_messages(items, "items")),
    },
    "wires.responses.request.check_items": {
        "items": of(lambda count: items_of(count, "message"), refused(responses_request.check_items))
    },
    "wires.responses.conversations.decode_conversation": of_text(
        lambda text: refused(decode_conversation)(f'{{"items": {text}}}'.encode()),
        deep=nested("[", ""),
        items=Shape("[", "{},", "{}]"),
        texts=Shape("[", '"",', ""),
    ),
    "wires.responses.tools.custom_arguments": of_text(custom_arguments),
    "wires.responses.tools.to_offered_tools": {
        "tools": of(
            lambda count: offering(min(count, 1_000)).tools, lambda some: to_offered_tools(some, None, None), 1_000
        ),
        "allowed": of(
            lambda count: {"type": "allowed_tools", "tools": [{"name": f"n{i}"} for i in range(count)]},
            refused(lambda choice: to_offered_tools(offering(1_000).tools, choice, None)),
        ),
    },
    "wires.narrator.Narrator.receive": {
        "words": in_pieces(lambda: narrator().receive, lambda i: Text("<so"), 20),
        "calls": in_pieces(lambda: narrator().receive, lambda i: ToolCalled(call(i)), 20),
        "hidden calls": in_pieces(lambda: narrator("hidden").receive, lambda i: ToolCalled(call(i)), 20),
    },
    "wires.chat_completions.encoder.ChatCompletionEncoder.chunks": {
        "words": in_pieces(lambda: encoder().chunks, lambda i: Text("<so"), 20),
        "thoughts": in_pieces(lambda: encoder().chunks, lambda i: Thought("<so"), 20),
    }
    | of_text(lambda text: encoder().chunks(Text(text)), **WRITER),
    "frontends.open_webui.answer.OpenWebUIAdditions.frames": {
        "words": in_pieces(additions, lambda i: Text("<so"), 20),
        "calls": in_pieces(additions, lambda i: ToolCalled(call(i)), 20),
    },
    "frontends.open_webui.cards.Cards.receive": {
        "calls": of(cards, lambda pair: [pair[0].receive(one) for one in pair[1]])
    },
    "frontends.open_webui.items.Items.add": of_text(lambda text: items().add("message", text)),
    "turns.chats.path.read_said": {
        "calls": of(lambda count: messages_of(told_calls(count)), read_said),
        "chat": of(lambda count: messages_of(told(count)), read_said),
    },
    "turns.about.from_about": of_text(from_about),
    "turns.about.to_about": of_text(lambda text: to_about(About({"": text}))),
    "turns.chats.path.read_path": {"chat": of(told, path_shown), "calls": of(told_calls, refused(path_shown))},
    "turns.runs.requirements.AnswerGate.take": {
        "events": in_pieces(
            lambda: requirements.AnswerGate(requirements.Requirement(json=JsonFormat())).take,
            word,
        )
    },
    "turns.runs.requirements.Requirement.find": of_text(requirements.Requirement(json=JsonFormat()).find),
    "turns.chats.tool_history.tool_notes": {
        "calls": of(lambda count: messages_of(told_calls(count)), noted),
        "chat": of(lambda count: messages_of(told(count)), noted),
    },
    "turns.chats.tool_history.results_of": {
        "calls": of(lambda count: messages_of(told_calls(count)), tool_history.results_of)
    },
    "turns.chats.markers.PathDigest.add": {
        "path": in_pieces(lambda: markers.PathDigest().add, lambda i: "a message of a path")
    },
    "turns.chats.markers.PathDigest.add_messages": {
        "path": of(dialogue, lambda said: markers.PathDigest().add_messages(said))
    },
    "turns.chats.markers.parse_client_id": of_text(markers.parse_client_id, dashes=Shape("gw1", "-", "")),
    "turns.chats.markers.parse_summary": of_text(
        markers.parse_summary, states=Shape("", " (replaced)", " [] gw1:x"), about=Shape("a (about ", "a", ") gw1:x")
    ),
    "turns.chats.markers.scratch_marker": of_text(lambda text: markers.scratch_marker("t", "s", "u", text)),
    "turns.runs.resend.to_sent": of_text(lambda text: resend.to_sent(OPEN_KEY, NEVER_SENT, turn("Hi"), text.encode())),
    "turns.chats.likeness.Matched.note": {
        "a long chat": of(dialogue, lambda said: likeness.Matched().note(said, said, 0, (len(said), len(said)))),
        "respaced": of(
            dialogue, lambda said: likeness.Matched().note([], respaced(len(said)), 0, (len(said), len(said)))
        ),
    },
    "turns.chats.likeness.Matched.skip": {"a long chat": of(compared, lambda pair: pair[0].skip(pair[1], pair[1]))},
    "turns.chats.likeness.readings": of_text(
        lambda text: [*likeness.readings(text)], escapes=Shape("", "&amp;", ""), numbers=Shape("&#", "1", ";")
    ),
    "turns.chats.likeness.seen": of_text(
        likeness.seen, marks=Shape("a", "\u0301", ""), spaces=Shape("é", "\u2003", "")
    ),
    "tasks.answers.read_chat": of_text(
        answers.read_chat,
        chats=Shape("", "<chat_history>", ""),
        speakers=Shape("<chat_history>", "USER: a\n", "</chat_history>"),
    ),
    "tasks.answers.to_answer": of_text(
        lambda text: answers.to_answer(tasks.Task(tasks.MERGE), to_request(asking("Responses from models:" + text))),
        answers=Shape("", '"""', ""),
    ),
    "tasks.answers.to_title": of_text(answers.to_title, marks=Shape("", "# ", "")),
    "frontends.reading.find_task": of_text(
        lambda text: reading.find_task(OPEN_KEY, {}, to_request(asking(text, system=text)))
    ),
    "http.texts.visible": of_text(texts.visible, ended=Shape("", "<think></think>", "")),
    "http.texts.visible_of_items": of_text(texts.visible_of_items, ended=Shape("", "<think></think>", "")),
    "workers.sums.summed": {"series": of(series, lambda text: sums.summed([text, text], [text]))},
    "turns.runs.course.Course.hear": {"words": in_pieces(begun, word, 20)},
    "turns.runs.account.untold": {"steps": of(in_steps, uncounted)},
    "turns.runs.strict.StrictCalls.take": {
        "events": in_pieces(
            lambda: strict_calls().take,
            piece_that_waits,
        )
    },
    "turns.runs.strict.StrictCalls.find_fault": {"calls": of(called_in_pieces, judged)},
    "turns.chats.reconcile.Words.of_answer": of_text(lambda text: chats.Words(texts.TEXTS).of_answer(text)),
    "turns.chats.reconcile.Words.of_question": of_text(
        lambda text: chats.Words(texts.TEXTS).of_question(text), contexts=Shape("", "</context>", "")
    ),
    "turns.chats.reconcile.answer_words": of_text(lambda text: chats.answer_words(text, texts.TEXTS)),
    "frontends.open_webui.messages.bare_question": of_text(bare_question, contexts=Shape("", "</context>", "")),
    "turns.chats.reconcile.decide": {
        "another chat": of(known, lambda pair: chats.decide(pair[0], chats.NO_IDS, True, pair[1])),
        "one id": of(
            lambda count: (RequestedPath(respaced(count | 1)), one_id(count)),
            lambda pair: chats.decide(pair[0], chats.Ids("b", "c", "a"), True, pair[1]),
        ),
    },
    "turns.chats.exact.decide_after": {
        "a long chat": of(
            dialogue,
            lambda said: exact.decide_after(
                exact.After("c", 0), RequestedPath([Message("user", "Hi")]), [Past(said)], [said]
            ),
        )
    },
    "turns.chats.exact.end_of": {"a long chat": of(dialogue, lambda said: exact.end_of("c", said))},
    "turns.chats.exact.that_may_hold": {
        "chats that begin alike": of(
            lambda count: [Conversation(f"{i}", summary="Letta Gateway gw1:kept:1") for i in range(count)],
            lambda listed: [*exact.that_may_hold(exact.After("c", 0), "gw1:kept:1", listed)],
        )
    },
    "turns.chats.reconcile.follow": {
        "respaced": of(
            lambda count: (dialogue(count), respaced(count)), lambda pair: chats.follow(*pair, lenient=True)
        ),
        "as before": of(compared, lambda pair: chats.follow(pair[1], pair[1], lenient=False, matched=pair[0])),
        "going on": of(
            lambda count: (going_on(count), [*going_on(count)[:2], *going_on(count)[2:]]),
            lambda pair: chats.follow(*pair, lenient=True),
        ),
        "going on, cut": of(
            lambda count: (going_on(count), [going_on(2)[0], Message("assistant", "and")]),
            lambda pair: chats.follow(*pair, lenient=True),
        ),
    },
    "turns.chats.reconcile.is_same": of_text(
        lambda text: chats.is_same([Message("user", text)], [Message("user", text)])
    ),
    "turns.chats.reconcile.questions": {"going on": of(going_on, lambda kept: [*chats.questions(kept)])},
    "turns.chats.to_send.identified": {
        "a long chat": of(dialogue, lambda said: to_send.identified(markers.PathDigest(), said, chats.NO_IDS))
    },
    "turns.chats.to_send.with_exchanges": {
        "a long chat": of(dialogue, lambda said: to_send.with_exchanges(said, said)),
        "going on": of(going_on, lambda said: to_send.with_exchanges(said, said)),
    },
    "turns.chats.unkept.from_note": of_text(unkept.from_note, **DEEP),
    "turns.chats.unkept.is_kept": {"messages": of(dialogue, lambda said: unkept.is_kept(said, Past(said)))},
    "turns.chats.unkept.missing_in": {
        "messages": of(dialogue, lambda said: unkept.missing_in(Past([], unfinished=said), said))
    },
    "turns.chats.unkept.to_note": {"messages": of(dialogue, unkept.to_note)},
    "turns.turn.Turn.told": of_text(turn("Hi").told),
    "turns.runs.pending_calls.answers": {"results": of(turn_of, lambda pair: pending_calls.answers(*pair, []))},
    "turns.runs.pending_calls.verdict": of_text(
        pending_calls.verdict, noes=Shape("no", " ", "x"), because=Shape("no,", " ", "")
    ),
}
