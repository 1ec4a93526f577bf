"""Agents and chats that an earlier version kept in a V1 server: each goes on where it was, and nothing is made anew."""

import json
import time
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.letta.notes import EXCHANGED
from gateway.letta.rest.upstream import RestUpstream
from gateway.settings import AgentType, Chats, Key, Letta, Secret, UserSource
from gateway.turns.chats import pruning
from gateway.turns.chats.conversations import Conversations
from gateway.turns.chats.pruning import SEARCHES, Pruner, find_left_behind
from tests.gateways import FRONTEND, MODEL_HANDLE, PROGRAMS, TUTOR, gateway
from tests.pictures.drawn import GIF, Picture
from tests.servers.fake_letta import Body, FakeLetta

EARLIER: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "states" / "earlier-rest.json").read_text(encoding="utf-8")
)
TYPES = (
    TUTOR,
    AgentType(id="one", model=MODEL_HANDLE, conversations="single"),
    AgentType(id="shared", agent=EARLIER["shared"]),
    AgentType(
        id="handy",
        model=MODEL_HANDLE,
        system="Help {user}; {this} stays.",
        tools=("web_search",),
        memory={"human": "Of {user_name}:", "plan": "None."},
    ),
)
KEYS = (
    PROGRAMS,
    FRONTEND,
    Key(name="house", key=Secret("sk-house"), user_from=(UserSource("header:X-Conv"),), user_means="conversation"),
    Key(name="default", key=Secret("sk-default"), user_from=(UserSource("body:user"),), default_user="me"),
    Key(name="bound", key=Secret("sk-bound"), user="kai", scope="school"),
)
NEXT = "And what comes next?"
WAITING = ("tool waits", "approval waits")
WITHOUT_CHAT_ID = {
    "picture, without an id",
    "no chat id",
    "no chat id, edited",
    "tool waits",
    "tool answered",
    "tool answered, branched",
    "system text, no chat id",
}
REPLACED = {"regenerated", "edited", "edited at once", "picture, branched"}
# What was said in turns that Letta did not keep, because they were stopped.
UNKEPT = {
    "stopped": ["Pia wants a tale.\n!hang-after Once upon", "Once upon"],
    "stopped, without history": ["Ben wants a tale.\n!hang-after Once upon", "Once upon"],
    "stopped with a picture": ["Nan shows this.\n!hang-after I see", "I see"],
    "one thread, stopped": ["Flo wants a tale.\n!hang-after Long ago", "Long ago"],
}


class RecordedLetta(FakeLetta):
    """A Letta that an earlier version has left as the recording tells."""

    def __init__(self) -> None:
        super().__init__()
        kept = deepcopy(EARLIER)
        self.agents = kept["agents"]
        self.conversations = kept["conversations"]
        self.messages.update(kept["messages"])
        self.begin()

    def begin(self) -> None:
        """Forget what was asked before."""
        self.requests.clear()
        self.before = len(self.conversations)

    def _state(self, method: str, path: str, query: dict[str, list[str]], body: Body) -> Any:
        match method, path.split("/")[2:]:
            case "GET", ["agents", id]:
                return next(agent for agent in self.agents if agent["id"] == id)
            case "DELETE", ["conversations", id]:
                self.conversations = [one for one in self.conversations if one["id"] != id]
                return {}
        return super()._state(method, path, query, body)

    @property
    def run(self) -> tuple[str, Body]:
        """The conversation of the one run that was begun, and what it was begun with."""
        ((path, body),) = [
            (path, body) for method, path, body in self.requests if method == "POST" and path.endswith("/messages")
        ]
        return path.split("/")[3], body

    @property
    def made(self) -> list[Body]:
        """The conversations that were made."""
        return self.conversations[self.before :]

    def summary(self, id: str) -> str:
        return str(self._conversation(id)["summary"])

    def assert_summary(self, id: str, title: str) -> None:
        """The conversation's summary is, or soon becomes, `title` and a marker: a turn ends after its answer."""
        for _ in range(500):
            if self.summary(id).partition(" gw1:")[0] == title:
                return
            time.sleep(0.01)
        raise AssertionError(f"{self.summary(id)!r} is not {title!r} with a marker")

    def assert_agents_stay(self) -> None:
        """None was made, and none was given its template again."""
        asked = [(method, path) for method, path, _ in self.requests if method != "GET" and "/agents" in path]
        assert asked == []


class Screen:
    """A chat as its client shows it, and may have sent before; it sends what comes next."""

    def __init__(self, url: str, name: str) -> None:
        self._url = url
        self._chat = EARLIER["chats"][name]
        self.messages: list[Body] = deepcopy(self._chat["messages"])

    def say(self, text: str = NEXT) -> str:
        return self.send({"role": "user", "content": text, "id": "question-next"})

    def edit(self, text: str) -> str:
        """Another question in the place of the last."""
        del self.messages[-2:]
        return self.say(text)

    def regenerate(self) -> str:
        """Another answer to the last question."""
        *self.messages, question, _ = self.messages
        return self.send(question)

    def send(self, *news: Body) -> str:
        """Send these after what is on screen; gives the answer."""
        shown = [*self.messages, *news]
        answers = [message.get("id", "") for message in self.messages if message["role"] == "assistant"]
        system = [{"role": "system", "content": self._chat["system"]}] if "system" in self._chat else []
        headers: dict[str, str] = {"Authorization": f"Bearer {self._chat['key']}", **self._chat["headers"]}
        if any("id" in message for message in self.messages):
            headers["X-Message-Id"], headers["X-User-Message-Id"] = "answer-next", news[-1]["id"]
            headers["X-Parent-Id"] = answers[-1] if answers else ""
        sent = [{name: value for name, value in message.items() if name != "id"} for message in shown]
        body = {"model": self._chat["model"], "messages": [*system, *sent], **self._chat["body"]}
        encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
        response = httpx.post(f"{self._url}/v1/chat/completions", json=body, headers=encoded, timeout=30)
        assert response.status_code == 200, response.text
        return str(response.json()["choices"][0]["message"]["content"])


@contextmanager
def gateway_to(letta: RecordedLetta) -> Iterator[str]:
    with gateway(letta.base_url, types=TYPES, keys=KEYS) as base_url:
        yield base_url


@pytest.fixture
def letta() -> Iterator[RecordedLetta]:
    with RecordedLetta() as recorded:
        yield recorded


@pytest.fixture
def url(letta: RecordedLetta) -> Iterator[str]:
    with gateway_to(letta) as base_url:
        yield base_url


@pytest.fixture(scope="module")
def letta_of_all() -> Iterator[RecordedLetta]:
    """For tests of one message in a chat of its own."""
    with RecordedLetta() as recorded:
        yield recorded


@pytest.fixture(scope="module")
def url_of_all(letta_of_all: RecordedLetta) -> Iterator[str]:
    with gateway_to(letta_of_all) as base_url:
        yield base_url


def ids(name: str) -> list[str]:
    """The conversations of a chat, the present one last."""
    return list(EARLIER["chats"][name]["conversations"])


def texts(body: Body) -> list[str]:
    """The texts of the messages that a run was begun with."""
    said = [message["content"] for message in body["messages"]]
    return [one if isinstance(one, str) else "\n".join(part["text"] for part in one if "text" in part) for one in said]


def pictures(body: Body) -> list[str]:
    """The data of the pictures that a run was begun with."""
    parts = [
        part for message in body["messages"] if isinstance(message["content"], list) for part in message["content"]
    ]
    return [part["source"]["data"] for part in parts if part["type"] == "image"]


def shown_in(name: str) -> str:
    """The data of the picture that was shown in a chat."""
    url: str = EARLIER["chats"][name]["messages"][0]["content"][1]["image_url"]["url"]
    return url.partition(";base64,")[2]


@pytest.mark.parametrize("name", [name for name in EARLIER["chats"] if name not in WAITING])
def test_the_next_message_goes_to_the_same_conversation_and_is_all_that_is_sent(
    url_of_all: str, letta_of_all: RecordedLetta, name: str
) -> None:
    letta = letta_of_all
    letta.begin()
    assert Screen(url_of_all, name).say().endswith("Hello")

    letta.assert_agents_stay()
    used, body = letta.run
    assert used == ids(name)[-1]
    assert texts(body) == [*UNKEPT.get(name, []), NEXT]
    assert len(pictures(body)) == (name == "stopped with a picture")
    assert letta.made == []


def test_what_was_noted_is_sent_and_the_note_is_gone(url: str, letta: RecordedLetta) -> None:
    (id,) = ids("stopped, without history")
    Screen(url, "stopped, without history").say()

    assert texts(letta.run[1]) == [*UNKEPT["stopped, without history"], NEXT]
    letta.assert_summary(id, "Letta Gateway")


def test_a_picture_is_known_again_of_which_letta_has_made_another(url: str, letta: RecordedLetta) -> None:
    (id,) = ids("picture, without an id")
    (shown,) = [part for message in letta.messages[id] for part in message.get("content", ()) if "source" in part]
    shown["source"]["data"] = Picture(GIF).base64
    Screen(url, "picture, without an id").say()

    used, body = letta.run
    assert (used, texts(body), letta.made) == (id, [NEXT], [])


def test_a_picture_that_was_noted_is_shown(url: str, letta: RecordedLetta) -> None:
    (id,) = ids("stopped with a picture")
    noted = letta.summary(id)
    Screen(url, "stopped with a picture").say()

    (picture,) = pictures(letta.run[1])
    assert f'"data":"{picture}"' in noted


def test_a_title_that_somebody_gave_stays(url: str, letta: RecordedLetta) -> None:
    (id,) = ids("titled by hand")
    screen = Screen(url, "titled by hand")
    screen.say()
    screen.messages += [{"role": "user", "content": NEXT}, {"role": "assistant", "content": "Hello"}]
    screen.edit("Rex has another wish.")

    letta.assert_summary(id, "My [old] homework (replaced)")


def test_a_result_goes_to_the_call_that_waits(url: str, letta: RecordedLetta) -> None:
    screen = Screen(url, "tool waits")
    (call,) = screen.messages[-1]["tool_calls"]
    screen.send({"role": "tool", "tool_call_id": call["id"], "content": "5 degrees"})

    used, body = letta.run
    assert [used] == ids("tool waits")
    (answers,) = [message["approvals"] for message in body["messages"]]
    assert [(one["tool_call_id"], "5 degrees" in str(one["tool_return"])) for one in answers] == [(call["id"], True)]
    assert letta.made == []


@pytest.mark.parametrize(("said", "allowed"), [("yes", True), ("no", False)])
def test_a_question_for_an_approval_is_answered(url: str, letta: RecordedLetta, said: str, allowed: bool) -> None:
    Screen(url, "approval waits").say(said)

    used, body = letta.run
    assert [used] == ids("approval waits")
    (answer,) = body["messages"][0]["approvals"]
    assert (answer["tool_call_id"], answer["approve"]) == ("call_memory_insert_4", allowed)
    letta.assert_agents_stay()


def test_an_edit_begins_another_conversation_with_what_was_said_before(url: str, letta: RecordedLetta) -> None:
    Screen(url, "chat id").edit("Udo has another wish.")

    used, body = letta.run
    assert [one["id"] for one in letta.made] == [used]
    first, answer = (message["content"] for message in EARLIER["chats"]["chat id"]["messages"][:2])
    assert texts(body) == [first, answer, "Udo has another wish."]
    letta.assert_summary(used, "Letta Gateway")
    letta.assert_summary(ids("chat id")[-1], "Letta Gateway (replaced)")


def test_another_answer_begins_another_conversation_which_is_temporary_as_well(url: str, letta: RecordedLetta) -> None:
    Screen(url, "temporary").regenerate()

    used, body = letta.run
    assert texts(body)[-1] == "Zoe asks for more."
    letta.assert_summary(used, "Letta Gateway (temporary)")
    letta.assert_summary(ids("temporary")[0], "Letta Gateway (replaced) (temporary)")


@pytest.mark.parametrize("name", ["picture", "picture, without an id", "picture, branched"])
def test_a_picture_is_shown_again_where_a_branch_needs_it(url: str, letta: RecordedLetta, name: str) -> None:
    Screen(url, name).edit("Look again.")

    used, body = letta.run
    assert [one["id"] for one in letta.made] == [used]
    assert pictures(body) == [shown_in(name)]
    assert texts(body)[-1] == "Look again."


@pytest.mark.parametrize("name", ["tool answered", "tool answered, branched"])
def test_what_tools_gave_is_told_where_a_branch_needs_it(url: str, letta: RecordedLetta, name: str) -> None:
    Screen(url, name).edit("Something new.")

    _, body = letta.run
    told, question = texts(body)[0], EARLIER["chats"][name]["messages"][0]["content"]
    assert told.startswith(EXCHANGED)
    assert told.endswith(question)
    assert told.count(EXCHANGED) == 1
    assert texts(body)[1:] == [EARLIER["chats"][name]["messages"][3]["content"], "Something new."]


def test_a_branch_that_was_left_is_found_by_its_words(url: str, letta: RecordedLetta) -> None:
    screen = Screen(url, "edited")
    screen.messages[-2:] = [
        {"role": "user", "content": "Max asks for more."},
        {"role": "assistant", "content": "You said: Max asks for more."},
    ]
    screen.say()

    used, body = letta.run
    assert (used, texts(body), letta.made) == (ids("edited")[0], [NEXT], [])
    letta.assert_summary(ids("edited")[0], "Letta Gateway")
    letta.assert_summary(ids("edited")[1], "Letta Gateway (replaced)")


def test_a_branch_that_was_left_is_found_by_its_ids(url: str, letta: RecordedLetta) -> None:
    screen = Screen(url, "regenerated")
    screen.messages[-1]["id"] = "answer-4"  # the words of both answers are the same
    screen.say()

    used, body = letta.run
    assert (used, texts(body), letta.made) == (ids("regenerated")[0], [NEXT], [])


@pytest.mark.anyio
async def test_what_is_no_longer_used_is_found_and_deleted(
    letta: RecordedLetta, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = [id for name in WITHOUT_CHAT_ID for id in ids(name)]
    expected = {
        "scratch": sorted(scratch),
        "replaced": sorted(ids(name)[0] for name in REPLACED),
        "temporary": ids("temporary"),
    }
    monkeypatch.setattr(pruning, "PAUSE_SECONDS", 0)
    kept = {one["id"] for one in letta.conversations} - {id for kind in expected.values() for id in kind}
    async with aclosing(RestUpstream(Letta(base_url=letta.base_url))) as upstream:
        found = {kind: sorted(one.id for one in await find_left_behind(upstream, kind)) for kind in SEARCHES}
        assert found == expected
        await Pruner(upstream, Chats(), Conversations(upstream)).prune(datetime.max.replace(tzinfo=UTC))

    assert {one["id"] for one in letta.conversations} == kept
