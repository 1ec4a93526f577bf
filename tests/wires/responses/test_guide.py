"""The tables of the guide: every parameter and every item that OpenAI has, and no word of one that nobody reads."""

import re
from collections.abc import Iterable, Iterator
from typing import Any, get_args, get_type_hints

import pytest
from openai.types.responses import ResponseInputItem
from openai.types.responses.response_create_params import ResponseCreateParamsStreaming

from gateway.domain.errors import InvalidRequest
from gateway.wires.responses.request import ResponsesRequest
from tests.readme import GUIDES
from tests.wires.responses.bodies import decoded

GUIDE = GUIDES["responses"]


def rows(title: str) -> dict[str, str]:
    """The rows of a table, by what stands in their first column."""
    table = GUIDE.partition(f"| {title} |")[2].partition("\n\n")[0].splitlines()[2:]
    cells = [line.strip("| ").split(" | ", 1) for line in table]
    return {name: text for name, text in cells}


def named(names: Iterable[str]) -> set[str]:
    return {name for text in names for name in re.findall(r"`(\w+)`", text)}


PARAMETERS, ITEMS = rows("parameter"), rows("type")


def literals(hint: Any) -> Iterator[str]:
    """The texts that a type allows."""
    for one in get_args(hint):
        yield from [one] if isinstance(one, str) else literals(one)


KINDS = get_args(get_args(ResponseInputItem)[0])
# The types of OpenAI's items.
TYPES = {name for kind in KINDS for name in literals(kind.model_fields["type"].annotation)}


def test_every_parameter_of_openai_s_is_in_the_table() -> None:
    theirs = {*get_type_hints(ResponseCreateParamsStreaming)}

    assert len(theirs) > 30
    assert theirs - named(PARAMETERS) == set()


def test_every_parameter_that_is_read_is_in_the_table_and_openai_s() -> None:
    read = {*ResponsesRequest.__struct_fields__}

    assert read - named(PARAMETERS) == set()
    assert read - {*get_type_hints(ResponseCreateParamsStreaming)} == set()


def test_what_is_said_to_be_ignored_is_not_read() -> None:
    ignored = named(name for name, text in PARAMETERS.items() if text.startswith("accepted and ignored"))

    assert len(ignored) > 5
    assert ignored & {*ResponsesRequest.__struct_fields__} == set()


TAKEN = named(name for name in ITEMS if not name.startswith("any other"))


def test_every_item_that_the_table_names_is_one_of_openai_s() -> None:
    assert len(TYPES) > 20
    assert {"role", "id"} == TAKEN - TYPES


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_an_item_is_taken_if_the_table_names_it_and_else_refused_by_name(kind: str) -> None:
    item = {
        "type": kind,
        "id": "a",
        "role": "user",
        "content": "Hi",
        "call_id": "a",
        "name": "x",
        "arguments": "{}",
        "input": "a",
        "output": "a",
        "approval_request_id": "a",
        "approve": True,
    }
    if kind in TAKEN:
        assert decoded([item]).input
        return
    with pytest.raises(InvalidRequest) as refused:
        decoded([item])
    assert f"`{kind}`" in str(refused.value)
    assert refused.value.code == "unsupported_parameter"
