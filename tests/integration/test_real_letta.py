"""The whole way: the openai SDK, the gateway, each kind of a real Letta, and what the model behind it received."""

import asyncio
import logging
import uuid
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletion

from gateway.settings import AgentType
from gateway.turns.chats.markers import agent_tags
from tests.gateways import KEY, chat, gateway, sdk
from tests.integration.words import someone
from tests.servers.letta_v1 import LettaV1
from tests.servers.real_letta import RealLetta
from tests.servers.scripted_model import INTRODUCTION, THOUGHT, ScriptedModel

# What the model answers to the first message of a conversation, and only there.
FIRST = f"{INTRODUCTION}You said: "
REMEMBER = '!tool memory_insert {{"label": "human", "new_string": "Her name is {0}"}}'


def ask(client: OpenAI, text: str, user: str, chat_id: str | None = None, **more: Any) -> str:
    """One turn, not streamed; gives the visible text."""
    metadata = {"chat_id": chat_id} if chat_id else None
    body = chat(text, user=user, metadata=metadata, **more)
    completion: ChatCompletion = client.chat.completions.create(**body)
    return (completion.choices[0].message.content or "").rpartition("</think>")[2]


def test_the_sdk_streams_thoughts_and_answer_of_a_real_agent(client: OpenAI, model: ScriptedModel) -> None:
    mark = f"hello {uuid.uuid4().hex}"
    body = chat(mark, user=someone(), stream=True)
    stream = client.chat.completions.create(**body, stream_options={"include_usage": True})
    chunks = list(stream)

    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert f"<think>{THOUGHT}</think>{FIRST}{mark}" == "".join(piece or "" for piece in pieces)
    assert "<think>" in pieces
    assert "</think>" in pieces
    usage = chunks[-1].usage
    assert usage is not None
    assert usage.prompt_tokens_details is not None
    assert usage.completion_tokens_details is not None
    # The model counts words, and has all but the last message in its cache.
    (received,) = model.received(mark)
    *earlier, last = (len(text.split()) for _, text in received)
    assert (usage.prompt_tokens, usage.prompt_tokens_details.cached_tokens) == (sum(earlier) + last, sum(earlier))
    thoughts, answer = len(THOUGHT.split()), len(f"{FIRST}{mark}".split())
    assert usage.completion_tokens_details.reasoning_tokens == thoughts
    assert (usage.completion_tokens, usage.total_tokens) == (thoughts + answer, sum(earlier) + last + thoughts + answer)


@pytest.mark.anyio
async def test_the_async_sdk_does_so_too(url: str) -> None:
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as client:
        stream = await client.chat.completions.create(**chat(user=someone(), stream=True))
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    assert text.endswith(f"</think>{FIRST}hello")


def test_the_whole_answer_says_the_same(client: OpenAI) -> None:
    completion = client.chat.completions.create(**chat(user=someone()))

    assert f"<think>{THOUGHT}</think>{FIRST}hello" == completion.choices[0].message.content
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
    client: OpenAI, letta: RealLetta, model: ScriptedModel
) -> None:
    ada, bob = someone(), someone()
    assert ask(client, "What is my name?", ada, "before") == "I do not know your name."
    ask(client, REMEMBER.format("Ada"), ada, "telling")

    assert ask(client, "What is my name?", ada, "after") == "Your name is Ada."
    # A conversation that was compiled before the memory changed.
    assert ask(client, "And now: What is my name?", ada, "before") == "Your name is Ada."
    assert ask(client, "What is my name?", bob, "telling") == "I do not know your name."
    with gateway(letta) as restarted, sdk(restarted) as again:
        assert ask(again, "What is my name?", ada, "after the restart") == "Your name is Ada."


def test_who_tells_a_name_in_passing_is_remembered(client: OpenAI) -> None:
    user = someone()

    assert ask(client, "Hello! My name is Ada.", user, "telling") == "I will remember that."
    assert ask(client, "What is my name?", user, "after") == "Your name is Ada."


def test_a_chat_is_sent_what_is_new_and_found_again_after_a_restart(letta: RealLetta, model: ScriptedModel) -> None:
    user, mark = someone(), uuid.uuid4().hex
    history: list[dict[str, str]] = []
    for turn in ("first", "second", "third"):
        history.append({"role": "user", "content": f"{turn} {mark}"})
        with gateway(letta) as url, sdk(url) as client:
            answer = ask(client, "", user, "chat", messages=history)
        history.append({"role": "assistant", "content": answer})

    assert [[(message["role"], message["content"]) for message in history[:-1]]] == model.said(f"third {mark}")


def test_without_a_chat_id_the_history_is_replayed(client: OpenAI, model: ScriptedModel) -> None:
    mark = uuid.uuid4().hex
    messages = [
        {"role": "user", "content": "Bonjour"},
        {"role": "assistant", "content": "<think>Hm.</think>Salut!"},
        {"role": "user", "content": mark},
    ]
    user = someone()
    for _ in range(2):
        ask(client, "", user, messages=messages)

    assert [[("user", "Bonjour"), ("assistant", "Salut!"), ("user", mark)]] * 2 == model.said(mark)


FAILURES: dict[str, tuple[str, int, str, str]] = {
    "the provider fails": ("!fail 500", 502, "model_error", "status 500, `server_error`"),
    "the provider limits": ("!fail 429", 429, "rate_limit_exceeded", "status 429, `rate_limit_error`"),
    "the provider refuses": ("!fail 401", 502, "model_authentication", "status 401, `authentication_error`"),
    "the provider does not like it": ("!fail 400", 502, "model_error", "status 400, `invalid_request_error`"),
}


@pytest.mark.parametrize(("text", "status", "code", "told"), FAILURES.values(), ids=FAILURES)
def test_a_failure_of_the_provider_is_a_real_status_and_the_message_is_not_lost(
    client: OpenAI, model: ScriptedModel, text: str, status: int, code: str, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="gateway")
    user, mark = someone(), uuid.uuid4().hex
    with pytest.raises(openai.APIStatusError) as caught:
        ask(client, f"{mark}\n{text}", user, "chat")
    assert (status, code) == (caught.value.status_code, caught.value.code)
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert f" ({told})." in caught.value.message

    assert f"{FIRST}again {mark}" == ask(client, f"again {mark}", user, "chat")
    assert [[("user", f"{mark}\n{text}"), ("user", f"again {mark}")]] == model.said(f"again {mark}")
    (line,) = [each for each in caplog.messages if code in each]
    assert told in line
    assert [secret for secret in (user, mark, KEY, "!fail") if secret in caplog.text] == []


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

    ask(client, f"next {mark}", user, "chat")
    seen = [("assistant", "one two")] if "after" in script else []
    assert [[("user", f"{mark}\n{script}"), *seen, ("user", f"next {mark}")]] == model.said(f"next {mark}")


def test_letta_still_hanging_is_a_504_and_the_chat_goes_on(letta: RealLetta) -> None:
    user = someone()
    # A server that is busy is silent for a second or two before any answer.
    with gateway(letta, silence_seconds=4) as url, sdk(url) as client:
        with pytest.raises(openai.InternalServerError) as caught:
            ask(client, "!hang", user, "chat")
        assert (caught.value.status_code, caught.value.code) == (504, "upstream_timeout")
        assert ask(client, "go on", user, "chat") == f"{FIRST}go on"


def test_ten_first_messages_of_one_chat_make_one_conversation_and_take_turns(
    url: str, letta: RealLetta, model: ScriptedModel
) -> None:
    user, mark = someone(), uuid.uuid4().hex
    body = chat(mark, user=user, metadata={"chat_id": "chat"})
    asyncio.run(_all_at_once(url, [body] * 10))

    (agent,) = _agents_of(letta, user)
    assert len(letta.conversations(agent)) == 1
    turns = sorted(model.said(mark), key=len)
    assert [[role for role, _ in turn] for turn in turns] == [["user", "assistant"] * n + ["user"] for n in range(10)]


async def _all_at_once(url: str, bodies: list[dict[str, Any]]) -> None:
    headers = {"authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=120) as client:
        responses = await asyncio.gather(*(client.post("/v1/chat/completions", json=body) for body in bodies))
    assert {200} == {response.status_code for response in responses}


def _agents_of(letta: RealLetta, user: str) -> list[str]:
    return letta.agents(agent_tags("tutor", "programs", user))


def test_a_changed_template_is_applied_to_living_agents_and_chats_but_not_to_their_memory(
    letta: RealLetta, model: ScriptedModel
) -> None:
    user, mark = someone(), uuid.uuid4().hex
    dropped, added = letta.tools
    before = AgentType(id="tutor", system="Old rules.", tools=(dropped,), memory={"human": "Old memory."})
    after = AgentType(id="tutor", system="New rules.", tools=(added,), memory={"human": "New memory."})
    with gateway(letta, types=(before,)) as url, sdk(url) as client:
        ask(client, f"old {mark}", user, "chat")
    with gateway(letta, types=(after,)) as url, sdk(url) as client:
        ask(client, f"new {mark}", user, "chat")

    (old,), (new,) = model.received(f"old {mark}"), model.received(f"new {mark}")
    assert (old[0][1][:10], "Old memory." in old[0][1]) == ("Old rules.", True)
    assert (new[0][1][:10], "Old memory." in new[0][1]) == ("New rules.", True)
    (had,), (has,) = model.offered(f"old {mark}"), model.offered(f"new {mark}")
    assert (had & {dropped, added}, has & {dropped, added}) == ({dropped}, {added})
    assert "memory_insert" in had & has
    assert [role for role, _ in model.said(f"new {mark}")[0]] == ["user", "assistant", "user"]
    assert [_told(letta, agent) for agent in _agents_of(letta, user)] == [{"human": "Old memory."}]


def _told(letta: RealLetta, agent: str) -> dict[str, str]:
    """The memory of an agent without the file that an App Server makes for its own."""
    return {label: text for label, text in letta.memory(agent).items() if label != "MEMORY"}


def test_an_agent_that_exists_is_shared_and_each_user_has_chats_of_their_own(
    letta: RealLetta, model: ScriptedModel
) -> None:
    mark = uuid.uuid4().hex
    agent = letta.create_agent("Shared.")
    with gateway(letta, types=(AgentType(id="tutor", agent=agent),)) as url, sdk(url) as client:
        ask(client, f"ada {mark}", "ada", "chat")
        ask(client, f"bob {mark}", "bob", "chat")

    assert len(letta.conversations(agent)) == 2
    assert [[("user", f"bob {mark}")]] == model.said(f"bob {mark}")
    assert model.received(f"bob {mark}")[0][0][1].startswith("Shared.")


def test_an_agent_deleted_behind_the_gateway_is_made_again(client: OpenAI, letta: RealLetta) -> None:
    user = someone()
    ask(client, "hello", user, "chat")
    (agent,) = _agents_of(letta, user)
    letta.delete_agent(agent)
    assert ask(client, "once more", user, "chat") == f"{FIRST}once more"

    (another,) = _agents_of(letta, user)
    assert agent != another


def test_a_conversation_deleted_behind_the_gateway_is_made_again(letta_v1: LettaV1) -> None:
    # An App Server has no command that deletes one.
    user = someone()
    with gateway(letta_v1) as url, sdk(url) as client:
        ask(client, "hello", user, "chat")
        (agent,) = _agents_of(letta_v1, user)
        (conversation,) = letta_v1.conversations(agent)
        letta_v1.client.conversations.delete(conversation)
        assert ask(client, "again", user, "chat") == f"{FIRST}again"

    assert [conversation] != letta_v1.conversations(agent)


def test_two_chats_of_one_person_run_side_by_side(client: OpenAI, url: str) -> None:
    user = someone()
    ask(client, "hello", user, "one")
    asked = chat("!hang-after one two", user=user, metadata={"chat_id": "one"}, stream=True)
    with client.chat.completions.create(**asked) as stream:
        assert any(chunk.choices[0].delta.content == "two" for chunk in stream)
        assert ask(client, "meanwhile", user, "two") == f"{FIRST}meanwhile"


def test_an_unknown_tool_is_told_apart_from_a_broken_letta(letta: RealLetta) -> None:
    broken = AgentType(id="tutor", tools=("no_such_tool",))
    with (
        gateway(letta, types=(broken,)) as url,
        sdk(url) as client,
        pytest.raises(openai.InternalServerError) as caught,
    ):
        ask(client, "hello", someone())

    assert (caught.value.status_code, caught.value.code) == (502, "upstream_refused")


def test_a_ping_comes_while_a_real_letta_waits_for_its_model(letta: RealLetta) -> None:
    headers = {"authorization": f"Bearer {KEY}"}
    body = chat("!hang", user=someone(), stream=True)
    with (
        gateway(letta, ping_seconds=0.2) as url,
        httpx.stream("POST", f"{url}/v1/chat/completions", json=body, headers=headers, timeout=30) as response,
    ):
        lines = response.iter_lines()
        pings = [next(lines) for _ in range(6)]

    assert pings == [": ping", ""] * 3
