"""What a stream to Open WebUI must be, of status lines and items: asserts each rule, and tells it in short."""

import json
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

ADDED, DONE = "response.output_item.added", "response.output_item.done"
# Frames of one card, in order: what is told of which item, and its status.
CARD = [
    (ADDED, "function_call", {"in_progress"}),
    (DONE, "function_call", {"completed"}),
    (ADDED, "function_call_output", {"in_progress"}),
    (DONE, "function_call_output", {"completed", "failed"}),
]
# The items that hold text, and how it comes.
TEXTS = {"message": "response.output_text.delta", "reasoning": "response.reasoning_text.delta"}


class Card(Struct, frozen=True):
    """A call and what came of it."""

    name: str
    arguments: str
    output: str
    failed: bool


class Parted(Struct, frozen=True):
    """A stream, and what was in it beside chunks."""

    frames: bytes
    """All that any client takes."""
    lines: list[tuple[str, bool]]
    cards: list[Card]
    texts: list[str]
    """What the agent said, an item each."""
    thoughts: list[str]
    timeline: list[str]
    """Everything in order, in short: a text, `(a status line…)`, `(one that is done.)`, `[a card]`, `= the end`."""


def part(stream: bytes) -> Parted:
    """The parts of a stream that obeys the rules of items."""
    payloads = [block.removeprefix(b"data: ") for block in stream.split(b"\n\n") if block.startswith(b"data: {")]
    told = [json.loads(payload) for payload in payloads]
    items = _items([(i, one) for i, one in enumerate(told) if "output_index" in one])
    made = [[one for _, one in item] for item in items]
    kinds = [frames[0]["item"]["type"] for frames in made]
    calls = [i for i, kind in enumerate(kinds) if kind == "function_call"]
    assert [i for i, kind in enumerate(kinds) if kind == "function_call_output"] == [i + 1 for i in calls]
    cards = [_card([*items[i], *items[i + 1]]) for i in calls]
    lines = [(one["event"]["data"]["description"], one["event"]["data"]["done"]) for one in told if "event" in one]
    _check_lines(lines, len(cards))
    own = (b'data: {"event"', b'data: {"output_index"')
    rest = [block for block in stream.split(b"\n\n") if not block.startswith(own)]
    texts = {kind: [_text(frames) for frames, its in zip(made, kinds, strict=True) if its == kind] for kind in TEXTS}
    return Parted(b"\n\n".join(rest), lines, cards, texts["message"], texts["reasoning"], _timeline(told, cards))


def _items(frames: list[tuple[int, dict[str, Any]]]) -> list[list[tuple[int, dict[str, Any]]]]:
    """The frames of each item: one is whole before the next begins, and each has its place among all for an index."""
    items: list[list[tuple[int, dict[str, Any]]]] = []
    for i, one in frames:
        if one["type"] == ADDED:
            assert not items or items[-1][-1][1]["type"] == DONE, "one after the other"
            items.append([])
        assert one["output_index"] == len(items) - 1
        items[-1].append((i, one))
    assert not items or items[-1][-1][1]["type"] == DONE, "nothing is left open"
    ids = [item[0][1]["item"]["id"] for item in items]
    assert len(set(ids)) == len(ids), "an item's id is its own"
    return items


def _text(frames: list[dict[str, Any]]) -> str:
    """The text of an item: nothing at first, then more and more, and all of it at the end."""
    added, *deltas, done = frames
    assert {delta["type"] for delta in deltas} <= {TEXTS[added["item"]["type"]]}
    assert {delta["item_id"] for delta in deltas} <= {added["item"]["id"]}
    assert added["item"]["id"] == done["item"]["id"]
    assert [one["item"]["status"] for one in (added, done)] == ["in_progress", "completed"]
    begun, text = (one["item"]["content"][0]["text"] for one in (added, done))
    assert (begun, text) == ("", "".join(delta["delta"] for delta in deltas))
    return str(text)


def _card(four: list[tuple[int, dict[str, Any]]]) -> Card:
    """Four frames that follow one another."""
    assert len(four) == 4, "no call without what came of it"
    assert [i - four[0][0] for i, _ in four] == [0, 1, 2, 3], "a card comes whole"
    told = [one for _, one in four]
    assert all(one.keys() == {"output_index", "item", "type"} for one in told)
    for one, (kind, item, statuses) in zip(told, CARD, strict=True):
        assert (one["type"], one["item"]["type"]) == (kind, item)
        assert one["item"]["status"] in statuses
    assert len({one["item"]["call_id"] for one in told}) == 1
    assert told[0]["item"]["id"] == told[1]["item"]["id"] != told[2]["item"]["id"] == told[3]["item"]["id"]
    call, output = told[1]["item"], told[3]["item"]
    (text,) = output["output"]
    return Card(call["name"], call["arguments"], text["text"], output["status"] == "failed")


def _check_lines(lines: list[tuple[str, bool]], cards: int) -> None:
    """One is done for each card, and so is the last."""
    assert sum(done for _, done in lines) == cards
    assert not lines or lines[-1][1]


def _timeline(told: list[dict[str, Any]], cards: list[Card]) -> list[str]:
    timeline: list[str] = []
    left = iter(cards)
    for one in told:
        if "event" in one:
            timeline.append(f"({one['event']['data']['description']})")
        elif "delta" in one:
            timeline.append(one["delta"])
        elif "item" in one:
            timeline += _told(one["type"], one["item"]["type"], left)
        else:
            said = _said(one)
            timeline += [said] if said else []
    return timeline


def _told(frame: str, item: str, left: Iterator[Card]) -> list[str]:
    if item == "reasoning":
        return ["<think>" if frame == ADDED else "</think>"]
    return [_short(next(left))] if frame == ADDED and item == "function_call" else []


def _short(card: Card) -> str:
    return f"[{card.name} {card.arguments} {'failed' if card.failed else 'gave'} {card.output}]"


def _said(told: dict[str, Any]) -> str:
    if "error" in told:
        return f"! {told['error']['code']}"
    if not told["choices"]:
        return ""
    choice = told["choices"][0]
    end = choice["finish_reason"]
    return f"= {end}" if end else choice["delta"].get("content") or ""
