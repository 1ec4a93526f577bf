"""`letta-gateway check` on a real Redis: what it says of one that is as it should be, and of those that are not."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from gateway.commands.check_shared import check_shared
from gateway.limits.counters import Payer, Spent
from gateway.limits.gate import Gate
from gateway.limits.shared_counters import SharedCounters
from gateway.limits.shared_spending import read_shared_sums
from gateway.settings import Allowance, Key, Secret, Settings, Sharing
from gateway.shared import redis_link
from tests.gateways import settings_for
from tests.readme import ROOT
from tests.servers.redis_server import RedisServer

pytestmark = [pytest.mark.anyio, pytest.mark.full]

GUIDE = (ROOT / "deploy" / "guide" / "several.md").read_text(encoding="utf-8")
BUDGET = (Key(name="k", key=Secret("sk-k"), limits=Allowance(tokens_per_day=1)),)


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


def sharing(url: str, prefix: str = "letta-gateway", **changes: Any) -> Settings:
    settings = settings_for("http://letta", **changes)
    return msgspec.structs.replace(settings, shared=Sharing(url=Secret(url), prefix=prefix))


async def found(settings: Settings) -> tuple[list[str], list[str]]:
    """Problems and warnings."""
    findings = [finding async for finding in check_shared(settings)]
    return [one.words for one in findings if one.is_problem], [one.words for one in findings if not one.is_problem]


async def test_one_that_is_as_it_should_be_is_named_and_left_as_it_was(
    server: RedisServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await found(sharing(server.url)) == ([], [])
    assert re.fullmatch(
        rf"Redis at {server.url}:\n  it answers, and is (Redis|Valkey) [\d.]+\n", capsys.readouterr().out
    )
    assert [name for name in server.names() if "check" in name] == []
    assert await found(settings_for("http://letta")) == ([], [])


async def test_budgets_that_a_restart_would_forget_are_warned_of(server: RedisServer) -> None:
    problems, warnings = await found(sharing(server.url, keys=BUDGET))
    assert problems == []
    assert [words.partition(",")[0] for words in warnings] == ["it keeps no append-only file"]
    with server.client() as client:
        client.config_set("appendonly", "yes")
        try:
            assert await found(sharing(server.url, keys=BUDGET)) == ([], [])
        finally:
            client.config_set("appendonly", "no")


async def test_one_that_evicts_keys_is_a_problem(server: RedisServer) -> None:
    with server.client() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            problems, _ = await found(sharing(server.url))
        finally:
            client.config_set("maxmemory-policy", "noeviction")

    assert [words.partition(" has it")[0] for words in problems] == ["`maxmemory-policy allkeys-lru`"]


async def test_a_replica_is_a_problem(server: RedisServer) -> None:
    with server.client() as client, RedisServer() as replica, replica.client() as copy:
        client.ping()
        copy.replicaof("127.0.0.1", server.port)
        problems, _ = await found(sharing(replica.url))

    assert problems
    assert all("secret" not in words for words in problems)


async def test_one_that_does_not_answer_or_does_not_take_the_password_is_named_without_it(server: RedisServer) -> None:
    nobody, _ = await found(sharing("redis://me:sk-1@127.0.0.1:9/0"))
    wrong, _ = await found(sharing(f"redis://me:sk-1@127.0.0.1:{server.port}/0"))

    assert nobody[0].startswith("no Redis answers at redis://127.0.0.1:9/0 (ConnectionError: ")
    assert wrong[0].startswith(
        f"the Redis at {server.url} does not take the user or the password of [shared] url (Auth"
    )
    assert "sk-1" not in f"{nobody}{wrong}"


async def test_another_machine_without_tls_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_link, "REDIS_SECONDS", 0.05)
    _, plain = await found(sharing("redis://redis.invalid:6379/0"))
    _, tls = await found(sharing("rediss://redis.invalid:6379/0"))

    assert [words.partition(":6379")[0] for words in plain] == ["to the Redis at redis://redis.invalid"]
    assert tls == []


def rules(prefix: str) -> str:
    """The rules of the guide's user, with another prefix."""
    (line,) = re.findall(r"^user letta-gateway on (?:>|#)\S+ (.+)$", GUIDE, re.MULTILINE)
    return str(line).replace("{letta-gateway}", f"{{{prefix}}}")


def make_user(server: RedisServer, given: str) -> str:
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "limited", "reset", "on", ">pw", *given.split())
        client.execute_command("ACL", "LOG", "RESET")
    return f"redis://limited:pw@127.0.0.1:{server.port}/0"


async def test_the_rules_of_the_guide_are_enough_and_those_of_another_prefix_are_not(server: RedisServer) -> None:
    url = make_user(server, rules("mine"))
    assert await found(sharing(url, "mine")) == ([], [])
    link = redis_link.RedisLink(Sharing(url=Secret(url), prefix="mine"))
    counters = SharedCounters(link)
    await link.start()
    await counters.start()
    gate = Gate(counters, lambda: 1_795_996_800.25)
    key = Key(name="k", user_limits=Allowance(requests_per_minute=2, streams=1, tokens_per_day=9), limits=Allowance())
    admission = await gate.admit(key, "0a")
    await counters.spend(Payer("k", "0a"), ("2026-11",), Spent(1, 1, 1, 2))
    await admission.leave()
    await counters.aclose()
    assert await read_shared_sums(link, "2026-11") == {(Payer("k", "0a"), "2026-11"): Spent(1, 1, 1, 2)}
    await link.aclose()
    with server.client() as client:
        assert client.execute_command("ACL", "LOG") == []

    problems, _ = await found(sharing(url, "others"))
    assert "gives the user of [shared] url no rights" in problems[0]
    assert "`~{others}:* &{others}:* " in problems[0]


# rights that are taken away -> what is said to be needed
TAKEN = {
    "-@scripting": r"gives the user of \[shared\] url no rights .* `~\{mine\}:\* .* \+eval \+evalsha",
    "-@pubsub": r"cannot send and hear letters .* needs `&\{mine\}:\* \+publish \+subscribe \+unsubscribe`",
    "-subscribe": r"cannot send and hear letters \(no letter arrives\): .* needs `&\{mine\}:\* \+publish \+subscribe",
    "-@stream": r"cannot write a stream .* needs `~\{mine\}:\* \+@write`",
    "resetchannels": r"cannot send and hear letters .* needs `&\{mine\}:\* \+publish",
    "-info": r"its user has no `\+info`",
    "-@connection": r"gives the user of \[shared\] url no rights",
}


@pytest.mark.parametrize("rule", TAKEN)
async def test_rights_that_are_missing_are_named(server: RedisServer, rule: str) -> None:
    problems, warnings = await found(sharing(make_user(server, f"{rules('mine')} {rule}"), "mine"))

    assert re.search(TAKEN[rule], " ".join([*problems, *warnings]))
