"""What every stream of a response must be, whatever made it: parses its frames, and asserts each rule.

Every event must be one of OpenAI's own types, and one of the Open Responses specification's, as far as that has it.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any, get_args

import msgspec
import openresponses_types
from msgspec import Struct
from openai.types.responses import ResponseStreamEvent
from openai.types.responses.response import Response as OpenAIResponse
from pydantic import BaseModel

from gateway.domain.errors import GatewayError, UpstreamError
from gateway.domain.events import Event, Stop
from gateway.domain.look import Look
from gateway.domain.places import ResponsePlace
from gateway.domain.request import NO_TOOLS, ClientTools
from gateway.wires.envelope import UpstreamFailure
from gateway.wires.narrator import Narrator
from gateway.wires.responses.echo import Echo
from gateway.wires.responses.encoder import ResponsesEncoder
from gateway.wires.responses.ids import Seal
from gateway.wires.responses.response import Framing, ResponseResource, encode_json, event_frame

Json = dict[str, Any]
PLACE = ResponsePlace("5e" * 16, "0b1c2d3e", "9f86d081", "chat", "1f" * 16, "c0ffee0123456789")
IDS = Seal((b"secret",)).ids_of(PLACE)
CREATED, DONE = 1_790_000_000, 1_790_000_009
ENDS = ("response.completed", "response.incomplete", "response.failed")
PLAIN_LOOK = Look("think_tags", "thoughts")
ECHO = Echo("tutor")


def _types(models: Iterable[type[BaseModel]]) -> dict[str, type[BaseModel]]:
    """Models of events by the types that they say they have."""
    return {str(get_args(one.model_fields["type"].annotation)[0]): one for one in models}


_OPENAI = _types(get_args(get_args(ResponseStreamEvent)[0]))
# Of these types the `type` is an enumeration of one.
_OPEN: dict[str, type[BaseModel]] = {
    str(next(iter(one.model_fields["type"].annotation)).value): one
    for name, one in vars(openresponses_types).items()
    if name.endswith("StreamingEvent")
}
# Fields that OpenAI's types do not have, and the specification demands.
_BESIDE = {"store", "presence_penalty", "frequency_penalty", "error"}
# What the specification has no word for; of its types' form of a schema nothing can be.
_BEYOND = ('"mcp_call"', '"mcp_approval_request"', '"custom_tool_call"', '"custom"', '"json_schema"')


def check_openai(model: BaseModel) -> None:
    """Nothing stands in a value of OpenAI's types that they do not know."""
    assert {*(model.model_extra or ())} <= _BESIDE
    for value in vars(model).values():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, BaseModel):
                check_openai(one)


def check_event(raw: str) -> Json:
    """The event, which both kinds of types take."""
    event: Json = json.loads(raw)
    check_openai(_OPENAI[event["type"]].model_validate_json(raw, strict=True))
    if event["type"] in _OPEN and not any(word in raw for word in _BEYOND):
        _OPEN[event["type"]].model_validate_json(raw, strict=True)
    if "response" in event:
        check_response(event["response"])
    return event


def check_response(response: Json) -> None:
    raw = json.dumps(response)
    check_openai(OpenAIResponse.model_validate_json(raw, strict=True))
    assert set(openresponses_types.ResponseResource.model_fields) <= response.keys()
    if not any(word in raw for word in _BEYOND):
        openresponses_types.ResponseResource.model_validate_json(raw, strict=True)


class ResponseStream(Struct, frozen=True):
    """A stream that obeys the rules, and what it says."""

    events: list[Json]
    end: Json
    """The response that it ended with."""

    @property
    def types(self) -> list[str]:
        """The types of the events, without what all of them begin with."""
        return [event["type"].removeprefix("response.") for event in self.events]

    @property
    def output(self) -> list[Json]:
        output: list[Json] = self.end["output"]
        return output

    @property
    def texts(self) -> list[str]:
        return [item["content"][0]["text"] for item in self.output if item["type"] == "message"]

    @property
    def thoughts(self) -> list[str]:
        return [item["summary"][0]["text"] for item in self.output if item["type"] == "reasoning" and item["summary"]]


def events_of(frames: bytes) -> list[Json]:
    """The events of frames, each of which has its type as its name."""
    assert frames.endswith(b"\n\n")
    blocks = frames.decode().removesuffix("\n\n").split("\n\n")
    events = []
    for block in blocks:
        name, data = block.split("\n")
        events.append(check_event(data.removeprefix("data: ")))
        assert name == f"event: {events[-1]['type']}"
    return events


def check_frames(frames: bytes, *, contiguous: bool = True) -> ResponseStream:
    """The stream that frames are, from the first to the last. `contiguous`: no text was joined."""
    events = events_of(frames)
    numbers = [event["sequence_number"] for event in events]
    assert numbers == (list(range(len(events))) if contiguous else sorted({*numbers}))
    assert numbers[0] == 0

    types = [event["type"] for event in events]
    begins = [kind for kind in types[:3] if kind in ("response.created", "response.queued", "response.in_progress")]
    assert begins[0] == "response.created"
    assert begins[-1] == "response.in_progress"
    assert [i for i, kind in enumerate(types) if kind in ENDS] == [len(types) - 1]
    end = events[-1]["response"]
    assert end["status"] == types[-1].removeprefix("response.")
    assert (end["completed_at"] is not None) == (end["status"] == "completed")
    assert (end["error"] is not None) == (end["status"] == "failed")
    assert (end["incomplete_details"] is not None) == (end["status"] == "incomplete")
    assert all(event["response"]["id"] == end["id"] for event in events if "response" in event)
    _check_items(events[len(begins) : -1], end["output"])
    return ResponseStream(events, end)


def _check_items(events: Sequence[Json], output: list[Json]) -> None:
    """Every item is added, then grows, then is done; its deltas are its text, and the response ends with it."""
    added = [event for event in events if event["type"] == "response.output_item.added"]
    done = {event["output_index"]: event["item"] for event in events if event["type"] == "response.output_item.done"}
    assert [event["output_index"] for event in added] == list(range(len(output)))
    assert [done[index] for index in sorted(done)] == output
    assert len({item["id"] for item in output}) == len(output)
    for index, item in enumerate(output):
        own = [event for event in events if event["output_index"] == index]
        assert own[0]["type"] == "response.output_item.added"
        assert own[-1]["type"] == "response.output_item.done"
        assert own[0]["item"]["id"] == item["id"]
        assert all(event.get("item_id", item["id"]) == item["id"] for event in own)
        assert own[0]["item"].get("status", "in_progress") == "in_progress" or item["type"] == "function_call_output"
        _check_text(item, own)


def _check_text(item: Json, events: Sequence[Json]) -> None:
    deltas = [event["delta"] for event in events if event["type"].endswith(".delta")]
    assert all(deltas)
    dones = [event for event in events if event["type"].endswith((".done", ".done")) and "item" not in event]
    for event in dones:
        told = event.get("text", event.get("arguments", event.get("input")))
        part = event.get("part")
        assert (part["text"] if part else told) == "".join(deltas)
    match item["type"]:
        case "message":
            assert [part["text"] for part in item["content"]] == ["".join(deltas)]
        case "reasoning":
            assert "".join(part["text"] for part in item["summary"]) == "".join(deltas)
        case "function_call" | "mcp_call":
            assert item["arguments"] == "".join(deltas)
        case "custom_tool_call":
            assert item["input"] == "".join(deltas)


def encoder_for(
    look: Look = PLAIN_LOOK, echo: Echo = ECHO, framing: Framing = event_frame, after: int = -1
) -> ResponsesEncoder:
    return ResponsesEncoder(
        ids=IDS,
        created_at=CREATED,
        echo=echo,
        tool_activity=look.tool_activity,
        framing=framing,
        after=after,
    )


def dated(events: Iterable[Event]) -> Iterable[Event]:
    """The events of a run whose end was seen at the second DONE."""
    return (msgspec.structs.replace(event, at=DONE) if isinstance(event, Stop) else event for event in events)


def played_frames(
    events: Iterable[Event],
    look: Look = PLAIN_LOOK,
    clients: ClientTools = NO_TOOLS,
    echo: Echo = ECHO,
    after: int = -1,
) -> bytes:
    """The frames that a client gets for `events`: an error ends them as it does in a response."""
    encoder, narrator = encoder_for(look, echo, after=after), Narrator(look, clients)
    frames = encoder.begin()
    try:
        for event in dated(events):
            frames += encoder.encode(narrator.receive(event))
        frames += encoder.encode(narrator.receive_eof()) + encoder.end()
    except UpstreamError as error:
        frames += encoder.encode(narrator.receive_error()) + encoder.fail(told(error))
    return frames


def told(error: UpstreamError) -> GatewayError:
    return UpstreamFailure(error)


def play_response(
    events: Iterable[Event], look: Look = PLAIN_LOOK, clients: ClientTools = NO_TOOLS, echo: Echo = ECHO
) -> ResponseStream:
    """The same, checked."""
    return check_frames(played_frames(events, look, clients, echo), contiguous=False)


def whole_response(
    events: Iterable[Event], look: Look = PLAIN_LOOK, clients: ClientTools = NO_TOOLS, echo: Echo = ECHO
) -> ResponseResource:
    """The response that comes whole of a run that ends well, checked."""
    narrator = Narrator(look, clients)
    said = [saying for event in dated(events) for saying in narrator.receive(event)] + [*narrator.receive_eof()]
    whole = encoder_for(look, echo).whole(said)
    check_response(json.loads(encode_json(whole)))
    return whole
