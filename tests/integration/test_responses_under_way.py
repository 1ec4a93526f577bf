"""Responses that are under way, or were a moment ago, asked for at one gateway and at three that are one."""

from collections.abc import Iterator
from typing import Any

import pytest
from openai import OpenAI

from tests.gateways import gateway, sdk
from tests.integration.words import someone, unheard
from tests.servers.real_letta import RealLetta
from tests.servers.scripted_model import ScriptedModel
from tests.workers import also_in_threes

pytestmark = also_in_threes

# Each request may come to another gateway.
ENOUGH = 4


@pytest.fixture
def client(letta: RealLetta) -> Iterator[OpenAI]:
    with gateway(letta) as url, sdk(url) as client:
        yield client


def begun(client: OpenAI, text: str, **more: Any) -> Any:
    return client.responses.create(model="tutor", input=text, user=someone(), background=True, **more)


def said_by(text: str) -> str:
    """The answer to a script that has the model say something."""
    return text.removeprefix("!say ")


def text_of(events: list[Any]) -> str:
    return "".join(event.delta for event in events if event.type == "response.output_text.delta")


def test_a_response_in_the_background_is_shown_and_streamed_wherever_it_is_asked_for(
    client: OpenAI, model: ScriptedModel
) -> None:
    text = unheard("!say one two three")
    with model.gate(text, "two") as gate:
        id = begun(client, text).id
        model.wait_for(text)
        shown = [client.responses.retrieve(id) for _ in range(ENOUGH)]
        assert {one.status for one in shown} <= {"queued", "in_progress"}
        streams = [client.responses.retrieve(id, stream=True) for _ in range(ENOUGH)]
        gate.open()
        told = [[*stream] for stream in streams]
    ended = [client.responses.retrieve(id) for _ in range(ENOUGH)]

    assert [text_of(events) for events in told] == [said_by(text)] * ENOUGH
    assert [events[-1].type for events in told] == ["response.completed"] * ENOUGH
    assert [one.output for one in ended] == [told[0][-1].response.output] * ENOUGH
    assert len(model.said(text)) == 1


def test_a_stream_that_was_cut_is_gone_on_with_wherever_it_is_asked_for(client: OpenAI, model: ScriptedModel) -> None:
    text = unheard("!say one two three four")
    with model.gate(text, "two") as gate:
        stream = begun(client, text, stream=True)
        had = []
        for event in stream:
            had.append(event)
            if event.type == "response.output_text.delta":
                break
        stream.close()
        gate.open()
        id = had[0].response.id
        rests = [
            [*client.responses.retrieve(id, stream=True, starting_after=had[-1].sequence_number)] for _ in range(ENOUGH)
        ]

    assert [text_of(had) + text_of(rest) for rest in rests] == [said_by(text)] * ENOUGH
    numbers = [[event.sequence_number for event in (*had, *rest)] for rest in rests]
    assert all(told == sorted(set(told)) for told in numbers)


@pytest.mark.parametrize("streamed", [False, True], ids=["in the background", "streamed"])
def test_a_response_is_cancelled_wherever_that_is_asked_for(
    client: OpenAI, model: ScriptedModel, streamed: bool
) -> None:
    text, more = unheard("!say one two three"), unheard("more")
    with model.gate(text, "two"):
        stream = begun(client, text, stream=True)
        id = next(iter(stream)).response.id
        model.wait_for(text)
        if not streamed:
            stream.close()
        cancelled = client.responses.cancel(id)
        if streamed:
            assert [*stream][-1].type == "response.failed"
    shown = [client.responses.retrieve(id).status for _ in range(ENOUGH)]

    assert cancelled.status == "cancelled"
    assert set(shown) == {"cancelled"}
    assert client.responses.cancel(id).status == "cancelled"
    assert client.responses.create(model="tutor", input=more, user=someone()).status == "completed"


def test_a_request_that_is_sent_again_has_the_response_that_it_has(client: OpenAI, model: ScriptedModel) -> None:
    text, user = unheard("!say one two three"), someone()
    asked: dict[str, Any] = {"model": "tutor", "input": text, "user": user, "background": True}
    with model.gate(text, "two"):
        ids = {client.responses.create(**asked, extra_headers={"Idempotency-Key": user}).id for _ in range(ENOUGH)}
        model.wait_for(text)

    assert len(ids) == 1
    assert len(model.said(text)) == 1


def test_who_goes_on_with_a_response_waits_for_its_end(client: OpenAI, model: ScriptedModel) -> None:
    text, more, user = unheard("!say one two three"), unheard("more"), someone()
    with model.gate(text, "two") as gate:
        first = client.responses.create(model="tutor", input=text, user=user, background=True)
        model.wait_for(text)
        second = client.responses.create(
            model="tutor", input=more, user=user, background=True, previous_response_id=first.id
        )
        assert model.said(more) == []
        gate.open()
        [*client.responses.retrieve(second.id, stream=True)]

    assert [said for _, said in model.said_once(more)] == [text, said_by(text), more]
