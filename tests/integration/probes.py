"""Probes of what gateways share: what people see of each kind of it, in words, while something is amiss or not.

Each asks several of the gateways at once, as a person nobody has heard of, and says what came of it.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
from openai import OpenAI

from gateway.settings import AgentType, Allowance, Chats, Key, Secret, Settings
from gateway.turns.chats.markers import agent_tags
from tests.gateways import FRONTEND, KEY, PROGRAMS, TUTOR, chat, http, said, sdk, settings_for
from tests.integration.words import someone, unheard
from tests.programs import CALLS, Talk, heard
from tests.servers.real_letta import RealLetta
from tests.servers.scripted_model import ScriptedModel
from tests.servers.trio import Trio

URL = "/v1/chat/completions"
# So many ask at once.
MANY = 4
FEW = "sk-few"
SPENT = "sk-spent"
LONG = f"!slow 50\n!say Once upon a time {'there was ' * 40}"
TEMPORARY_SECONDS = 3.0
WAIT_SECONDS = 60.0
ENDLESS = AgentType(id="endless", model="any", system=TUTOR.system, conversations="single")


def probed_settings(letta: RealLetta) -> Settings:
    """The settings of gateways that are probed."""
    keys = (
        PROGRAMS,
        FRONTEND,
        Key(name="few", key=Secret(FEW), user_limits=Allowance(requests_per_minute=1)),
        Key(name="spent", key=Secret(SPENT), user_limits=Allowance(tokens_per_day=1)),
    )
    chats = Chats(grace_seconds=20, temporary_ttl=TEMPORARY_SECONDS, queue_seconds=WAIT_SECONDS)
    return settings_for(letta, types=(TUTOR, ENDLESS), chats=chats, keys=keys, first_event_seconds=WAIT_SECONDS)


class Probed:
    """Three gateways, and the Letta behind them."""

    def __init__(self, trio: Trio, letta: RealLetta, model: ScriptedModel) -> None:
        self.trio = trio
        self.letta = letta
        self.model = model
        self.person = someone()
        """Somebody who has an agent: to make one takes longer than a turn."""
        self.tell(0, self.person, "hello", "first").raise_for_status()

    def tell(self, number: int, user: str, text: str, chat_id: str, key: str = KEY, **headers: str) -> httpx.Response:
        """A message of a client that sends only what is new, to the gateway of this number."""
        body = chat(text, user=user, metadata={"chat_id": chat_id})
        with http(self.at(number), key) as client:
            return client.post(URL, json=body, headers=headers)

    def at(self, number: int) -> str:
        gateways = self.trio.gateways
        return gateways[number % len(gateways)].base_url

    def agents(self, user: str) -> list[str]:
        return self.letta.agents(agent_tags("tutor", "programs", user))


def tries(count: int) -> dict[str, str]:
    """The header of a request that was sent so often before."""
    return {"x-stainless-retry-count": str(count)}


def probe_turns(probed: Probed) -> str:
    """Messages to one chat at once: each is to come after the one before it."""
    chat_id, texts = unheard("turns"), [unheard(f"turn {number}") for number in range(MANY)]
    probed.tell(0, probed.person, "hello", chat_id).raise_for_status()
    with ThreadPoolExecutor(MANY) as people:
        answers = list(people.map(lambda at: probed.tell(at, probed.person, texts[at], chat_id), range(MANY)))
    contexts = sorted((told for text in texts for told in probed.model.said(text)), key=len)
    in_line = all(later[: len(former)] == former for former, later in zip(contexts, contexts[1:], strict=False))
    in_line = in_line and len({len(one) for one in contexts}) == len(contexts)
    return f"{_answered(answers)}, {'one after the other' if in_line else 'not in line'}"


def probe_agents(probed: Probed) -> str:
    """First messages of one person at once: one agent is to be made."""
    user = someone()
    with ThreadPoolExecutor(MANY) as people:
        answers = list(people.map(lambda at: probed.tell(at, user, unheard(), f"chat {at}"), range(MANY)))
    # Who has made one too many deletes it.
    until = time.monotonic() + 5
    while len(probed.agents(user)) > 1 and time.monotonic() < until:
        time.sleep(0.2)
    return f"{_answered(answers)}, {len(probed.agents(user))} agent"


def probe_resends(probed: Probed) -> str:
    """A request that is sent again to another gateway: it is to join the run."""
    text = f"!say one two three\n{unheard()}"
    body = chat(text, user=probed.person, stream=True, metadata={"chat_id": unheard("resends")})
    with probed.model.gate(text, "one") as gate, ThreadPoolExecutor() as people:
        with http(probed.at(0)) as client, client.stream("POST", URL, json=body, headers=tries(0)) as response:
            assert any("one" in line for line in response.iter_lines())
        with http(probed.at(1)) as client:
            again = people.submit(client.post, URL, json=body, headers=tries(1))
            time.sleep(0.5)
            gate.open()
            answer = again.result()
    whole = said(answer.text).get("content", "").endswith("one two three") if answer.status_code == 200 else False
    end = "the whole answer" if whole else f"{answer.status_code} {_code(answer)} {answer.text[-200:]}"
    return f"{end}, the model asked {_times(len(probed.model.said(text)))}"


def probe_tools(probed: Probed) -> str:
    """Results of a client's tools that come to another gateway: the agent is to have them as results."""
    script = f"{CALLS}\n{unheard()}"
    with sdk(probed.at(0)) as one, sdk(probed.at(1)) as other:
        talk = Talk(one, user=probed.person)
        talk.say(script)
        talk.client = other
        answer = talk.give(weather="sunny", clock="noon").content or ""
    told = heard(probed.model, script)
    how = "as results" if ("tool", "sunny") in told else "in words" if "sunny" in str(told) else "not at all"
    return f"{'answered' if answer else 'not answered'}, the agent has them {how}"


def probe_stop(probed: Probed) -> str:
    """A stop at one gateway and the next message at another: the agent is to know what was seen."""
    chat_id, script, after = unheard("stop"), unheard(LONG), unheard("after")
    body = chat(script, user=probed.person, stream=True, metadata={"chat_id": chat_id})
    with http(probed.at(0)) as client, client.stream("POST", URL, json=body) as response:
        assert any("upon" in line for line in response.iter_lines())
    began = time.monotonic()
    answer = probed.tell(1, probed.person, after, chat_id)
    seconds = time.monotonic() - began
    told = probed.model.said(after)
    known = len(told) == 1 and [role for role, _ in told[0]] == ["user", "assistant", "user"]
    soon = "soon" if seconds < 10 else "late"
    return f"status {answer.status_code} {soon}, what was seen is {'known' if known else 'not known'}"


def probe_limits(probed: Probed) -> str:
    """One message a minute is allowed: one is to be answered, at whichever gateway."""
    user = someone()
    with ThreadPoolExecutor(MANY) as people:
        answers = list(people.map(lambda at: probed.tell(at, user, "hi", f"{at}", FEW), range(MANY)))
    return f"{sum(answer.status_code == httpx.codes.OK for answer in answers)} of {MANY} let in"


def probe_budgets(probed: Probed) -> str:
    """A budget that one message uses up: one is to be answered."""
    user = someone()
    answers = []
    for at in range(3):
        answers.append(probed.tell(at, user, "hi", f"{at}", SPENT))
        # A run is counted when it has ended, which may be a moment after its answer.
        time.sleep(0.5)
    return f"{sum(answer.status_code == httpx.codes.OK for answer in answers)} of 3 let in"


def probe_memory(probed: Probed) -> str:
    """Chats of one agent at once, each with words of its client's own: each is to be asked with those."""
    mark, texts = unheard(), [unheard(f"memory {number}") for number in range(MANY)]
    own = [unheard("You are a poet") for _ in range(MANY)]

    def ask(at: int) -> httpx.Response:
        messages = [{"role": "system", "content": own[at]}, {"role": "user", "content": texts[at]}]
        body = {**chat(user=probed.person, metadata={"chat_id": f"{mark} {at}"}), "messages": messages}
        with http(probed.at(at)) as client:
            return client.post(URL, json=body)

    with ThreadPoolExecutor(MANY) as people:
        answers = list(people.map(ask, range(MANY)))
    right = 0
    for text, mine in zip(texts, own, strict=True):
        told = ["\n".join(words for _, words in request) for request in probed.model.received(text)]
        right += len(told) == 1 and mine in told[0] and not any(one in told[0] for one in own if one != mine)
    return f"{_answered(answers)}, {right} asked with their own words"


def probe_pruning(probed: Probed) -> str:
    """A temporary chat: it is to be deleted."""
    user = someone()
    with sdk(probed.trio.url) as client:
        _say(client, user, "hi", {"X-Temporary-Chat": "true", "X-Chat-Id": "temporary"})
        _say(client, user, "hi", {"X-Chat-Id": "kept"})
    (agent,) = probed.agents(user)
    until = time.monotonic() + WAIT_SECONDS
    while len(probed.letta.conversations(agent)) > 1 and time.monotonic() < until:
        time.sleep(0.2)
    return f"{len(probed.letta.conversations(agent)) - 1} temporary chats left"


def _say(client: OpenAI, user: str, text: str, headers: dict[str, str]) -> None:
    client.chat.completions.create(**chat(text, user=user), extra_headers=headers)


def _answered(answers: Sequence[httpx.Response]) -> str:
    """The number that were answered, and of the others the statuses and codes."""
    refused = [answer for answer in answers if answer.status_code != httpx.codes.OK]
    told = Counter(f"{answer.status_code} {_code(answer)}" for answer in refused)
    others = f" ({', '.join(f'{count} x {code}' for code, count in sorted(told.items()))})" if told else ""
    return f"{len(answers) - len(refused)} of {len(answers)} answered{others}"


def _code(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"]["code"])
    except (ValueError, KeyError):
        return ""


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


Probe = Callable[[Probed], str]
PROBES: dict[str, Probe] = {
    "turns of one chat": probe_turns,
    "agents made": probe_agents,
    "resends": probe_resends,
    "client tools' results": probe_tools,
    "Stop": probe_stop,
    "limits": probe_limits,
    "budgets": probe_budgets,
    "memory writes": probe_memory,
    "pruning": probe_pruning,
}
# what a probe says where nothing is amiss
SHARED = {
    "turns of one chat": f"{MANY} of {MANY} answered, one after the other",
    "agents made": f"{MANY} of {MANY} answered, 1 agent",
    "resends": "the whole answer, the model asked once",
    "client tools' results": "answered, the agent has them as results",
    "Stop": "status 200 soon, what was seen is known",
    "limits": f"1 of {MANY} let in",
    "budgets": "1 of 3 let in",
    "memory writes": f"{MANY} of {MANY} answered, {MANY} asked with their own words",
    "pruning": "0 temporary chats left",
}


def probe_all(probed: Probed) -> dict[str, str]:
    """What each probe says, all at once; of one that fails, with what."""

    def outcome(probe: Probe) -> str:
        try:
            return probe(probed)
        except (AssertionError, httpx.HTTPError, openai.OpenAIError, ValueError) as error:
            return f"failed: {type(error).__name__} {error}"[:300]

    with ThreadPoolExecutor(len(PROBES)) as people:
        return dict(zip(PROBES, people.map(outcome, PROBES.values()), strict=True))
