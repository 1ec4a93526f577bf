"""A turn of an App Server's conversation, from its first message to its end, over any number of requests.

The App Server asks for each call by itself, one after the other, and holds the turn meanwhile: what the gateway will
answer is told to it call by call, when it asks.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from msgspec import Struct

from gateway.domain import errors
from gateway.domain.messages import Image, Message, PendingCall
from gateway.letta.app_server.connection import AppServerConnection, Inbox, OpenSocket
from gateway.letta.app_server.frames import ControlRequest, Runtime, ToolRequest, TurnReader
from gateway.letta.notes import CLIENT_GAVE_NO_ANSWER, NOT_AVAILABLE, denial
from gateway.letta.parts import flattened, to_parts
from gateway.letta.upstream import Sending

logger = logging.getLogger(__name__)
OutgoingFrame = dict[str, Any]


class Reply(Struct, frozen=True):
    """What a call that waits is told: the result of a client's tool, or whether it is allowed."""

    text: str
    failed: bool = False
    images: tuple[Image, ...] = ()


class OpenTurn:
    def __init__(
        self,
        connection: AppServerConnection,
        socket: OpenSocket,
        runtime: Runtime,
        reader: TurnReader,
        inbox: Inbox,
    ) -> None:
        self.socket = socket
        """The calls are asked over it, and can be answered over no other."""
        self.runtime = runtime
        self.reader = reader
        self.inbox = inbox
        self._connection = connection
        self.stack = ExitStack()
        """What ends with the turn."""
        self._asked: dict[str, Callable[[Reply], OutgoingFrame]] = {}
        """Calls that the App Server waits for, and how each is answered."""
        self._given: dict[str, Reply] = {}
        """Answers to calls that it has not asked for yet."""
        self._telling: set[asyncio.Task[None]] = set()
        self.limit: asyncio.TimerHandle | None = None
        self.altered = False
        """Whether its conversation's model settings are not its agent's."""

    @property
    def conversation_id(self) -> str:
        return self.runtime.conversation_id or ""

    @property
    def began_with(self) -> str:
        """The client id of its first message."""
        return self.reader.first_id

    @property
    def pending(self) -> tuple[PendingCall, ...]:
        """The calls that wait for somebody else than the gateway."""
        return tuple(PendingCall(id, name) for id, name in self.reader.waiting.items())

    def take(self, request: ToolRequest) -> None:
        """A call of a client's tool."""
        self._wait(request.tool_call_id, lambda reply: _result(request.request_id, reply))

    def ask(self, asked: ControlRequest) -> None:
        """A call that needs an approval: not of a tool that the gateway or its client carries out."""
        name, id = asked.request.tool_name, asked.request.tool_call_id
        if name in self.reader.external:
            self._tell(self._decision(asked.request_id, Reply("")))
        elif name in self.reader.builtin:
            self._wait(id, lambda reply: self._decision(asked.request_id, reply))
        else:
            self._tell(self._decision(asked.request_id, Reply(NOT_AVAILABLE, failed=True)))

    def _wait(self, id: str, answer: Callable[[Reply], OutgoingFrame]) -> None:
        reply = self._given.pop(id, None)
        if reply:
            self._tell(answer(reply))
        else:
            self._asked[id] = answer

    def answer(self, sending: Sending, client_message_ids: list[str]) -> None:
        """Tell what the calls wait for, now or once each is asked for; the turn goes on."""
        why_not = denial(sending.reason, bool(sending.messages), CLIENT_GAVE_NO_ANSWER)
        replies = {id: Reply(why_not, failed=True) for id in self.reader.waiting}
        replies |= {one.tool_call_id: Reply(one.said.content, images=one.images) for one in sending.results}
        replies |= {id: Reply("") for id in sending.approved}
        # Of calls with one id the App Server asks for one result, and its model has no other way to hear of the rest.
        replies |= {id: _joined([replies[one] for one in (id, *twins)]) for id, twins in self.reader.twins.items()}
        self._reply(replies)
        self.reader.resume(client_message_ids)

    def _reply(self, replies: dict[str, Reply]) -> None:
        for id, reply in replies.items():
            answer = self._asked.pop(id, None)
            if answer:
                self._tell(answer(reply))
            else:
                self._given[id] = reply

    def give_up(self) -> None:
        """OutgoingFrame what is asked of a turn that was aborted: until then it does not end."""
        self._reply({id: Reply(CLIENT_GAVE_NO_ANSWER, failed=True) for id in [*self.reader.waiting, *self._asked]})

    def _decision(self, request_id: str, reply: Reply) -> OutgoingFrame:
        decision = {"behavior": "deny", "message": reply.text} if reply.failed else {"behavior": "allow"}
        payload = {"kind": "approval_response", "request_id": request_id, "decision": decision}
        return {"type": "input", "runtime": self.runtime, "payload": payload}

    def _tell(self, answer: OutgoingFrame) -> None:
        telling = asyncio.create_task(self._connection.tell(answer))
        self._telling.add(telling)
        telling.add_done_callback(self._told)

    def _told(self, telling: asyncio.Task[None]) -> None:
        self._telling.discard(telling)
        if not telling.cancelled() and telling.exception():
            logger.warning("an answer to a call could not be told: %s", telling.exception())

    async def ended(self) -> bool:
        """Reads on until the turn ends, or cannot any more; whether it has."""
        while not self.reader.finished and not self.reader.failure:
            frame = await self.inbox.get()
            if isinstance(frame, errors.UpstreamError):
                return False
            self.reader.receive(frame)
        return self.reader.finished

    def close(self) -> None:
        if self.limit:
            self.limit.cancel()
        self.stack.close()


def _joined(replies: list[Reply]) -> Reply:
    text = "\n".join(reply.text for reply in replies)
    return Reply(text, all(reply.failed for reply in replies), tuple(image for one in replies for image in one.images))


def _result(request_id: str, reply: Reply) -> OutgoingFrame:
    content = flattened(to_parts(Message("user", reply.text, images=reply.images)))
    result = {"content": content, "is_error": reply.failed}
    return {"type": "external_tool_call_response", "request_id": request_id, "result": result}
