"""Responses on every Letta: gone on with by their ids, before and after a restart of the gateway."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from openai import NotFoundError, OpenAI
from openai.types.responses import Response

from tests.gateways import gateway, sdk
from tests.integration.words import someone, unheard
from tests.pictures.drawn import picture
from tests.programs import CALLS
from tests.servers.letta_v1 import LettaV1
from tests.servers.real_letta import RealLetta
from tests.servers.scripted_model import ScriptedModel
from tests.workers import IN_THREES, ONE_GATEWAY

# Each Letta behind one gateway, behind one that is another for each request, and behind three that are one.
SIDES = [
    pytest.param(*side.values, restarts, id=f"{side.id}{'-restarted' if restarts else ''}", marks=side.marks)
    for sides, restarts in ((ONE_GATEWAY, False), (ONE_GATEWAY, True), (IN_THREES, False))
    for side in sides
]
on_every_side = pytest.mark.parametrize(("letta", "restarts"), SIDES, indirect=["letta"], scope="session")
pytestmark = on_every_side

PICTURE = picture()
END_SECONDS = 60.0
TOOLS: list[Any] = [
    {
        "type": "function",
        "name": name,
        "description": "Of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        "strict": False,
    }
    for name in ("weather", "clock")
]


class Program:
    """A program of somebody's that speaks Responses, to a gateway that may be another each time."""

    def __init__(self, letta: RealLetta, restarts: bool) -> None:
        self.letta, self.restarts = letta, restarts
        self.user = someone()
        self._stack = ExitStack()
        self._client: OpenAI | None = None

    @property
    def client(self) -> OpenAI:
        if self.restarts or self._client is None:
            self._stack.close()
            if self._client and self.letta.threes:
                self.letta.threes.end_idle()
            url = self._stack.enter_context(gateway(self.letta, model=self.letta.seeing, drain_seconds=0))
            self._client = self._stack.enter_context(sdk(url))
        return self._client

    def say(self, input: Any, **more: Any) -> Response:
        response: Response = self.client.responses.create(model="tutor", input=input, **{"user": self.user, **more})
        return response

    def ended(self, id: str) -> Response:
        """A response, once its gateway knows that it has ended: another may have it a moment later."""
        until = time.monotonic() + END_SECONDS
        while (shown := self.client.responses.retrieve(id)).status == "in_progress":
            assert time.monotonic() < until
        return shown

    def close(self) -> None:
        self._stack.close()


@pytest.fixture
def program(letta: RealLetta, restarts: bool) -> Iterator[Program]:
    program = Program(letta, restarts)
    yield program
    program.close()


def texts(said: list[tuple[str, str]]) -> list[str]:
    return [text for _, text in said]


def test_a_response_is_gone_on_with_at_its_end_and_branched_anywhere_else(
    program: Program, model: ScriptedModel
) -> None:
    one, two, three, four = (unheard(word) for word in ("one", "two", "three", "four"))
    first = program.say(one)
    second = program.say(two, previous_response_id=first.id)
    program.say(three, previous_response_id=second.id)
    program.say(four, previous_response_id=first.id)

    told = [("user", one), ("assistant", first.output_text)]
    assert model.said_once(two) == [*told, ("user", two)]
    assert model.said_once(three) == [*told, ("user", two), ("assistant", second.output_text), ("user", three)]
    assert model.said_once(four) == [*told, ("user", four)]


def test_a_history_is_gone_on_with_as_one_and_by_the_ids_of_its_items(program: Program, model: ScriptedModel) -> None:
    one, two, three = (unheard(word) for word in ("one", "two", "three"))
    first = program.say(one)
    history: list[Any] = [{"role": "user", "content": one}, *(item.model_dump() for item in first.output)]
    second = program.say([*history, {"role": "user", "content": two}])
    known = [{"type": "item_reference", "id": item.id} for item in second.output]
    program.say([*history, {"role": "user", "content": two}, *known, {"role": "user", "content": three}])

    told = [("user", one), ("assistant", first.output_text), ("user", two)]
    assert model.said_once(two) == told
    assert model.said_once(three) == [*told, ("assistant", second.output_text), ("user", three)]


def test_instructions_are_for_one_response(program: Program, model: ScriptedModel) -> None:
    one, two, wish = unheard("one"), unheard("two"), unheard("Speak French.")
    first = program.say(one, instructions=wish)
    program.say(two, previous_response_id=first.id)

    assert any(wish in text for _, text in model.received(one)[-1])
    said = model.received(two)[-1]
    assert not any(text.endswith(wish) for _, text in said if wish in text) or "Ignore" in str(said)


@pytest.mark.parametrize("by", ["id", "history"])
def test_results_of_two_calls_go_to_the_agent(program: Program, model: ScriptedModel, by: str) -> None:
    script, sunny = f"{CALLS}\n{unheard()}", unheard("sunny")
    asked: list[Any] = [{"role": "user", "content": script}]
    called = program.say(asked, tools=TOOLS)
    calls = [item for item in called.output if item.type == "function_call"]
    assert [(call.name, json.loads(call.arguments)) for call in calls] == [
        ("weather", {"city": "Oslo"}),
        ("clock", {"city": "Rome"}),
    ]
    outputs: list[Any] = [
        {"type": "function_call_output", "call_id": call.call_id, "output": result}
        for call, result in zip(calls, (sunny, "noon"), strict=True)
    ]
    if by == "id":
        answered = program.say(outputs, tools=TOOLS, previous_response_id=called.id)
    else:
        answered = program.say([*asked, *(item.model_dump() for item in called.output), *outputs], tools=TOOLS)
    if program.restarts and not isinstance(program.letta, LettaV1):
        # An App Server's turn waits for them as long as its gateway does: they are told in words then.
        assert len(model.received(f'"result":"{sunny}"')) == 1
        return
    more = unheard("more")
    program.say(more, previous_response_id=answered.id)

    assert sunny in answered.output_text
    assert [role for role, _ in model.said_once(more)] == ["user", "assistant", "tool", "tool", "assistant", "user"]
    assert program.ended(answered.id).output_text == answered.output_text


def test_a_picture_is_shown_to_the_agent(program: Program, model: ScriptedModel) -> None:
    text = unheard("look")
    shown = {"type": "input_image", "image_url": PICTURE.url, "detail": "auto"}
    first = program.say([{"role": "user", "content": [{"type": "input_text", "text": text}, shown]}])
    items = [*program.client.responses.input_items.list(first.id)]

    assert any(PICTURE.name in part for part in texts(model.said(text)[0]))
    assert [part.type for part in items[0].content] == ["input_text", "input_image"]


def test_a_response_that_is_asked_for_is_the_same_after_a_restart(program: Program) -> None:
    told = program.say(unheard("!think Hm.\n!say Hello"))
    shown = program.ended(told.id)

    assert (shown.status, shown.output) == ("completed", told.output)
    assert shown.created_at == told.created_at


def test_another_person_s_response_is_not_there(program: Program, model: ScriptedModel) -> None:
    first, text = program.say(unheard("one")), unheard("mine")
    with pytest.raises(NotFoundError) as refused:
        program.say(text, previous_response_id=first.id, user=someone())

    assert refused.value.code == "previous_response_not_found"
    assert model.said(text) == []


def test_a_response_that_was_deleted_and_all_behind_it_is_not_there(program: Program, model: ScriptedModel) -> None:
    first = program.say(unheard("one"))
    second = program.say(unheard("two"), previous_response_id=first.id)
    third = program.say(unheard("three"), previous_response_id=second.id)
    program.client.responses.delete(second.id)
    text = unheard("four")
    for gone in (second, third):
        with pytest.raises(NotFoundError):
            program.client.responses.retrieve(gone.id)
        with pytest.raises(NotFoundError):
            program.say(text, previous_response_id=gone.id)

    assert model.said(text) == []
    assert program.ended(first.id).status == "completed"
    alone = program.say(unheard("alone"))
    program.client.responses.delete(alone.id)
    with pytest.raises(NotFoundError):
        program.client.responses.retrieve(alone.id)


def test_an_end_of_the_gateway_ends_no_response_in_the_background_where_letta_goes_on(
    program: Program, model: ScriptedModel
) -> None:
    text = unheard("!say one two three")
    with model.gate(text, "two") as gate:
        begun = program.say(text, background=True)
        model.wait_for(text)
        program.restarts = True
        status = program.client.responses.retrieve(begun.id).status
        gate.open()
        goes_on = isinstance(program.letta, LettaV1)
        assert status == ("in_progress" if goes_on else "cancelled")
        if goes_on:
            shown = program.ended(begun.id)
            assert (shown.status, shown.output_text) == ("completed", text.removeprefix("!say "))


@pytest.mark.parametrize("how", ["cancel", "delete"])
def test_a_response_that_goes_on_after_its_gateway_can_be_ended_at_another(
    program: Program, model: ScriptedModel, how: str
) -> None:
    text, more = unheard("!say one two three"), unheard("more")
    first = program.say(unheard("first"))
    with model.gate(text, "two") as gate:
        begun = program.say(text, background=True, previous_response_id=first.id)
        model.wait_for(text)
        program.restarts = True
        if how == "cancel":
            assert program.client.responses.cancel(begun.id).status == "cancelled"
        else:
            program.client.responses.delete(begun.id)
        gate.open()
    # A V1 server keeps nothing of a run that was ended.
    if how == "cancel":
        assert program.ended(begun.id).status in ("cancelled", "failed")
    else:
        with pytest.raises(NotFoundError):
            program.client.responses.retrieve(begun.id)
    program.say(more, previous_response_id=first.id)
    assert "three" not in str(model.said_once(more))
