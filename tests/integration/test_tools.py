"""Status lines and tool cards out of each kind of a real Letta: what Open WebUI is told, frame by frame."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest

from gateway.settings import AgentType
from tests.frontends.open_webui.cards import ADDED, Parted, part
from tests.gateways import FRONTEND, TUTOR, chat, gateway, http
from tests.integration.words import someone, unheard
from tests.servers.real_letta import RealLetta
from tests.servers.scripted_model import ScriptedModel
from tests.wires.oracle import check_stream

URL = "/v1/chat/completions"
RICH = msgspec.structs.replace(FRONTEND, tool_activity="rich")
WORKER = AgentType(id="worker", system="You work.", tools=("Bash",))
TYPES = {"v1": (TUTOR,), "app-server": (TUTOR, WORKER)}
# A tool that does not return: on a V1 server the model calls it and says no more, on an App Server it waits for ever
# for a file that is not there, which needs no approval.
CALL = '!tool memory_insert {"label": "human", "new_string": "x"}'
ENDLESS = {
    "v1": ("tutor", f"{CALL}\n!hang-after x", "memory_insert"),
    "app-server": ("worker", '!tool Bash {"command": "tail -F nothing", "description": "waits"}', "Bash"),
}


@pytest.fixture(scope="module")
def url(letta: RealLetta) -> Iterator[str]:
    with gateway(letta, keys=(RICH,), types=TYPES[letta.name]) as base_url:
        yield base_url


@pytest.fixture
def client(url: str) -> Iterator[httpx.Client]:
    with http(url, "sk-front") as plain:
        yield plain


def headers(user: str, chat_id: str = "here") -> dict[str, str]:
    return {"X-OpenWebUI-User-Id": user, "X-OpenWebUI-Chat-Id": chat_id}


def told(client: httpx.Client, user: str, script: str, **more: Any) -> Parted:
    """What Open WebUI is told in a turn."""
    response = client.post(URL, json=chat(script, stream=True, **more), headers=headers(user))
    parted = part(response.content)
    check_stream(parted.frames, model=more.get("model", "tutor"))
    return parted


def marks(parted: Parted) -> list[str]:
    """The order of things: thoughts, lines, cards, the answer, the end."""
    places: list[str] = []
    saying = "answer"
    for one in parted.timeline:
        if one in ("<think>", "</think>"):
            saying = "thought" if one == "<think>" else "answer"
        else:
            place = one[0] if one[0] in "([=!" else saying
            places += [place] if place in ("(", "[") or [place] != places[-1:] else []
    return places


def insert(label: str, text: str) -> tuple[str, str]:
    """A line of a script that has the model write to its memory, and the arguments that it calls the tool with."""
    arguments = json.dumps({"label": label, "new_string": text})
    return f"!tool memory_insert {arguments}", arguments


def test_a_tool_has_a_status_line_and_a_card_between_the_thoughts_of_two_steps(client: httpx.Client) -> None:
    script, arguments = insert("human", unheard())
    parted = told(client, someone(), script)

    assert parted.lines == [("Using memory_insert…", False), ("Used memory_insert.", True)]
    ((name, given, output, failed),) = [msgspec.structs.astuple(card) for card in parted.cards]
    assert (name, json.loads(given), failed) == ("memory_insert", json.loads(arguments), False)
    assert output
    assert marks(parted) == ["thought", "(", "(", "[", "thought", "answer", "="]


def test_a_tool_that_fails_has_a_card_that_says_so(client: httpx.Client) -> None:
    script, _ = insert("nowhere", "x")
    parted = told(client, someone(), script)

    assert parted.lines == [("Using memory_insert…", False), ("memory_insert failed.", True)]
    (card,) = parted.cards
    assert card.failed
    assert "nowhere" in card.output or "no such memory block" in card.output
    assert marks(parted)[-2:] == ["answer", "="]


def test_two_calls_at_once_are_two_cards_one_after_the_other(client: httpx.Client, letta: RealLetta) -> None:
    one, two = insert("human", unheard("one")), insert("human", unheard("two"))
    parted = told(client, someone(), f"{one[0]}\n{two[0]}")

    assert [json.loads(card.arguments) for card in parted.cards] == [json.loads(one[1]), json.loads(two[1])]
    assert [card.failed for card in parted.cards] == [False, False]
    assert marks(parted) == ["thought", "(", "(", "(", "[", "(", "(", "[", "thought", "answer", "="]


def test_the_ids_of_cards_are_their_own_over_the_whole_chat(client: httpx.Client) -> None:
    user, ids = someone(), []
    for _ in range(2):
        script, _ = insert("human", unheard())
        stream = client.post(URL, json=chat(script, stream=True), headers=headers(user)).text
        frames = [json.loads(line[6:]) for line in stream.splitlines() if line.startswith('data: {"output_index"')]
        items = [frame["item"] for frame in frames if frame["type"] == ADDED]
        ids += [item["call_id"] for item in items if item["type"] == "function_call"]

    assert len(set(ids)) == 2


def test_a_tool_that_the_agent_may_not_use_has_a_card_that_says_so(client: httpx.Client) -> None:
    parted = told(client, someone(), '!tool Bash {"command": "id", "description": "id"}')

    (card,) = parted.cards
    assert (card.name, card.failed) == ("Bash", True)
    assert card.output
    assert parted.lines[-1][1]
    assert marks(parted)[-2:] == ["answer", "="]


def test_a_run_that_fails_within_its_calls_leaves_none_open(client: httpx.Client) -> None:
    parted = told(client, someone(), f"{CALL}\n!cut-after x")

    assert parted.timeline[-1].startswith("! ")
    assert {(card.failed, card.output) for card in parted.cards} <= {(True, "Nothing came back.")}


def test_a_tool_that_never_returns_has_a_card_before_the_error(letta: RealLetta) -> None:
    model, script, tool = ENDLESS[letta.name]
    with (
        gateway(letta, keys=(RICH,), types=TYPES[letta.name], silence_seconds=3) as url,
        http(url, "sk-front") as client,
    ):
        parted = told(client, someone(), script, model=model)

    assert parted.lines == [(f"Using {tool}…", False), (f"{tool} failed.", True)]
    assert [(card.name, card.failed, card.output) for card in parted.cards] == [(tool, True, "Nothing came back.")]
    assert marks(parted) == ["thought", "(", "(", "[", "!"]
    assert parted.timeline[-1] == "! upstream_timeout"


def test_after_stop_within_a_tool_the_chat_goes_on(letta: RealLetta, client: httpx.Client) -> None:
    (model, script, tool), user, after = ENDLESS[letta.name], someone(), unheard("after")
    asked = chat(script, model=model, stream=True)
    with client.stream("POST", URL, json=asked, headers=headers(user)) as response:
        for line in response.iter_lines():
            if f"Using {tool}" in line:
                break
    said = [{"role": "user", "content": script}, {"role": "user", "content": after}]
    parted = told(client, user, "", model=model, messages=said)

    assert parted.cards == []
    assert parted.texts[-1].endswith(after)


def test_what_open_webui_makes_of_a_card_goes_on_in_the_same_conversation(
    client: httpx.Client, model: ScriptedModel
) -> None:
    user, after, (script, arguments) = someone(), unheard("after"), insert("human", unheard())
    parted = told(client, user, script)
    answer = "".join(parted.texts)
    call = {"id": "call_1", "type": "function", "function": {"name": "memory_insert", "arguments": arguments}}
    history = [
        {"role": "user", "content": script},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": parted.cards[0].output},
        {"role": "assistant", "content": answer},
        {"role": "user", "content": after},
    ]
    told(client, user, "", messages=history)

    ((first, *_, last),) = model.said(after)
    assert (first, last) == (("user", script), ("user", after))
    assert [role for role, _ in model.said(after)[0]] == ["user", "assistant", "tool", "assistant", "user"]
