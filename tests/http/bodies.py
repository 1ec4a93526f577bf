"""Bodies of chat completions, made of OpenAI's reference: such as it allows, and such as it does not."""

import copy
from typing import Any

from hypothesis import strategies as st

from tests.openai_schema import REQUEST, Schema, named, properties
from tests.pictures.drawn import GIF, JPEG, WEBP, Picture

Json = Any
Body = dict[str, Json]
TEXTS = st.one_of(
    st.sampled_from(["", " ", "Hello", "</think>", "<details>", "ü😀", "\u2028", "null", "data: [DONE]\n\n", "{user}"]),
    st.text(max_size=12),
)
NUMBERS = st.one_of(st.integers(-3, 130), st.sampled_from([2**31, 2**53, 2**64, -(2**63), 10**40]))
PICTURES = [Picture(GIF, "image/gif"), Picture(JPEG, "image/jpeg"), Picture(WEBP, "image/webp")]
URLS = st.sampled_from([*(one.url for one in PICTURES), "https://example.org/a.png", "data:image/png;base64,?", "x:"])
ANYTHING: st.SearchStrategy[Json] = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, st.floats(allow_nan=False, allow_infinity=False), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=5,
)
# Half of a character is JSON, but no text.
BROKEN = st.one_of(ANYTHING, st.sampled_from(["\ud800", float("nan"), float("inf"), "a" * 600]))
MODELS = st.sampled_from(["tutor"] * 12 + ["task", "gpt-5", "", "tutor/", "\0"])
USERS = st.sampled_from(["ada", "ada", "bob", "", "ü" * 512, "a" * 513])
QUESTION = {"role": "user", "content": "Hello?"}
TOOLS = [{"type": "function", "function": {"name": name}} for name in ("weather", "clock")]
CHOICES: list[Json] = [
    *("none", "auto", "required", TOOLS[0]),
    *({"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": TOOLS[:1]}} for mode in ("auto", "required")),
]


def values(schema: Schema) -> st.SearchStrategy[Json]:
    """What a schema allows, by those words of JSON Schema that the reference uses."""
    match schema:
        case {"$ref": reference}:
            return st.deferred(lambda: values(named(reference)))
        case {"anyOf": options} | {"oneOf": options}:
            return st.one_of([values(option) for option in options])
        case {"enum": allowed}:
            return st.sampled_from(allowed)
        case {"type": "array", "items": items}:
            return st.lists(values(items), min_size=schema.get("minItems", 0), max_size=schema.get("maxItems", 3))
        case {"type": "object"}:
            return _objects(schema)
    return _scalars(schema)


def _objects(schema: Schema) -> st.SearchStrategy[Json]:
    needed, known = schema.get("required", ()), properties(schema)
    if not known:
        more = schema.get("additionalProperties")
        return st.dictionaries(TEXTS, values(more) if isinstance(more, dict) else ANYTHING, max_size=3)
    return st.fixed_dictionaries(
        {name: values(known[name]) for name in needed},
        optional={name: values(one) for name, one in known.items() if name not in needed},
    )


def _scalars(schema: Schema) -> st.SearchStrategy[Json]:
    low, high = schema.get("minimum"), schema.get("maximum")
    match schema["type"]:
        case "string" if schema.get("format") == "uri":
            return URLS
        case "string":
            return TEXTS.filter(lambda text: len(text) <= schema.get("maxLength", 100))
        case "integer":
            return NUMBERS.filter(lambda number: (low is None or low <= number) and (high is None or number <= high))
        case "number":
            return st.floats(low, high, allow_nan=False, allow_infinity=False)
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
    raise NotImplementedError(schema)


HISTORIES = st.one_of(
    values(REQUEST["messages"]),
    st.lists(
        st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "system"]), "content": TEXTS}), max_size=3
    ),
)


@st.composite
def allowed(draw: st.DrawFn) -> Body:
    """A body that the reference allows: a few parameters at a time, and mostly somebody who asks something."""
    names = draw(st.lists(st.sampled_from(sorted(REQUEST)), unique=True, max_size=4))
    body = {name: draw(values(REQUEST[name])) for name in names}
    body |= {"model": draw(MODELS), "messages": draw(HISTORIES)}
    if draw(st.sampled_from([True] + [False] * 4)):
        body |= {"tools": TOOLS, "tool_choice": draw(st.sampled_from(CHOICES))}
    if draw(st.sampled_from([True] * 7 + [False])):
        body["user"] = draw(USERS)
    if draw(st.sampled_from([True] * 3 + [False])) or not body["messages"]:
        body["messages"].append(QUESTION)
    if draw(st.booleans()):
        body["stream"] = True
    return body


@st.composite
def mutated(draw: st.DrawFn) -> Json:
    """An allowed body of which a piece, or two, is something else, is missing, or stands where none belongs."""
    body: Json = copy.deepcopy(draw(allowed()))
    for _ in range(draw(st.integers(1, 2))):
        holder, place = draw(st.sampled_from(_places(body))) if body else (body, None)
        match draw(st.sampled_from(["replace", "remove", "add"])):
            case "replace" if place is not None:
                holder[place] = draw(BROKEN)
            case "remove" if place is not None:
                del holder[place]
            case _ if isinstance(holder, dict):
                holder[draw(st.one_of(st.sampled_from(sorted(REQUEST)), TEXTS))] = draw(BROKEN)
            case _:
                holder.append(draw(BROKEN))
    return body


def _places(value: Json) -> list[tuple[Json, Any]]:
    """Where the pieces of a body stand: the object or the list, and the name or the number in it."""
    if not isinstance(value, dict | list):
        return []
    pieces = value.items() if isinstance(value, dict) else enumerate(value)
    return [place for name, piece in list(pieces) for place in ((value, name), *_places(piece))]
