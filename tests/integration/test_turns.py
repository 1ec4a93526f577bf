"""Turns on each kind of a real Letta: what comes twice, at once, too late, or without the past."""

import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest
from openai import OpenAI

from gateway.settings import AgentType, Chats
from gateway.turns.chats.markers import agent_tags
from tests.frontend import Frontend
from tests.gateways import TUTOR, chat, gateway, http, sdk
from tests.integration.words import someone, unheard
from tests.servers.letta_v1 import LettaV1
from tests.servers.real_letta import RealLetta
from tests.servers.scripted_model import ScriptedModel
from tests.workers import also_in_threes

ENDLESS = AgentType(id="endless", model="any", system=TUTOR.system, conversations="single")
OTHER = AgentType(id="other", model="any", system="You are another.")
TYPES = (TUTOR, ENDLESS, OTHER)
WAIT_SECONDS = 30.0


@pytest.fixture(scope="module")
def url(letta: RealLetta) -> Iterator[str]:
    with gateway(letta, types=TYPES) as base_url:
        yield base_url


@pytest.fixture
def client(url: str) -> Iterator[OpenAI]:
    with sdk(url) as openai_client:
        yield openai_client


@pytest.fixture
def frontend(url: str) -> Iterator[OpenAI]:
    with sdk(url, "sk-front") as openai_client:
        yield openai_client


def tell(client: OpenAI, user: str, text: str, chat_id: str | None = "here", **more: Any) -> str:
    """One message of a client that keeps no history; gives the visible answer."""
    headers = {"X-Chat-Id": chat_id} if chat_id else {}
    completion = client.chat.completions.create(**chat(text, user=user, **more), extra_headers=headers)
    return (completion.choices[0].message.content or "").rpartition("</think>")[2]


def stop_telling(client: OpenAI, user: str, text: str, after: str, **more: Any) -> str:
    """The same, stopped once `after` was seen; gives what was."""
    stream = client.chat.completions.create(
        **chat(text, user=user, stream=True, **more), extra_headers={"X-Chat-Id": "here"}
    )
    seen = ""
    for chunk in stream:
        seen += chunk.choices[0].delta.content or "" if chunk.choices else ""
        if after in seen.rpartition("</think>")[2]:
            break
    stream.close()
    return seen.rpartition("</think>")[2].strip()


def everything(model: ScriptedModel, last: str) -> str:
    """All texts of the one request that ended with `last`."""
    (request,) = model.received(last)
    return "\n".join(text for _, text in request)


# Clients that keep no history


@also_in_threes
def test_a_lone_message_on_a_known_chat_is_the_next_one(client: OpenAI, model: ScriptedModel) -> None:
    user, one, two = someone(), unheard("one"), unheard("two")
    answer = tell(client, user, one)
    tell(client, user, two)

    assert model.said(two) == [[("user", one), ("assistant", answer), ("user", two)]]


@also_in_threes
@pytest.mark.parametrize("restarts", [False, True], ids=["at once", "after a restart"])
@pytest.mark.parametrize("agent_type", ["tutor", "endless"])
def test_what_was_stopped_is_brought_back_once(
    client: OpenAI, letta: RealLetta, model: ScriptedModel, agent_type: str, restarts: bool
) -> None:
    user, first, two, three = someone(), unheard("first"), unheard("two"), unheard("three")
    whole = f"Once upon a time {'there was ' * 40}{unheard()}"
    stopped = f"!slow 50\n!say {whole}"
    with gateway(letta, types=TYPES) as before, sdk(before) as doomed:
        past = [("user", first), ("assistant", tell(doomed, user, first, model=agent_type))]
        part = stop_telling(doomed, user, stopped, "upon", model=agent_type)
        if not restarts:
            again = tell(doomed, user, two, model=agent_type)
    if restarts:
        again = tell(client, user, two, model=agent_type)
    tell(client, user, three, model=agent_type)

    ((*earlier, brought_back, last),) = model.said(two)
    assert [*earlier, last] == [*past, ("user", stopped), ("user", two)]
    # A word or two may have been on their way when the client left.
    assert brought_back[0] == "assistant"
    assert part in brought_back[1]
    assert whole[: len(part) + len(" there was" * 10)].startswith(brought_back[1])
    assert model.said(three) == [[*earlier, brought_back, last, ("assistant", again), ("user", three)]]


@also_in_threes
def test_one_endless_thread_is_sent_only_the_new_message(client: OpenAI, model: ScriptedModel) -> None:
    user, one, two = someone(), unheard("one"), unheard("two")
    answer = tell(client, user, one, chat_id="here", model="endless")
    other = [{"role": "user", "content": "never said"}, {"role": "assistant", "content": "never answered"}]
    tell(client, user, "", chat_id="there", model="endless", messages=[*other, {"role": "user", "content": two}])
    again = tell(client, user, two, chat_id=None, model="endless")

    thread = [("user", one), ("assistant", answer), ("user", two)]
    assert model.said(two) == [thread, [*thread, ("assistant", again), ("user", two)]]


@also_in_threes
def test_five_equal_prompts_at_once_without_ids_are_five_turns(client: OpenAI, model: ScriptedModel) -> None:
    user, text = someone(), unheard("hello")
    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda _: tell(client, user, text, chat_id=None), range(5)))

    assert model.said(text) == [[("user", text)]] * 5
    assert len(answers) == 5


# What a client adds


def test_the_client_s_system_text_is_added_to_the_agent_s_own_for_this_chat(
    frontend: OpenAI, model: ScriptedModel
) -> None:
    user, one, two, three = someone(), unheard("one"), unheard("two"), unheard("three")
    pirate, poet = unheard("You are a pirate"), unheard("You are a poet")
    first = Frontend(frontend, user)
    first.system = pirate
    first.say(one)
    first.system = poet
    path = [text for _, text in first.said()]
    first.say(two)
    Frontend(frontend, user).say(three)

    persona = f"You are a patient tutor of {user}."
    block = "What I know about the person I talk to:"
    assert all(part in everything(model, one) for part in (persona, block, pirate))
    assert all(part in everything(model, two) for part in (persona, block, poet))
    assert [text.splitlines()[-1] for _, text in model.said(two)[0]] == [*path, two]
    assert not any(part in everything(model, three) for part in (pirate, poet))


def test_the_system_text_of_a_client_is_not_written_into_memory(frontend: OpenAI, letta: RealLetta) -> None:
    user, pirate = someone(), unheard("You are a pirate")
    first = Frontend(frontend, user)
    first.system = pirate
    first.say("hello")

    (agent,) = letta.agents(agent_tags("tutor", "frontend", user))
    assert not any(pirate in text for text in letta.memory(agent).values())


@also_in_threes
def test_several_models_in_one_chat_are_several_agents(frontend: OpenAI, model: ScriptedModel) -> None:
    user, one, two = someone(), unheard("one"), unheard("two")
    sides = [Frontend(frontend, user, chat="both"), Frontend(frontend, user, chat="both")]
    sides[1].model = "other"
    with ThreadPoolExecutor(2) as pool:
        for text in (one, two):
            list(pool.map(Frontend.say, sides, [text] * 2))

    assert sorted(model.said(two)) == sorted([*side.said()[:-1]] for side in sides)


# How a chat is called, and what its requests say of it
TEMPORARY = {
    "in Open WebUI": (f"temporary:{uuid.uuid4()}", {}),
    "by a header": (str(uuid.uuid4()), {"X-Temporary-Chat": "true"}),
}


@pytest.mark.parametrize(("id", "said"), TEMPORARY.values(), ids=TEMPORARY)
def test_a_temporary_chat_goes_on_and_then_goes_away(
    letta: RealLetta, model: ScriptedModel, id: str, said: dict[str, str]
) -> None:
    user = someone()
    with gateway(letta, chats=Chats(temporary_ttl=4)) as url, sdk(url, "sk-front") as client:
        kept = Frontend(client, user)
        temporary = Frontend(client.with_options(default_headers=said), user, chat=id)
        for each in (kept, temporary):
            each.say(unheard("one"))
        path, two = temporary.said(), unheard("two")
        temporary.say(two)
        assert model.said(two) == [[*path, ("user", two)]]

        (agent,) = letta.agents(agent_tags("tutor", "frontend", user))
        assert len(letta.conversations(agent)) == 2
        deadline = time.monotonic() + WAIT_SECONDS
        while len(letta.conversations(agent)) > 1 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert len(letta.conversations(agent)) == 1

        # What is still on screen goes on.
        for each in (kept, temporary):
            path, text = each.said(), unheard("later")
            each.say(text)
            assert model.said(text) == [[*path, ("user", text)]]


# What comes twice, or at once


@also_in_threes
def test_a_request_sent_again_takes_over_the_run_under_way(letta: RealLetta, model: ScriptedModel) -> None:
    # Slow enough to be still under way when the request is sent again, and waited for, however busy the machine.
    text = unheard("!slow 300\n!say one two three")
    body = chat(text, user=someone(), stream=True)
    with gateway(letta, chats=Chats(grace_seconds=30)) as url, http(url) as client:
        with client.stream("POST", "/v1/chat/completions", json=body) as first:
            next(first.iter_lines())
            model.wait_for(text)
        again = client.post("/v1/chat/completions", json=body, headers={"x-stainless-retry-count": "1"})

    assert again.text.endswith("data: [DONE]\n\n")
    assert len(model.said(text)) == 1


@also_in_threes
def test_stop_reaches_the_model_within_two_seconds_also_before_the_first_byte(
    frontend: OpenAI, model: ScriptedModel
) -> None:
    stopped = unheard("!hang\n")
    chat_of_someone = Frontend(frontend, someone())
    with chat_of_someone.asking(stopped):
        model.wait_for(stopped)
        left = time.monotonic()
    chat_of_someone.say(unheard("next"))

    assert time.monotonic() - left < WAIT_SECONDS


@also_in_threes
def test_messages_sent_while_one_is_answered_wait_and_too_many_are_told_at_once(
    letta: RealLetta, model: ScriptedModel
) -> None:
    user, slow, more = someone(), unheard("!slow 50\n!say one two three four five"), unheard("more")
    with gateway(letta, chats=Chats(queue_length=1)) as url, sdk(url) as client, ThreadPoolExecutor(4) as pool:
        first = pool.submit(tell, client, user, slow)
        model.wait_for(slow)
        others = [pool.submit(tell, client, user, more) for _ in range(3)]
        failures = [error for other in others if isinstance(error := other.exception(), openai.RateLimitError)]

    assert [error.code for error in failures] == ["conversation_busy"] * 2
    assert all(error.response.headers["retry-after"] for error in failures)
    assert model.said(more) == [[("user", slow), ("assistant", first.result()), ("user", more)]]


@pytest.mark.parametrize("restarts", [False, True], ids=["at once", "after a restart"])
def test_a_call_that_waits_for_an_approval_does_not_lock_the_chat(
    letta_v1: LettaV1, model: ScriptedModel, restarts: bool
) -> None:
    user, one, two = someone(), unheard("one"), unheard("two")
    call = f'!tool memory_insert {{"label": "human", "new_string": "{unheard()}"}}'
    with gateway(letta_v1) as url, sdk(url) as client:
        tell(client, user, one)
        (agent,) = letta_v1.agents(agent_tags("tutor", "programs", user))
        letta_v1.require_approval(agent, "memory_insert")
        assert "May I do this?" in tell(client, user, call)
        if not restarts:
            assert tell(client, user, two) == f"You said: {two}"
    with gateway(letta_v1) as url, sdk(url) as client:
        if restarts:
            assert tell(client, user, two) == f"You said: {two}"
        assert tell(client, user, "three") == "You said: three"

    (said,) = model.said(two)
    assert [role for role, _ in said] == ["user", "assistant", "user", "assistant", "tool", "user"]
    assert "denied" in said[-2][1]
