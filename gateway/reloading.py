"""A configuration that changes while the gateway serves: it is read again on SIGHUP, or when its files change.

It is taken up whole or not at all. Streams go on, but for those of keys that are gone.
"""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import Protocol

from gateway.choices import prepare_tokens
from gateway.commands.announcement import listed
from gateway.configuration import SettingsError
from gateway.settings import Settings

logger = logging.getLogger(__name__)
# The parts of the settings that may change while the gateway serves.
LIVE = ("agent_types", "keys")
STAYS = "The configuration stays as it was."
TERMINAL = "/dev/tty"


class Changeable(Protocol):
    """Settings that are served by, and that others may take the place of."""

    settings: Settings

    def take_up(self, settings: Settings) -> Awaitable[None] | None:
        """Have requests read other settings from now on, or once that is awaited. Raises nothing."""
        ...


class Reloading:
    """Takes up what has changed in a configuration."""

    def __init__(self, read: Callable[[], Settings], in_force: Changeable) -> None:
        self._read = read
        self._in_force = in_force
        self._turn = asyncio.Lock()
        self._refused = ""
        """The reason for which the files were not taken up when they were last read."""

    async def reload(self, asked: bool = True) -> None:
        """Read the files, and take them up or say why not. Unless somebody has asked, only what is new is said."""
        async with self._turn:
            try:
                settings = await asyncio.to_thread(self._read_and_prepare)
            except SettingsError as error:
                self._refuse(str(error), asked)
                return
            before = self._in_force.settings
            if fixed := [*fixed_changes(before, settings)]:
                self._refuse(f"A change of {listed(fixed)} needs a restart", asked)
                return
            self._refused = ""
            if settings == before:
                if asked:
                    logger.info("The configuration has not changed.")
                return
            if taken_up := self._in_force.take_up(settings):
                await taken_up
            logger.info("The configuration was taken up: %s.", "; ".join(live_changes(before, settings)))

    def _read_and_prepare(self) -> Settings:
        """Read the files, and import what they ask for: both would hold up everybody."""
        settings = self._read()
        prepare_tokens(settings)
        return settings

    def _refuse(self, why: str, asked: bool) -> None:
        if asked or why != self._refused:
            logger.error("%s %s", STAYS, why)
        self._refused = why

    async def follow(self, changes: AsyncIterator[None]) -> None:
        """Read the files again at every change, until cancelled."""
        try:
            async for _ in changes:
                await self.reload(asked=False)
        except Exception as error:
            # Of the system's watch, or a bug: either way nobody would know why nothing is taken up any more.
            logger.error("The configuration is watched no more (%s); SIGHUP still has it read.", type(error).__name__)


class Hangups:
    """SIGHUP while entered: the configuration is read again; but if the terminal has gone, the gateway is to end.

    A process that is told to outlive its terminal (`nohup`) does.
    """

    def __init__(self, reload: Callable[[], Awaitable[None]], end: Callable[[], None]) -> None:
        self._reload = reload
        self._end = end
        self._tasks: set[asyncio.Future[None]] = set()
        self._ends = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN and _has_terminal()

    def __enter__(self) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._hear)

    def __exit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)

    def _hear(self) -> None:
        if self._ends and not _has_terminal():
            self._end()
            return
        task = asyncio.ensure_future(self._reload())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _has_terminal() -> bool:
    """True if the process has a controlling terminal. https://man7.org/linux/man-pages/man4/tty.4.html"""
    try:
        os.close(os.open(TERMINAL, os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


HAS_HANGUPS = sys.platform != "win32"


def fixed_changes(before: Settings, after: Settings) -> Iterator[str]:
    """The names of the fields that differ, and cannot change while the gateway serves: `server.port`."""
    for table in Settings.__struct_fields__:
        one, other = getattr(before, table), getattr(after, table)
        if table in LIVE or one == other:
            continue
        if one is None or other is None:
            yield table
            continue
        yield from (f"{table}.{name}" for name in one.__struct_fields__ if getattr(one, name) != getattr(other, name))
    # Its chats are known by the agent that they are with.
    agents = {each.id: each.agent for each in before.agent_types}
    for each in after.agent_types:
        if agents.get(each.id, each.agent) != each.agent:
            yield f"the agent of {each.id}"
    if before.open != after.open:
        yield "keys (none are left)" if after.open else "keys (there were none)"
    elif after.counts and not before.counts:
        yield "keys (none read metrics, and nothing was counted)"


def live_changes(before: Settings, after: Settings) -> Iterator[str]:
    """The words for what differs in keys and agent types, by name: `keys: widget added, board removed`."""
    keys = [{key.name: key for key in settings.keys} for settings in (before, after)]
    types = [{each.id: each for each in settings.agent_types} for settings in (before, after)]
    if words := [*_differences(*keys)]:
        yield f"keys: {listed(words)}"
    if words := [*_differences(*types)]:
        yield f"agent types: {listed(words)}"


def _differences(before: Mapping[str, object], after: Mapping[str, object]) -> Iterator[str]:
    yield from (f"{name} added" for name in after if name not in before)
    yield from (f"{name} removed" for name in before if name not in after)
    yield from (f"{name} changed" for name in after if name in before and before[name] != after[name])
    if [*before] != [*after] and {*before} == {*after}:
        yield "in another order"
