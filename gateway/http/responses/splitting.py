"""A reader of a run for whoever has had a part of its response: no event stands for pieces on both sides of that."""

from collections.abc import Callable, Iterator

from gateway.domain.errors import UpstreamError
from gateway.domain.events import Event, Text, Thought
from gateway.turns.runs.log import Reader, Told
from gateway.wires.narrator import Narrator
from gateway.wires.responses.encoder import ResponsesEncoder


class SplittingReader:
    """Takes from a reader; splits what is joined at the last event of the response that its client has had.

    The number of an event of the response is known once it is encoded: so all up to there is encoded here, too.
    """

    def __init__(self, reader: Reader, narrator: Narrator, encoder: ResponsesEncoder, after: int) -> None:
        self._reader, self._narrator, self._encoder, self._after = reader, narrator, encoder, after
        encoder.begin()

    def take(self) -> Told | None:
        """The events since the last time, as `Reader.take` gives them."""
        told = self._reader.take()
        if told is None or self._is_past:
            return told
        pairs = zip(told.events, told.numbers, strict=True)
        return Told([part for event, number in pairs for part in self._split(event, number)], told.numbers)

    @property
    def _is_past(self) -> bool:
        return self._encoder.number > self._after

    def _split(self, event: Event, number: int) -> Iterator[Event]:
        if not isinstance(event, Text | Thought) or event.pieces == 1 or self._is_past:
            self._encode(event)
            yield event
            return
        # Its first piece may open an item; from then on each piece is one event of the response.
        start = number - event.pieces
        yield from self._between(start, start + 1)
        had = min(max(self._after + 1 - self._encoder.number, 0), event.pieces - 1)
        yield from self._between(start + 1, start + 1 + had)
        yield from self._between(start + 1 + had, number)

    def _between(self, start: int, end: int) -> Iterator[Event]:
        for event in self._reader.between(start, end):
            self._encode(event)
            yield event

    def _encode(self, event: Event) -> None:
        try:
            self._encoder.encode(self._narrator.receive(event))
        except UpstreamError:
            # The run has failed with it: nothing follows.
            self._after = -1

    async def news(self) -> None:
        await self._reader.news()

    def listen(self, listener: Callable[[], None]) -> None:
        self._reader.listen(listener)

    def interrupt(self) -> None:
        self._reader.interrupt()

    def leave(self) -> None:
        self._reader.leave()
