"""The whole way: the openai SDK, the gateway, a real V1 server, and what the model behind it received."""

import asyncio
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from letta_client import Letta as LettaClient
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletion

from gateway.settings import AgentType
from tests.gateways import KEY, TUTOR, chat, gateway, sdk
from tests.servers.letta_v1 import LettaV1
from tests.servers.scripted_model import THOUGHT, ScriptedModel

REMEMBER = '!tool memory_insert {{"label": "human", "new_string": "Her name is {0}"}}'


@pytest.fixture(scope="module")
def url(letta_v1: LettaV1) -> Iterator[str]:
    """A gateway in front of the real Letta, for tests that do not restart it."""
    with gateway(letta_v1.base_url) as base_url:
        yield base_url


@pytest.fixture
def client(url: str) -> Iterator[OpenAI]:
    with sdk(url) as openai_client:
        yield openai_client


@pytest.fixture
def letta(letta_v1: LettaV1) -> Iterator[LettaClient]:
    """letta-client itself, to look behind the gateway."""
    with LettaClient(base_url=letta_v1.base_url, api_key="none") as letta_client:
        yield letta_client


def someone() -> str:
    """A user nobody has heard of."""
    return f"user-{uuid.uuid4().hex}"


def ask(client: OpenAI, text: str, user: str, chat_id: str | None = None, **more: Any) -> str:
    """One turn, not streamed; gives the visible text."""
    metadata = {"chat_id": chat_id} if chat_id else None
    body = chat(text, user=user, metadata=metadata, **more)
    completion: ChatCompletion = client.chat.completions.create(**body)
    return (completion.choices[0].message.content or "").rpartition("</think>")[2]


def test_the_sdk_streams_thoughts_and_answer_of_a_real_agent(client: OpenAI) -> None:
    stream = client.chat.completions.create(**chat(user=someone(), stream=True), stream_options={"include_usage": True})
    chunks = list(stream)

    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert f"<think>{THOUGHT}</think>You said: hello" == "".join(piece or "" for piece in pieces)
    assert "<think>" in pieces
    assert "</think>" in pieces
    usage = chunks[-1].usage
    assert usage is not None
    assert usage.prompt_tokens_details is not None
    assert usage.completion_tokens_details is not None
    assert (usage.prompt_tokens_details.cached_tokens, usage.completion_tokens_details.reasoning_tokens) == (5, 3)


@pytest.mark.anyio
async def test_the_async_sdk_does_so_too(url: str) -> None:
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as client:
        stream = await client.chat.completions.create(**chat(user=someone(), stream=True))
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    assert text.endswith("</think>You said: hello")


def test_the_whole_answer_says_the_same(client: OpenAI) -> None:
    completion = client.chat.completions.create(**chat(user=someone()))

    assert f"<think>{THOUGHT}</think>You said: hello" == completion.choices[0].message.content
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage is not None
    assert completion.usage.total_tokens > 0


def test_a_tool_of_lettas_is_a_line_in_the_thoughts_and_its_use_is_no_tool_call(client: OpenAI) -> None:
    choice = client.chat.completions.create(**chat(REMEMBER.format("Eve"), user=someone())).choices[0]

    assert choice.message.tool_calls is None
    assert choice.message.content is not None
    first, second, answer = choice.message.content.split("</think>")
    assert f"<think>{THOUGHT}\nUsing memory_insert…\n" == first
    assert f"<think>{THOUGHT}" == second
    assert answer.startswith("Tool said:")


def test_what_one_chat_tells_every_chat_of_that_person_knows_and_nobody_elses(
    client: OpenAI, letta_v1: LettaV1, model: ScriptedModel
) -> None:
    ada, bob = someone(), someone()
    assert ask(client, "What is my name?", ada, "before") == "I do not know your name."
    ask(client, REMEMBER.format("Ada"), ada, "telling")

    assert ask(client, "What is my name?", ada, "after") == "Your name is Ada."
    # A conversation that was compiled before the memory changed.
    assert ask(client, "And now: What is my name?", ada, "before") == "Your name is Ada."
    assert ask(client, "What is my name?", bob, "telling") == "I do not know your name."
    with gateway(letta_v1.base_url) as restarted, sdk(restarted) as again:
        assert ask(again, "What is my name?", ada, "after the restart") == "Your name is Ada."


def test_a_chat_is_sent_what_is_new_and_found_again_after_a_restart(letta_v1: LettaV1, model: ScriptedModel) -> None:
    user, mark = someone(), uuid.uuid4().hex
    history: list[dict[str, str]] = []
    for turn in ("first", "second", "third"):
        history.append({"role": "user", "content": f"{turn} {mark}"})
        with gateway(letta_v1.base_url) as url, sdk(url) as client:
            ask(client, "", user, "chat", messages=history)
        history.append({"role": "assistant", "content": f"You said: {turn} {mark}"})

    (received,) = model.received(f"third {mark}")
    spoken = [(role, text) for role, text in received if role != "system"]
    assert [(message["role"], message["content"]) for message in history[:-1]] == spoken


def test_without_a_chat_id_the_history_is_replayed_roles_and_all(client: OpenAI, model: ScriptedModel) -> None:
    mark = uuid.uuid4().hex
    messages = [
        {"role": "system", "content": "Speak French."},
        {"role": "user", "content": "Bonjour"},
        {"role": "assistant", "content": "<think>Hm.</think>Salut!"},
        {"role": "user", "content": mark},
    ]
    user = someone()
    for _ in range(2):
        ask(client, "", user, messages=messages)

    for received in model.received(mark):
        assert [("system", "Speak French."), ("user", "Bonjour"), ("assistant", "Salut!"), ("user", mark)] == received[
            1:
        ]
    assert len(model.received(mark)) == 2


FAILURES: dict[str, tuple[str, int, str]] = {
    "the provider fails": ("!fail 500", 502, "model_error"),
    "the provider limits": ("!fail 429", 429, "rate_limit_exceeded"),
    "the provider refuses": ("!fail 401", 502, "model_authentication"),
}


@pytest.mark.parametrize(("text", "status", "code"), FAILURES.values(), ids=FAILURES)
def test_a_failure_of_the_provider_is_a_real_status_and_leaves_nothing(
    client: OpenAI, model: ScriptedModel, text: str, status: int, code: str
) -> None:
    user, mark = someone(), uuid.uuid4().hex
    with pytest.raises(openai.APIStatusError) as caught:
        ask(client, f"{mark}\n{text}", user, "chat")
    assert (status, code) == (caught.value.status_code, caught.value.code)
    assert caught.value.response.headers["x-should-retry"] == "false"

    assert f"You said: again {mark}" == ask(client, f"again {mark}", user, "chat")
    (received,) = model.received(f"again {mark}")
    assert len([role for role, _ in received if role == "user"]) == 1


def test_a_failure_within_the_stream_is_an_error_of_the_stream(client: OpenAI) -> None:
    user = someone()
    ask(client, "hello", user, "chat")
    stream = client.chat.completions.create(
        **chat("!cut-after one two three", user=user, metadata={"chat_id": "chat"}, stream=True)
    )
    with pytest.raises(openai.APIError) as caught:
        list(stream)

    assert caught.value.code == "upstream_error"
    assert ask(client, "go on", user, "chat") == "You said: go on"


@pytest.mark.parametrize("script", ["!hang", "!hang-after one two"], ids=["before the first token", "mid-answer"])
def test_a_client_that_leaves_cancels_the_run_and_the_next_turn_works_at_once(
    client: OpenAI, model: ScriptedModel, script: str
) -> None:
    user, mark = someone(), uuid.uuid4().hex
    asked = chat(f"{mark}\n{script}", user=user, metadata={"chat_id": "chat"}, stream=True)
    with client.chat.completions.create(**asked) as stream:
        if "after" in script:
            assert any(chunk.choices[0].delta.content == "two" for chunk in stream)

    assert f"You said: next {mark}" == ask(client, f"next {mark}", user, "chat")
    (received,) = model.received(f"next {mark}")
    # A V1 server keeps nothing of a cancelled turn.
    assert [f"next {mark}"] == [text for role, text in received if role == "user"]


def test_letta_still_hanging_is_a_504_and_the_chat_goes_on(letta_v1: LettaV1) -> None:
    user = someone()
    with gateway(letta_v1.base_url, silence_seconds=1) as url, sdk(url) as client:
        with pytest.raises(openai.InternalServerError) as caught:
            ask(client, "!hang", user, "chat")
        assert (caught.value.status_code, caught.value.code) == (504, "upstream_timeout")
        assert ask(client, "go on", user, "chat") == "You said: go on"


def test_ten_first_messages_of_one_chat_make_one_conversation_and_take_turns(
    url: str, letta: LettaClient, model: ScriptedModel
) -> None:
    user, mark = someone(), uuid.uuid4().hex
    body = chat(mark, user=user, metadata={"chat_id": "chat"})
    asyncio.run(_all_at_once(url, [body] * 10))

    (agent,) = _agents_of(letta, user)
    assert len(letta.conversations.list(agent_id=agent.id)) == 1
    users = sorted(len([role for role, _ in received if role == "user"]) for received in model.received(mark))
    assert list(range(1, 11)) == users


async def _all_at_once(url: str, bodies: list[dict[str, Any]]) -> None:
    headers = {"authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=120) as client:
        responses = await asyncio.gather(*(client.post("/v1/chat/completions", json=body) for body in bodies))
    assert {200} == {response.status_code for response in responses}


def _agents_of(letta: LettaClient, user: str) -> list[Any]:
    from gateway.turns.names import agent_tags

    return list(letta.agents.list(tags=list(agent_tags("tutor", "programs", user)), match_all_tags=True))


def test_a_changed_template_is_applied_to_living_agents_and_chats_but_not_to_their_memory(
    letta_v1: LettaV1, letta: LettaClient, model: ScriptedModel
) -> None:
    user, mark = someone(), uuid.uuid4().hex
    before = AgentType(
        id="tutor", model=TUTOR.model, system="Old rules.", tools=("send_message",), memory={"human": "Old memory."}
    )
    after = AgentType(
        id="tutor", model=TUTOR.model, system="New rules.", tools=("fetch_webpage",), memory={"human": "New memory."}
    )
    with gateway(letta_v1.base_url, types=(before,)) as url, sdk(url) as client:
        ask(client, f"old {mark}", user, "chat")
    with gateway(letta_v1.base_url, types=(after,)) as url, sdk(url) as client:
        ask(client, f"new {mark}", user, "chat")

    (old,), (new,) = model.received(f"old {mark}"), model.received(f"new {mark}")
    assert (old[0][1][:10], "Old memory." in old[0][1]) == ("Old rules.", True)
    assert (new[0][1][:10], "Old memory." in new[0][1]) == ("New rules.", True)
    (agent,) = _agents_of(letta, user)
    names = {tool.name for tool in letta.agents.tools.list(agent.id)}
    assert {"fetch_webpage", "memory_insert"} <= names
    assert "send_message" not in names


def test_an_agent_that_exists_is_shared_and_each_user_has_chats_of_their_own(
    letta_v1: LettaV1, letta: LettaClient, model: ScriptedModel
) -> None:
    mark = uuid.uuid4().hex
    agent = letta.agents.create(name="ops", model=TUTOR.model, system="Shared.")
    with gateway(letta_v1.base_url, types=(AgentType(id="tutor", agent=agent.id),)) as url, sdk(url) as client:
        ask(client, f"ada {mark}", "ada", "chat")
        ask(client, f"bob {mark}", "bob", "chat")

    assert len(letta.conversations.list(agent_id=agent.id)) == 2
    (received,) = model.received(f"bob {mark}")
    assert [f"bob {mark}"] == [text for role, text in received if role == "user"]


def test_an_agent_or_a_conversation_deleted_behind_the_gateway_is_made_again(
    client: OpenAI, letta: LettaClient
) -> None:
    user = someone()
    ask(client, "hello", user, "chat")
    (agent,) = _agents_of(letta, user)
    letta.conversations.delete(letta.conversations.list(agent_id=agent.id)[0].id)
    assert ask(client, "again", user, "chat") == "You said: again"
    letta.agents.delete(agent.id)
    assert ask(client, "once more", user, "chat") == "You said: once more"

    assert [agent.id] != [found.id for found in _agents_of(letta, user)]


def test_two_chats_of_one_person_run_side_by_side(client: OpenAI, url: str) -> None:
    user = someone()
    ask(client, "hello", user, "one")
    asked = chat("!hang-after one two", user=user, metadata={"chat_id": "one"}, stream=True)
    with client.chat.completions.create(**asked) as stream:
        assert any(chunk.choices[0].delta.content == "two" for chunk in stream)
        assert ask(client, "meanwhile", user, "two") == "You said: meanwhile"


def test_an_unknown_tool_is_told_apart_from_a_broken_letta(letta_v1: LettaV1) -> None:
    broken = AgentType(id="tutor", model=TUTOR.model, tools=("no_such_tool",))
    with (
        gateway(letta_v1.base_url, types=(broken,)) as url,
        sdk(url) as client,
        pytest.raises(openai.InternalServerError) as caught,
    ):
        ask(client, "hello", someone())

    assert (caught.value.status_code, caught.value.code) == (502, "upstream_refused")


def test_a_ping_comes_while_a_real_letta_waits_for_its_model(letta_v1: LettaV1) -> None:
    headers = {"authorization": f"Bearer {KEY}"}
    body = chat("!hang", user=someone(), stream=True)
    with (
        gateway(letta_v1.base_url, ping_seconds=0.2) as url,
        httpx.stream("POST", f"{url}/v1/chat/completions", json=body, headers=headers, timeout=30) as response,
    ):
        lines = response.iter_lines()
        pings = [next(lines) for _ in range(6)]

    assert pings == [": ping", ""] * 3
