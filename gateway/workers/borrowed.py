"""A worker's share in what is its parent's: an App Server, and all that is known of the workers together."""

from typing import Any

from gateway.choices import upstream_for
from gateway.domain import errors
from gateway.domain.errors import Overloaded
from gateway.http.middleware import ENDING
from gateway.http.seen.chats import ChatsUnderWay
from gateway.letta.embedded.directory import state_backend, state_of
from gateway.letta.embedded.kept import KeptUpstream
from gateway.letta.upstream import Upstream
from gateway.settings import Settings
from gateway.together import Together
from gateway.workers.channel import Channel, Unheard, read


class BorrowedUpstream(KeptUpstream):
    """An `Upstream` over the App Server of the parent's, which alone starts, mends and ends it."""

    def __init__(self, settings: Settings, channel: Channel, together: Together) -> None:
        self._channel = channel
        backend = state_backend(state_of(settings.letta.state).absolute())
        super().__init__(
            settings, backend, self._address, self._ask_for_restart, lines=together.lines, elsewhere=together.relay
        )

    async def start(self) -> None:
        """Wait until the App Server is there, as a gateway that has one of its own does."""
        try:
            await self._address()
        except errors.Unreachable:
            return  # The parent has it start again, and chats say so meanwhile.

    async def _address(self) -> tuple[str, str]:
        try:
            url, token = read(await self._channel.ask("letta"), tuple[str, str])
        except Unheard as error:
            raise errors.Unreachable(str(error)) from error
        return url, token

    async def _ask_for_restart(self) -> bool:
        """Have the parent start it again; False if a turn is under way in any worker."""
        try:
            return bool(read(await self._channel.ask("restart"), bool))
        except Unheard as error:
            raise errors.Unreachable(str(error)) from error


def upstream_of(settings: Settings, channel: Channel, together: Together) -> Upstream:
    """The Letta that the settings name, as a worker speaks to it; not yet started."""
    if settings.letta.kind == "embedded":
        return BorrowedUpstream(settings, channel, together)
    return upstream_for(settings, together)


class WholeGateway:
    """All workers together, by asking the parent; carries out `http.parts.Whole`."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def check(self) -> None:
        if lacking := await self._ask("ready", str):
            raise Overloaded(lacking)

    async def numbers(self) -> bytes:
        numbers: str = await self._ask("numbers", str)
        return numbers.encode()

    async def chats(self) -> ChatsUnderWay:
        chats: ChatsUnderWay = await self._ask("chats", ChatsUnderWay)
        return chats

    async def _ask(self, kind: str, answer: type[Any]) -> Any:
        try:
            return read(await self._channel.ask(kind), answer)
        except Unheard:
            # The parent has gone, and this process is about to.
            raise Overloaded(ENDING) from None
