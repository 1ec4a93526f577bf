"""The means by which a gateway agrees with others: a Redis that all of them share, or nothing at all."""

from typing import TYPE_CHECKING

from msgspec import Struct

from gateway.shared.lines import Lines, OwnLines

if TYPE_CHECKING:  # imported where there is a Redis
    from gateway.letta.elsewhere.relay import Relay
    from gateway.shared.redis_link import RedisLink
    from gateway.turns.elsewhere.directory import RunDirectory
    from gateway.turns.people.agents import Agents


class Together(Struct, frozen=True):
    """The means of one gateway: `Together()` runs alone."""

    lines: Lines = OwnLines()
    link: "RedisLink | None" = None
    directory: "RunDirectory | None" = None
    """The runs of all gateways, for requests that are sent again."""
    relay: "Relay | None" = None
    """The way to turns that wait in other processes."""

    @property
    def relayed(self) -> int:
        """The number of turns with which this gateway goes on for others."""
        return self.relay.serving if self.relay else 0

    def tell_news_of(self, agents: "Agents") -> None:
        """Have other gateways told whose memory a turn may have changed, and hear of theirs."""
        if self.link:
            from gateway.turns.elsewhere.memory_news import MemoryNews

            MemoryNews(self.link, agents)

    async def start(self) -> None:
        """Reach Redis, if it is there; called again, it does nothing. Raises nothing."""
        if self.link:
            await self.link.start()

    async def aclose(self) -> None:
        """Tell the others what is to be told, and end."""
        for part in (self.relay, self.directory, self.lines, self.link):
            if part:
                await part.aclose()
