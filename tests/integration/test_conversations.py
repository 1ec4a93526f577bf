"""Conversations on every Letta: made with items, gone on with, added to, described, listed and deleted."""

from collections.abc import Iterator
from typing import Any

import pytest
from openai import NotFoundError

from tests.integration.test_responses import TOOLS, Program, on_every_side
from tests.integration.words import unheard
from tests.programs import CALLS
from tests.servers.letta_v1 import LettaV1
from tests.servers.real_letta import RealLetta
from tests.servers.scripted_model import ScriptedModel

pytestmark = on_every_side


@pytest.fixture
def program(letta: RealLetta, restarts: bool) -> Iterator[Program]:
    program = Program(letta, restarts)
    yield program
    program.close()


def made(program: Program, items: list[Any] | None = None, **more: Any) -> str:
    user = {"user": program.user}
    id: str = program.client.conversations.create(items=items or [], extra_body=user, **more).id
    return id


def listed(program: Program, id: str) -> list[Any]:
    return [item.to_dict() for item in program.client.conversations.items.list(id, order="asc", limit=2)]


def texts(items: list[Any]) -> list[str]:
    return [part["text"] for item in items for part in item.get("content") or []]


def test_a_conversation_goes_on_and_its_items_have_the_ids_of_its_responses(
    program: Program, model: ScriptedModel
) -> None:
    one, two = unheard("!think Hm.\n!say Hello"), unheard("two")
    id = made(program)
    first = program.say(one, conversation=id)
    second = program.say(two, conversation=id)
    items = listed(program, id)
    asked = [item.id for each in (first, second) for item in program.client.responses.input_items.list(each.id)]

    assert model.said_once(two) == [("user", one), ("assistant", first.output_text), ("user", two)]
    assert [item["id"] for item in items] == [
        asked[0],
        *(item.id for item in first.output),
        asked[1],
        *(item.id for item in second.output),
    ]
    assert texts(items) == [one, first.output_text, two, second.output_text]


def test_calls_and_results_are_listed_with_the_ids_that_they_had(program: Program) -> None:
    id = made(program)
    called = program.say(f"{CALLS}\n{unheard()}", conversation=id, tools=TOOLS)
    outputs: list[Any] = [
        {"type": "function_call_output", "call_id": item.call_id, "output": "sunny"}
        for item in called.output
        if item.type == "function_call"
    ]
    answered = program.say(outputs, conversation=id, tools=TOOLS)
    items = listed(program, id)

    told = [item["id"] for item in items]
    if program.restarts and not isinstance(program.letta, LettaV1):
        # An App Server's turn waits for them as long as its gateway does: they are told in words then.
        assert answered.output_text in texts(items)
        assert len(told) == len({*told})
        return
    assert [item["type"] for item in items if item["type"] in ("function_call", "function_call_output")] == [
        *["function_call"] * 2,
        *["function_call_output"] * 2,
    ]
    assert {item.id for each in (called, answered) for item in each.output} <= {*told}
    assert len(told) == len({*told})


def test_what_is_added_is_told_with_the_next_message_and_stays_listed(program: Program, model: ScriptedModel) -> None:
    begun, answer, one, added, two, three = (unheard(word) for word in ("0", "a", "1", "added", "2", "3"))
    id = made(program, [{"role": "user", "content": begun}, {"role": "assistant", "content": answer}])
    first = program.say(one, conversation=id)
    more = program.client.conversations.items.create(
        id, items=[{"role": "user", "content": added}, {"role": "assistant", "content": "Noted."}]
    )
    before = listed(program, id)
    second = program.say(two, conversation=id)
    third = program.say(three, conversation=id)
    items = listed(program, id)

    told = texts([*before[:2], *before[2:]])
    assert told == [begun, answer, one, first.output_text, added, "Noted."]
    assert texts(items) == [*told, two, second.output_text, three, third.output_text]
    assert [item["id"] for item in items[: len(before)]] == [item["id"] for item in before]
    assert [item.id for item in more.data] == [item["id"] for item in before[-2:]]
    heard = " ".join(text for _, text in model.received(three)[-1])
    assert [heard.count(text) for text in (begun, answer, added, "Noted.")] == [1] * 4
    assert sorted((begun, answer, one, added, two, three), key=heard.index) == [begun, answer, one, added, two, three]


def test_results_that_are_added_are_told(program: Program, model: ScriptedModel) -> None:
    question, two = unheard("weather?"), unheard("two")
    call = {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": '{"city":"Rome"}'}
    items: list[Any] = [
        {"role": "user", "content": question},
        call,
        {"type": "function_call_output", "call_id": "call_1", "output": "12 degrees"},
        {"role": "assistant", "content": "Cold."},
    ]
    id = made(program, items)
    program.say(two, conversation=id)

    heard = " ".join(text for _, text in model.received(two)[-1])
    assert "12 degrees" in heard
    assert [item["type"] for item in listed(program, id)][:4] == [
        *("message", "function_call", "function_call_output", "message"),
    ]


def test_metadata_outlives_branches_and_restarts(program: Program) -> None:
    id = made(program, metadata={"topic": "fractions"})
    first = program.say(unheard("one"), conversation=id)
    program.say(unheard("two"), conversation=id)
    program.say(unheard("branch"), previous_response_id=first.id)
    assert program.client.conversations.retrieve(id).metadata == {"topic": "fractions"}

    program.client.conversations.update(id, metadata={"topic": "decimals"})
    program.say(unheard("three"), conversation=id)
    assert program.client.conversations.retrieve(id).metadata == {"topic": "decimals"}


def test_a_conversation_that_was_deleted_is_nowhere(program: Program, model: ScriptedModel) -> None:
    id = made(program)
    response = program.say(unheard("one"), conversation=id)
    program.client.conversations.delete(id)
    text = unheard("two")
    for ask in (
        lambda: program.client.conversations.retrieve(id),
        lambda: program.client.conversations.items.list(id),
        lambda: program.say(text, conversation=id),
        lambda: program.say(text, previous_response_id=response.id),
        lambda: program.client.responses.retrieve(response.id),
    ):
        with pytest.raises(NotFoundError):
            ask()

    assert model.said(text) == []
