"""The messages that an App Server is sent. Performs no I/O.

It takes users' messages only: the answers that a conversation could not be given are sent as a note.
"""

import uuid
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct

from gateway.domain.messages import Image, Message, Role, last_answer
from gateway.domain.request import ClientTool
from gateway.letta.app_server import memory
from gateway.letta.app_server.frames import OutgoingFrame, offered_name
from gateway.letta.notes import CLIENT_REMINDER, EARLIER_REMINDER, SAID, WITHDRAWN, looks_like_a_note, note
from gateway.letta.parts import MessagePart, described, exchange_notes, flattened, text_part, to_parts
from gateway.letta.upstream import Instructions, Sending

Input = dict[str, Any]
# How long the App Server waits for the answer to a call at most, in seconds.
LONGEST_CALL_SECONDS = 300.0
# The gateway gives a call up before that.
LONGEST_WAIT_SECONDS = LONGEST_CALL_SECONDS - 10.0
# And for that to a call of one of the gateway's own tools: longer than the requests that it makes may take.
MEMORY_TIMEOUT_MS = 120_000
# What is longer than 21 MiB with what it adds itself (`MAX_DURABLE_QUEUED_INPUT_BYTES` in
# `letta_code/_payload/app/letta.js`) it does not queue; it does not say why.
LONGEST_INPUT_BYTES = 20 * 1024 * 1024


class EarlierLine(Struct, frozen=True, omit_defaults=True):
    """A message that was said earlier, as a line of JSON in a note."""

    role: Role
    content: str
    pictures: tuple[Image, ...] = ()
    """The pictures that it showed, without their data."""


def to_input(sending: Sending) -> list[Input]:
    """The messages of a turn, as the App Server takes them, each with an id that was never used.

    Where there are answers among them, the conversation could not be given its past: that is told in a note.
    """
    messages = sending.messages
    unanswered = last_answer(messages) + 1
    notes = _told(messages[:unanswered]) + _instructed(sending.instructions)
    sent = []
    for message in messages[unanswered:]:
        sent.append(_input(notes, message))
        notes = []
    return sent


def _input(notes: list[str], message: Message) -> Input:
    content = [*map(text_part, notes), *said_parts(message)]
    return {"role": "user", "content": content, "client_message_id": message.client_id or new_client_id()}


def said_parts(message: Message) -> list[MessagePart]:
    """The parts of a message. Notes before it tell what was called to answer it, and that its own words are no note."""
    notes, said = exchange_notes(message), to_parts(message)
    if message.images and any(looks_like_a_note(part.get("text", "")) for part in said):
        notes = [*notes, SAID]
    return [*map(text_part, notes), *said]


def new_client_id() -> str:
    """A client id for a message that has none."""
    return f"gw-{uuid.uuid4().hex}"


def _told(messages: list[Message]) -> list[str]:
    if not messages:
        return []
    told = [EarlierLine(message.role, message.content, message.light.images) for message in messages]
    lines = [msgspec.json.encode(one).decode() for one in told]
    return [note(EARLIER_REMINDER, "\n".join(lines))]


def _instructed(instructions: Instructions) -> list[str]:
    """The note of the client's text, unless the conversation was sent the same one last."""
    if instructions.text == instructions.sent_before:
        return []
    return [note(CLIENT_REMINDER, instructions.text or WITHDRAWN)]


def to_payload(sent: list[Input], builtin: list[str], clients: Iterable[ClientTool]) -> dict[str, Any]:
    """The `payload` of an `input` frame: messages, and all the tools that the agent may use in their turn."""
    return {
        "kind": "create_message",
        "messages": sent,
        "client_toolset": {"base": "none", "include": builtin},
        "client_tool_allowlist": [*builtin, *memory.MEMORY_TOOL_NAMES, *(offered_name(tool.name) for tool in clients)],
        "exclude_interactive_tools": True,
    }


def external_tools(clients: Iterable[ClientTool]) -> list[dict[str, Any]]:
    """The tools that the App Server does not carry out itself: the gateway's, and those of its client."""
    # `auto_background` would end a slow call as a message of the user's, which starts a turn by itself.
    limit = {"timeout_ms": int(LONGEST_CALL_SECONDS * 1000)}
    theirs = [{**described(tool), "name": offered_name(tool.name), **limit} for tool in clients]
    ours = [{**tool, "timeout_ms": MEMORY_TIMEOUT_MS} for tool in memory.MEMORY_TOOLS]
    return [{"tools": [{**tool, "auto_background": False} for tool in [*ours, *theirs]]}]


def client_ids(payload: dict[str, Any]) -> list[str]:
    """The client ids of the messages in a payload."""
    return [message["client_message_id"] for message in payload["messages"]]


class CallReply(Struct, frozen=True):
    """The reply to a call that waits: the result of a client's tool, or the words for why it is not allowed."""

    text: str = ""
    failed: bool = False
    images: tuple[Image, ...] = ()


def to_result(request_id: str, reply: CallReply) -> OutgoingFrame:
    """The frame that answers the request for the result of a call."""
    content = flattened(to_parts(Message("user", reply.text, images=reply.images)))
    result = {"content": content, "is_error": reply.failed}
    return {"type": "external_tool_call_response", "request_id": request_id, "result": result}


def merged(replies: list[CallReply]) -> CallReply:
    """One reply in place of several."""
    text = "\n".join(reply.text for reply in replies)
    images = tuple(image for reply in replies for image in reply.images)
    return CallReply(text, all(reply.failed for reply in replies), images)
