"""What a stream with status lines and tool cards must be: asserts each rule, and tells it in short."""

import json
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
    timeline: list[str]
    """Everything in order, in short: a text, `(a status line…)`, `(one that is done.)`, `[a card]`, `= the end`."""


def part(stream: bytes) -> Parted:
    """The parts of a stream that obeys the rules of cards."""
    payloads = [block.removeprefix(b"data: ") for block in stream.split(b"\n\n") if block.startswith(b"data: {")]
    told = [json.loads(payload) for payload in payloads]
    items = [(i, one) for i, one in enumerate(told) if one.get("type") in (ADDED, DONE)]
    cards = [_card(items[start : start + 4]) for start in range(0, len(items), 4)]
    ids = [one["item"]["call_id"] for _, one in items[::4]]
    assert len(set(ids)) == len(ids), "a card's id is its own"
    lines = [(one["event"]["data"]["description"], one["event"]["data"]["done"]) for one in told if "event" in one]
    _check_lines(lines, len(cards))
    rest = [block for block in stream.split(b"\n\n") if not block.startswith((b'data: {"event"', b'data: {"item"'))]
    return Parted(b"\n\n".join(rest), lines, cards, _timeline(told, cards))


def _card(four: list[tuple[int, dict[str, Any]]]) -> Card:
    """Four frames that follow one another."""
    assert len(four) == 4, "no call without what came of it"
    assert [i - four[0][0] for i, _ in four] == [0, 1, 2, 3], "a card comes whole"
    told = [one for _, one in four]
    assert all(one.keys() == {"item", "type"} for one in told)
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
    thinking = False
    for one in told:
        if "event" in one:
            timeline.append(f"({one['event']['data']['description']})")
        elif "item" in one:
            assert not thinking, "a card is no thought"
            if one["type"] == ADDED and one["item"]["type"] == "function_call":
                timeline.append(_short(next(left)))
        else:
            said = _said(one)
            thinking = (thinking or said == "<think>") and said != "</think>"
            timeline += [said] if said else []
    return timeline


def _short(card: Card) -> str:
    return f"[{card.name} {card.arguments} {'failed' if card.failed else 'gave'} {card.output}]"


def _said(told: dict[str, Any]) -> str:
    if "error" in told:
        return f"! {told['error']['code']}"
    if not told["choices"]:
        return ""
    choice = told["choices"][0]
    end = choice["finish_reason"]
    return f"= {end}" if end else choice["delta"].get("content") or choice["delta"].get("reasoning_content") or ""
