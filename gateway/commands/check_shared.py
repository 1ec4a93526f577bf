"""The part of `check` about the Redis that several gateways share: how it is configured, and what they may do there."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from msgspec import Struct

from gateway.choices import link_for
from gateway.commands.announcement import plain_address
from gateway.settings import Settings, is_loopback
from gateway.shared.asking import Away, Script

if TYPE_CHECKING:  # Redis' client, which not every gateway has
    from gateway.shared.redis_link import RedisLink

# The oldest whose scripts may say that they are for a Redis that is full, too.
OLDEST_REDIS = 7
RIGHTS = "-@all +@read +@write +@connection -@dangerous +eval +evalsha +publish +subscribe +unsubscribe +info"
"""The rights of a gateway's user: https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/"""
# A letter that was not heard by then is not heard at all.
HEAR_SECONDS = 2.0
_WRITE_AND_READ = Script.of("""#!lua flags=allow-oom
redis.call('SET', KEYS[1], ARGV[1], 'EX', 60)
return redis.call('GET', KEYS[1])
""")


class Finding(Struct, frozen=True):
    """One finding: `Finding("it may forget budgets", is_problem=False)` is a warning."""

    words: str
    is_problem: bool = True


async def check_shared(settings: Settings) -> AsyncIterator[Finding]:
    """Reach the Redis, if the settings name one, use it as gateways do, and look at how it is configured."""
    link = link_for(settings)
    if link is None:
        return
    assert settings.shared.url
    address = plain_address(settings.shared.url.reveal())
    url = urlsplit(address)
    if url.scheme == "redis" and not is_loopback(url.hostname or ""):
        words = f"to the Redis at {address} chats go in the clear: set [shared] url to `rediss://…`, or see to it that "
        yield Finding(f"{words}nobody else hears that network.", is_problem=False)
    try:
        await link.start()
        if link.is_away:
            yield Finding(_unreached(link.reason, address, link.key("*")))
            return
        print(f"Redis at {address}:")
        async for finding in _use(link):
            yield finding
        try:
            told: dict[str, Any] = await link.ask("INFO")
        except Away as error:
            yield Finding(f"Redis does not say how it is configured ({error}): its user has no `+info`.", False)
            return
        print(f"  it answers, and is {_kind(told)}")
        for finding in _look_at(told, settings):
            yield finding
    finally:
        await link.aclose()


def _unreached(reason: str, address: str, keys: str) -> str:
    if "permission" in reason.lower():
        needed = f"`~{keys} &{keys} {RIGHTS}`"
        return f"the Redis at {address} gives the user of [shared] url no rights ({reason}): it needs {needed}."
    if reason.startswith("Auth"):
        return f"the Redis at {address} does not take the user or the password of [shared] url ({reason})."
    return f"no Redis answers at {address} ({reason}): start it, or set [shared] url to where it is."


async def _use(link: "RedisLink") -> AsyncIterator[Finding]:
    """Do what gateways do, of each kind something."""
    key, log, queue = (link.key("check", link.process, name) for name in ("key", "log", "queue"))
    keys, letters = f"~{link.key('*')}", f"&{link.key('*')} +publish +subscribe +unsubscribe"
    scripts = f"{keys} +eval +evalsha +@read +@write"
    heard = asyncio.Event()
    link.hear("check", lambda sender, content: heard.set())

    async def hear() -> None:
        try:
            async with asyncio.timeout(HEAR_SECONDS):
                # It may not be heard yet: to hear takes a connection of its own.
                while not heard.is_set():
                    await link.tell(link.process, "check", None)
                    await asyncio.sleep(HEAR_SECONDS / 100)
        except TimeoutError:
            raise Away("no letter arrives") from None

    # What is done, how, and the rules of an ACL that it takes.
    uses: list[tuple[str, Callable[[], Awaitable[Any]], str]] = [
        ("write a key and read it", lambda: link.run(_WRITE_AND_READ, [key], "1"), scripts),
        ("write a stream", lambda: link.ask("XADD", log, "MAXLEN", 1, "*", "a", "1"), f"{keys} +@write"),
        ("read a stream", lambda: link.ask("XREAD", "COUNT", 1, "STREAMS", log, "0"), f"{keys} +@read"),
        ("write a queue", lambda: link.ask("ZADD", queue, 1, "a"), f"{keys} +@write"),
        ("send and hear letters", hear, letters),
        ("delete a key", lambda: link.ask("DEL", key, log, queue), f"{keys} +@write"),
    ]
    for what, use, rules in uses:
        try:
            await use()
        except Away as error:
            yield Finding(f"in Redis the gateway cannot {what} ({error}): its user needs `{rules}`.")


def _kind(told: dict[str, Any]) -> str:
    if valkey := told.get("valkey_version"):
        return f"Valkey {valkey}"
    return f"Redis {told.get('redis_version', 'of an unknown version')}"


def _look_at(told: dict[str, Any], settings: Settings) -> Iterator[Finding]:
    """Look at what it tells of itself: https://redis.io/docs/latest/commands/info/"""
    if int(str(told.get("redis_version", OLDEST_REDIS)).partition(".")[0]) < OLDEST_REDIS:
        yield Finding(f"it is {_kind(told)}: gateways need {OLDEST_REDIS} or newer, or a Valkey.")
    if told.get("redis_mode") == "cluster":
        yield Finding("it is a node of a cluster, which gateways cannot use: give them a Redis of their own.")
    if told.get("role") == "slave":
        yield Finding("it is a replica, to which nothing can be written: set [shared] url to the primary.")
    if (policy := told.get("maxmemory_policy", "noeviction")) != "noeviction":
        words = f"`maxmemory-policy {policy}` has it forget keys that are in use, such as budgets and whose turn it is"
        yield Finding(f"{words}: set it to `noeviction`.")
    if not int(told.get("aof_enabled", 1)) and any(key.has_budget for key in settings.keys):
        words = "it keeps no append-only file, so that a restart forgets what was used of the budgets since its last "
        yield Finding(f"{words}snapshot: set `appendonly yes`.", is_problem=False)
