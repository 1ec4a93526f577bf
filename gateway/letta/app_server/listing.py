"""The content of a conversation, from an App Server's listing of it. Performs no I/O."""

import msgspec

from gateway.domain.messages import Image, Message, message_of
from gateway.domain.texts.halves import UNREADABLE
from gateway.letta.app_server import memory
from gateway.letta.app_server.frames import KeptMessage
from gateway.letta.app_server.input import EarlierLine
from gateway.letta.notes import CLIENT_REMINDER, EARLIER_REMINDER, SAID, WITHDRAWN, looks_like_a_note, told_in
from gateway.letta.parts import from_parts
from gateway.letta.past import add_message, merge_answers
from gateway.letta.upstream import Past


def to_past(listed: list[KeptMessage]) -> Past:
    """The content of a conversation, from its listing, the oldest message first."""
    messages: list[Message] = []
    told = ""
    for one in listed:
        if one.message_type == "assistant_message":
            add_message(messages, Message("assistant", "".join(one.texts), id=one.id))
        elif one.message_type == "user_message":
            notes, said = _told_apart(one)
            for one_note in notes:
                instructed, lines = told_in(one_note, CLIENT_REMINDER), told_in(one_note, EARLIER_REMINDER)
                told = told if instructed is None else instructed
                messages += _earlier(lines or "")
            add_message(messages, message_of("user", said, one.otid or "", one.id))
    return Past(merge_answers(messages), "" if told == WITHDRAWN else told)


def _told_apart(message: KeptMessage) -> tuple[list[str], list[str | Image]]:
    """The notes before a user's message, and the message; one that is nothing but a note is the App Server's own.

    The last part is the person's, whatever it looks like, where the message came from a gateway; so is what follows
    SAID.
    """
    pieces = list(from_parts(message.content))
    said = len(pieces) - 1 if (message.otid or "").startswith("gw") else len(pieces)
    if SAID in pieces[:said]:
        said = pieces.index(SAID) + 1
    before = pieces[:said]
    notes = [piece for piece in before if isinstance(piece, str) and looks_like_a_note(piece)]
    return notes, [piece for piece in before if piece not in notes] + pieces[said:]


def _earlier(lines: str) -> list[Message]:
    try:
        told = [msgspec.json.decode(line, type=EarlierLine) for line in lines.split("\n")]
    except UNREADABLE:
        return []
    return [Message(one.role, one.content, images=one.pictures) for one in told]


def unfinished(newest_first: list[KeptMessage], began_with: str | None, stuck: bool) -> int:
    """The number of the newest messages that belong to a turn without an end.

    It began with the message of the client id `began_with`, where that is known and was stored. Else it is what the
    user said last, with all that came of it, if nothing did or if the conversation is known to be `stuck` in it.
    """
    ids = [message.otid for message in newest_first]
    if began_with in ids and began_with:
        return ids.index(began_with) + 1
    kinds = [message.message_type for message in newest_first]
    said = next((i for i, kind in enumerate(kinds) if kind == "user_message"), len(kinds))
    if not stuck and any(kind != "reasoning_message" for kind in kinds[:said]):
        return 0
    return next((i for i in range(said, len(kinds)) if kinds[i] != "user_message"), len(kinds))


def calls_wait(newest_first: list[KeptMessage]) -> bool:
    """True if the last turn has calls without a result, of tools that the gateway does not carry out itself.

    Only the gateway that has begun such a turn can answer them.
    """
    said = next((i for i, one in enumerate(newest_first) if one.message_type == "user_message"), len(newest_first))
    returned = {one.tool_call_id for one in newest_first[:said]}
    calls = [one.tool_call for one in newest_first[:said] if one.message_type == "approval_request_message"]
    return any(
        call and call.tool_call_id not in returned and call.name not in memory.MEMORY_TOOL_NAMES for call in calls
    )
