"""Schemas and answers are judged by a process, which is ended when that takes too long."""

from typing import Any

import msgspec
import pytest

from gateway.domain.errors import InvalidRequest
from gateway.domain.json_format import JsonFormat
from gateway.domain.request import ClientTool, ClientTools
from gateway.turns.runs.judge import DIFFERS, FITS, NO_SCHEMA, main
from gateway.turns.runs.schemas import Schemas, is_simple

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Real time: processes take as long as they take."""
    return "asyncio"


# With a reference it is no simple one.
OBJECT = {"$ref": "#/$defs/a", "$defs": {"a": {"type": "object", "required": ["a"]}}}
NO_SCHEMAS: dict[str, dict[str, Any]] = {
    "no type": {"type": "thing"},
    "no type, behind a reference": {"$ref": "#/$defs/a", "$defs": {"a": {"type": "thing"}}},
    "no pattern": {"pattern": "("},
    "nowhere": {"$ref": "#/$defs/a"},
    "elsewhere": {"$ref": "https://schemas.example/a"},
}


@pytest.mark.parametrize("schema", NO_SCHEMAS.values(), ids=NO_SCHEMAS)
async def test_what_is_no_schema_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match="is not a JSON Schema") as refused:
        await Schemas().check(JsonFormat(schema))

    assert refused.value.param == "response_format"


@pytest.mark.parametrize("schema", NO_SCHEMAS.values(), ids=NO_SCHEMAS)
async def test_parameters_that_are_no_schema_are_refused_where_they_are_strict(schema: dict[str, Any]) -> None:
    loose, strict = (
        ClientTools((ClientTool("weather", parameters=schema, strict=is_strict),)) for is_strict in (False, True)
    )
    await Schemas().check_strict(loose)
    with pytest.raises(InvalidRequest, match="`weather` are not a JSON Schema") as refused:
        await Schemas().check_strict(strict)

    assert refused.value.param == "tools"


async def test_an_answer_fits_or_does_not() -> None:
    schemas = Schemas()
    await schemas.check(JsonFormat(OBJECT))

    assert await schemas.fits(JsonFormat(OBJECT), '{"a":\n1}')
    assert not await schemas.fits(JsonFormat(OBJECT), "{}")


async def test_without_a_schema_there_is_nothing_to_judge() -> None:
    schemas = Schemas(seconds=0)
    await schemas.check(None)
    await schemas.check(JsonFormat())

    assert await schemas.fits(JsonFormat(), "{}")


# A letter of any script, so often that a reader is busy for minutes.
SLOW = {"allOf": [{"pattern": f"\\p{{L}}{{200}}{i}"} for i in range(3_000)]}


async def test_a_schema_that_takes_too_long_is_refused_and_its_process_is_gone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(InvalidRequest):
        await Schemas(seconds=0.5).check(JsonFormat(SLOW))

    assert "was not judged" in caplog.text


async def test_an_answer_that_takes_too_long_does_not_fit() -> None:
    assert not await Schemas(seconds=0.5).fits(JsonFormat(SLOW), '"a"')


async def test_a_schema_is_judged_once() -> None:
    schemas = Schemas()
    await schemas.check(JsonFormat(OBJECT))
    schemas.seconds = 0  # no process could say anything any more

    await schemas.check(JsonFormat(dict(OBJECT)))


SIMPLE = {"type": "object", "required": ["a"]}


async def test_what_is_simple_is_judged_without_a_process() -> None:
    schemas = Schemas(seconds=0)
    await schemas.check(JsonFormat(SIMPLE))

    assert await schemas.fits(JsonFormat(SIMPLE), '{"a": 1}')
    assert not await schemas.fits(JsonFormat(SIMPLE), "{}")


# A schema, an answer -> whether it takes no time to speak of
JUDGED_AT_ONCE = {
    "a schema": (b'{"type": "object"}', b"", True),
    "a schema and a long answer": (b'{"type": "object"}', b"{}" * 1_000_000, True),
    "a long schema": (b'{"type": "object"}' * 10_000, b"", False),
    "both long": (b'{"type": "object"}' * 1_000, b"{}" * 10_000, False),
    "a reference": (b'{"$ref": "#"}', b"", False),
    "a pattern": (b'{"pattern": "a"}', b"", False),
    "patterns of names": (b'{"patternProperties": {}}', b"", False),
}


@pytest.mark.parametrize(("schema", "answer", "simple"), JUDGED_AT_ONCE.values(), ids=JUDGED_AT_ONCE)
def test_what_may_stand_for_much_is_not_simple(schema: bytes, answer: bytes, simple: bool) -> None:
    assert is_simple(schema, answer) is simple


JUDGED = {
    "fits": (OBJECT, b'{"a": 1}', FITS),
    "differs": (OBJECT, b"{}", DIFFERS),
    "a schema": (OBJECT, b"", FITS),
    "no schema": ({"type": 1}, b"", NO_SCHEMA),
    "a schema that stands elsewhere": ({"$ref": "https://schemas.example/a"}, b"{}", NO_SCHEMA),
}


@pytest.mark.parametrize(("schema", "answer", "said"), JUDGED.values(), ids=JUDGED)
def test_a_judge_says_what_is_right(schema: Any, answer: bytes, said: int) -> None:
    assert main(msgspec.json.encode(schema), answer) == said
