"""What of a request reaches Letta: the ids of its messages, as digests, its pictures, and the client's system text."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest

from gateway.settings import Key
from gateway.turns.chats.markers import ClientId, id_digest, parse_client_id
from tests.gateways import FRONTEND, chat, gateway, http
from tests.pictures.drawn import picture
from tests.servers.fake_letta import ANSWER, PING, PROMPT, FakeLetta

URL = "/v1/chat/completions"
CHAT_ID = "chat-of-ada"
WHO = {"X-OpenWebUI-User-Id": "ada", "X-OpenWebUI-Chat-Id": CHAT_ID}
IDS = {"X-Message-Id": "answer-1", "X-User-Message-Id": "question-1", "X-Parent-Id": ""}
RENAMED = msgspec.structs.replace(
    FRONTEND, message_id_header="X-Answer", user_message_id_header="X-Question", parent_id_header="X-Before"
)
SYSTEM = {"role": "system", "content": "Speak like a pirate."}


def told(*messages: tuple[str, str], **more: Any) -> dict[str, Any]:
    """A request that tells these roles and texts."""
    return chat(messages=[{"role": role, "content": text} for role, text in messages], **more)


def client_ids(letta: FakeLetta) -> list[ClientId]:
    """What the client id of the last message of every run tells."""
    return [parse_client_id(run["messages"][-1]["otid"]) for run in letta.runs]


def digest(id: str) -> str:
    return id_digest(CHAT_ID, id)


# key, headers -> answer and parent of the client id; "" where there is none
NAMED: dict[str, tuple[Key, dict[str, str], tuple[str, str]]] = {
    "the first message": (FRONTEND, IDS, ("answer-1", "")),
    "a later one": (FRONTEND, {**IDS, "X-Parent-Id": "answer-0"}, ("answer-1", "answer-0")),
    "headers of other names": (
        RENAMED,
        {"X-Answer": "answer-1", "X-Question": "question-1", "X-Before": "answer-0"},
        ("answer-1", "answer-0"),
    ),
    "headers that are not this key's": (RENAMED, {**IDS, "X-Parent-Id": "answer-0"}, ("", "")),
    "placeholders that were left in": (
        FRONTEND,
        {"X-Message-Id": "{{MESSAGE_ID}}", "X-Parent-Id": "{{USER_MESSAGE_PARENT_ID}}"},
        ("", ""),
    ),
    "no ids": (FRONTEND, {}, ("", "")),
}


@pytest.mark.parametrize(("key", "headers", "named"), NAMED.values(), ids=NAMED)
def test_a_message_is_known_in_letta_by_the_frontend_s_ids(
    letta: FakeLetta, key: Key, headers: dict[str, str], named: tuple[str, str]
) -> None:
    with gateway(letta.base_url, keys=(key,)) as url, http(url, "sk-front") as client:
        assert client.post(URL, json=chat(), headers=WHO | headers).status_code == 200

    ((client_id,), answer, parent) = client_ids(letta), *(digest(id) if id else "" for id in named)
    assert (client_id.answer, client_id.parent) == (answer, parent)
    assert bool(client_id.path) == (named == ("", ""))
    assert not any(id in str(letta.requests) for id in ("answer-0", "answer-1", "question-1", CHAT_ID))


def test_pictures_of_megabytes_reach_letta_whole(letta: FakeLetta) -> None:
    shown = [picture(1000, 1000, noise=True) for _ in range(2)]
    messages = [{"role": "user", "content": [one.part for one in shown]}]
    with gateway(letta.base_url) as url, http(url, "sk-front") as client:
        assert client.post(URL, json=chat(messages=messages), headers=WHO | IDS).status_code == 200

    (run,) = letta.runs
    assert [part["source"]["data"] for part in run["messages"][0]["content"]] == [one.base64 for one in shown]


def test_every_send_of_a_message_has_a_client_id_of_its_own(letta: FakeLetta) -> None:
    with gateway(letta.base_url) as url, http(url, "sk-front") as client:
        for _ in range(3):
            assert client.post(URL, json=chat(), headers=WHO | IDS).status_code == 200
    otids = [message["otid"] for run in letta.runs for message in run["messages"]]

    assert len(set(otids)) == len(otids) == 3


def test_the_ids_decide_where_a_request_comes(letta: FakeLetta) -> None:
    later = {"X-Message-Id": "answer-2", "X-User-Message-Id": "question-2", "X-Parent-Id": "answer-1"}
    path = [("user", "hello"), ("assistant", "Hello"), ("user", "more")]
    with gateway(letta.base_url) as url, http(url, "sk-front") as client:
        for messages, headers in (([("user", "hello")], IDS), (path, later), (path, later)):
            assert client.post(URL, json=told(*messages), headers=WHO | headers).status_code == 200

    # The next turn is appended; the same again is told to a conversation that has not heard it.
    assert letta.said == [["hello"], ["more"], ["hello", "Hello", "more"]]
    assert [conversation["summary"].count("(replaced)") for conversation in letta.conversations] == [1, 0]


def test_the_same_ids_and_messages_are_the_same_turn_while_it_is_under_way(letta: FakeLetta) -> None:
    done = threading.Event()
    letta.steps = [PING, done, *ANSWER[1:]]
    with gateway(letta.base_url) as url, http(url, "sk-front") as client, ThreadPoolExecutor() as pool:
        asking = [pool.submit(client.post, URL, json=chat(), headers=WHO | IDS) for _ in range(3)]
        assert letta.run_begun.wait(10)
        for _ in range(5):
            assert client.get("/healthz").status_code == 200
        done.set()
        assert len({each.result(30).json()["choices"][0]["message"]["content"] for each in asking}) == 1

    assert letta.said == [["hello"]]


def test_the_same_ids_with_an_answer_to_go_on_with_are_another_step(letta: FakeLetta) -> None:
    with gateway(letta.base_url) as url, http(url, "sk-front") as client:
        for messages in ([("user", "hello")], [("user", "hello"), ("assistant", "Hello")]):
            assert client.post(URL, json=told(*messages), headers=WHO | IDS).status_code == 200
    (first,), (go_on,) = letta.said

    assert first == "hello"
    assert go_on.startswith("Continue your last answer")


# The client's system text


def test_a_system_text_is_added_to_the_agent_s_own_prompt_and_to_nothing_else(letta: FakeLetta) -> None:
    body = chat(messages=[SYSTEM, {"role": "user", "content": "hello"}])
    with gateway(letta.base_url) as url, http(url, "sk-front") as client:
        assert client.post(URL, json=body, headers=WHO).status_code == 200
    (run,) = letta.runs

    assert run["override_system"].startswith(PROMPT)
    assert run["override_system"].count(SYSTEM["content"]) == 1
    assert letta.said == [["hello"]]
    others = [body for _, path, body in letta.requests if not path.endswith("/messages")]
    assert SYSTEM["content"] not in str(others)


def test_a_system_text_applies_from_its_change_on_and_branches_nothing(letta: FakeLetta) -> None:
    path = [("user", "one"), ("assistant", "Hello"), ("user", "two"), ("assistant", "Hello"), ("user", "three")]
    poet = {"role": "system", "content": "Be a poet."}
    with gateway(letta.base_url) as url, http(url, "sk-front") as client:
        for system, end in ((SYSTEM, 1), (poet, 3), (None, 5)):
            messages = [{"role": role, "content": text} for role, text in path[:end]]
            body = chat(messages=[*([system] if system else []), *messages])
            assert client.post(URL, json=body, headers=WHO).status_code == 200
    prompts = [run.get("override_system") for run in letta.runs]

    assert letta.said == [["one"], ["two"], ["three"]]
    assert len(letta.conversations) == 1
    assert [prompt and prompt.removeprefix(PROMPT).split("\n")[3] for prompt in prompts] == [
        "Speak like a pirate.",
        "Be a poet.",
        None,
    ]


def test_another_chat_hears_nothing_of_a_system_text(letta: FakeLetta) -> None:
    body = chat(messages=[SYSTEM, {"role": "user", "content": "hello"}])
    with gateway(letta.base_url) as url, http(url, "sk-front") as client:
        assert client.post(URL, json=body, headers=WHO).status_code == 200
        assert client.post(URL, json=chat("other"), headers={**WHO, "X-OpenWebUI-Chat-Id": "d"}).status_code == 200

    assert SYSTEM["content"] not in str(letta.runs[1])
    assert len(letta.conversations) == 2
