"""The runs of background tasks: answers come as the same events as an agent's, and so are shown in the same way."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Protocol

from gateway.domain.errors import Stopped
from gateway.domain.events import Event, Stop, StopReason, Text, TokensCounted
from gateway.domain.request import Request
from gateway.domain.tasks import Task
from gateway.settings import Tasks
from gateway.tasks.answers import to_answer, to_empty_answer
from gateway.turns.runs.account import Account, untold
from gateway.turns.runs.log import Reader, RunLog

ENDS = (Stop(StopReason.END), TokensCounted())


class TaskModel(Protocol):
    """A plain model, which has no memory and knows nobody."""

    def answer(self, body: bytes) -> AsyncGenerator[Event, None]:
        """The answer to the request in `body`, as it comes. Raises GatewayError."""
        ...

    async def aclose(self) -> None: ...


class TaskRuns:
    """Starts a run for each task; a run ends when its client leaves. `model` answers, if there is one.

    Without a model the gateway answers itself, or gives empty answers if the settings say so (`answer = "off"`).
    """

    def __init__(self, settings: Tasks, model: TaskModel | None = None) -> None:
        self._settings = settings
        self._model = model
        self._under_way: set[asyncio.Task[None]] = set()

    @property
    def asks_model(self) -> bool:
        """True: a plain model answers, which costs something."""
        return self._model is not None

    def start(self, task: Task, request: Request, body: bytes) -> Reader:
        """Answer a task; returns a reader of the answer's events. A model's answer has an account."""
        if self._model:
            return self._ask(self._model, body)
        log = RunLog(lambda: None)
        answer = to_empty_answer(task, request) if self._settings.answer == "off" else to_answer(task, request)
        log.append([Text(answer), *ENDS])
        log.end()
        return log.follow()

    def _ask(self, model: TaskModel, body: bytes) -> Reader:
        def leave() -> None:
            asking.cancel()

        log, account = RunLog(leave), Account()
        asking = asyncio.create_task(_tell(model, body, log, account))
        self._under_way.add(asking)
        asking.add_done_callback(self._under_way.discard)
        asking.add_done_callback(lambda _: account.close())
        reader = log.follow()
        reader.account = account
        return reader

    def stop(self) -> None:
        """End all runs under way; their readers are told."""
        for asking in self._under_way:
            asking.cancel()

    async def aclose(self) -> None:
        """End all runs under way, and close the model."""
        self.stop()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        if self._model:
            await self._model.aclose()


async def _tell(model: TaskModel, body: bytes, log: RunLog, account: Account) -> None:
    try:
        async with aclosing(model.answer(body)) as events:
            async for event in events:
                log.append([event])
                if isinstance(event, TokensCounted):
                    account.count(event)
    except asyncio.CancelledError:
        # Who reads it still is told why: it was not by a reader that left.
        log.fail(Stopped("the gateway is shutting down"))
        raise
    except Exception as error:
        log.fail(error)
    finally:
        log.end()
        if not account.tokens.total:
            # Some endpoints tell no usage, and none does of an answer that is broken off.
            account.count(untold(log.since(0), len(body), cut=False), estimated=True)
