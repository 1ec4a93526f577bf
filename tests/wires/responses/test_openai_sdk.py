"""OpenAI's own SDK, which adds up the events of a stream by itself, and reads errors."""

import json

import httpx2
import openai
import pytest

from gateway.domain.errors import PicturesUnseen
from gateway.domain.events import (
    CallPiece,
    CallWaits,
    Event,
    Stop,
    StopReason,
    Text,
    Thought,
    TokensCounted,
    ToolCalled,
    ToolReturned,
)
from gateway.domain.look import Look
from gateway.domain.request import ClientTool, ClientTools
from gateway.wires.responses.echo import Echo
from tests.wires.responses.oracle import check_frames, encoder_for, played_frames

TOOLS = ClientTools((ClientTool("weather"), ClientTool("patch")))
ECHO = Echo("tutor", custom_tools=("patch",))
END, WAITS = Stop(StopReason.END), Stop(StopReason.WAITING)
USED = TokensCounted(11, 7, 18)
RUNS: dict[str, list[Event]] = {
    "thoughts and text": [Thought("Hm."), Text("Good "), Text("morning."), END, USED],
    "two calls at once": [
        CallWaits(CallPiece("c1", "weather", '{"a":')),
        CallWaits(CallPiece("c2", "patch", '{"input":"*** Begin"}')),
        CallWaits(CallPiece("c1", "", "1}")),
        WAITS,
        USED,
    ],
    "a tool of Letta's own": [ToolCalled(CallPiece("c1", "search")), ToolReturned("c1", "12"), Text("12."), END, USED],
    "a call that needs an approval": [Text("May I?"), CallWaits(CallPiece("c1", "Bash")), WAITS, USED],
}


def client(frames: bytes) -> openai.OpenAI:
    """A client that is answered with these frames."""
    answer = httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=frames)
    transport = httpx2.MockTransport(lambda request: answer)
    return openai.OpenAI(api_key="x", base_url="http://gateway/v1", http_client=httpx2.Client(transport=transport))


@pytest.mark.parametrize("events", RUNS.values(), ids=RUNS)
def test_it_adds_up_the_response(events: list[Event]) -> None:
    frames = played_frames(events, Look("think_tags", "mcp_calls", "items"), TOOLS, ECHO)

    with client(frames) as asks, asks.responses.stream(model="tutor", input="Hi") as stream:
        seen = [event.sequence_number for event in stream]
        response = stream.get_final_response()
    told = check_frames(frames)
    assert seen == list(range(len(told.events)))
    assert response.output_text == "".join(told.texts)
    assert [item.to_dict()["id"] for item in response.output] == [item["id"] for item in told.output]
    assert response.usage
    assert json.loads(response.usage.to_json()) == told.end["usage"]


def test_it_raises_an_error_that_comes_in_place_of_a_response() -> None:
    with (
        client(encoder_for().fail(PicturesUnseen())) as asks,
        pytest.raises(openai.APIError) as raised,
        asks.responses.create(model="tutor", input="Hi", stream=True) as stream,
    ):
        list(stream)

    assert raised.value.code == "pictures_unseen"
