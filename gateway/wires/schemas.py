"""How much a JSON Schema says with few words: its references, each written out. Performs no I/O.

https://json-schema.org/draft/2020-12/json-schema-core#name-schema-references
"""

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from gateway.domain.errors import InvalidRequest

EXPANSIONS = 10_000
# So many steps are made to count them.
_STEPS = 500_000
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
# What is applied only where it is referred to.
_DEFINITIONS = ("$defs", "definitions")
# Schemas by names of the schema's author.
_NAMED = ("properties", "patternProperties", "dependentSchemas", "dependencies", *_DEFINITIONS)
# What is about the parts of a value, and not about itself.
_OF_PARTS = frozenset(
    {
        *("properties", "patternProperties", "additionalProperties", "propertyNames", "unevaluatedProperties"),
        *("items", "prefixItems", "additionalItems", "contains", "unevaluatedItems"),
    }
)
_DATA = ("const", "enum", "default", "examples")
_ANCHORS = ("$anchor", "$dynamicAnchor")
_IDS = ("$id", "id")

Schema = dict[str, Any]


class _TooMany(Exception):
    """There are more than EXPANSIONS, or they are too many to count."""


def check_expansions(schema: Schema, param: str) -> None:
    """Raises InvalidRequest."""
    try:
        _Count(schema).count()
    except _TooMany:
        raise InvalidRequest(
            f"`{param}`: written out, the references of the schema are more than {EXPANSIONS:,}.", param
        ) from None


class _Part:
    """A schema whose references are being counted."""

    def __init__(self, schema: Schema, references: Iterator[str]) -> None:
        self.schema = schema
        self.references = references
        self.count = 0


class _Count:
    """Counts the references that a value must be looked at for, and those of what they lead to.

    Where one leads back, it ends. The parts of a value are looked at by themselves.
    """

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._steps = 0
        self._of_parts: list[Any] = [schema]
        """The parts that are left to be counted by themselves."""
        self._named: dict[str, Schema] = {}
        self._counts: dict[int, int] = {}
        """By the identity of each part; those that are being counted have none yet."""

    def count(self) -> None:
        """Raises _TooMany."""
        for schema in self._schemas(self._schema, all=True):
            self._named |= {f"#{schema[key]}": schema for key in _ANCHORS if isinstance(schema.get(key), str)}
            self._named |= {schema[key]: schema for key in _IDS if isinstance(schema.get(key), str)}
        while self._of_parts:
            schemas = self._of_parts.pop()
            for one in schemas if isinstance(schemas, list) else [schemas]:
                if isinstance(one, dict) and id(one) not in self._counts:
                    self._count(one)

    def _count(self, schema: Schema) -> None:
        under_way = [self._begin(schema)]
        while under_way:
            part = under_way[-1]
            if inner := self._next(part):
                under_way.append(inner)
                continue
            under_way.pop()
            self._counts[id(part.schema)] = part.count
            if under_way:
                self._add(under_way[-1], part.count)

    def _begin(self, schema: Schema) -> _Part:
        self._counts[id(schema)] = 0
        return _Part(schema, self._references(schema))

    def _next(self, part: _Part) -> _Part | None:
        """The next part that a reference leads to and that has not been counted; None if none is left."""
        for reference in part.references:
            self._add(part, 1)
            target = self._target(reference)
            if target is None:
                continue
            if id(target) not in self._counts:
                return self._begin(target)
            self._add(part, self._counts[id(target)])
        return None

    def _add(self, part: _Part, count: int) -> None:
        part.count += count
        if part.count > EXPANSIONS:
            raise _TooMany

    def _references(self, schema: Schema) -> Iterator[str]:
        for inner in self._schemas(schema, all=False):
            yield from (inner[key] for key in _REFERENCES if isinstance(inner.get(key), str))

    def _schemas(self, schema: Any, all: bool) -> Iterator[Schema]:
        """The schema and those in it, for the same value; `all`: also for its parts, and those to be referred to."""
        left = [schema]
        while left:
            self._steps += 1
            if self._steps > _STEPS:
                raise _TooMany
            one = left.pop()
            if isinstance(one, list):
                left += one
            elif isinstance(one, dict):
                yield one
                for key, value in one.items():
                    if key in _DATA or (key in _DEFINITIONS and not all):
                        continue
                    inner = value.values() if key in _NAMED and isinstance(value, dict) else [value]
                    (left if all or key not in _OF_PARTS else self._of_parts).extend(inner)

    def _target(self, reference: str) -> Schema | None:
        """The part that a reference leads to, as far as that is in the schema."""
        found: Any = self._named.get(reference)
        if found is None:
            name, _, pointer = reference.partition("#")
            found = self._named.get(name, None if name else self._schema)
            for step in unquote(pointer).split("/")[1:]:
                found = _at(found, step.replace("~1", "/").replace("~0", "~"))
        return found if isinstance(found, dict) else None


def _at(value: Any, step: str) -> Any:
    if isinstance(value, dict):
        return value.get(step)
    if isinstance(value, list) and step.isdecimal() and len(step) < 10 and int(step) < len(value):
        return value[int(step)]
    return None
