"""The requests under way, and those who are told of each that ends: metrics, and traces."""

from collections.abc import Sequence
from functools import partial
from typing import Protocol

from gateway.http.record import Record


class Observer(Protocol):
    """One who counts requests, or tells of them, by their records alone. Neither call may raise, or take long."""

    def ended(self, record: Record) -> None:
        """A request is over; the run that it has begun may go on."""
        ...

    def closed(self, record: Record) -> None:
        """The run that a request has begun is over, and its account is complete; called after `ended`."""
        ...


class RequestsUnderWay:
    """The records of all requests under way; `observers` are told when each is over."""

    def __init__(self, observers: Sequence[Observer] = ()) -> None:
        self._observers = observers
        self._records: dict[str, Record] = {}

    def begin(self, record: Record) -> None:
        self._records[record.id] = record

    def end(self, record: Record) -> None:
        """Write the record: its request is over."""
        self._records.pop(record.id, None)
        record.end()
        self.observe(record)

    def observe(self, record: Record) -> None:
        """Tell of a request that is over, or of bytes that never became one."""
        if not self._observers:
            return
        for observer in self._observers:
            observer.ended(record)
        if record.account:
            record.account.when_closed(partial(self._close, record))

    def _close(self, record: Record) -> None:
        for observer in self._observers:
            observer.closed(record)

    @property
    def chats(self) -> list[Record]:
        """The records of the requests that agents answer now, streamed or not."""
        return [record for record in self._records.values() if record.agent_type]

    @property
    def streams(self) -> int:
        """The number of answers that are streamed now."""
        return sum(record.streamed for record in self._records.values())
