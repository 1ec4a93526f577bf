"""What is said in an App Server's conversations, in the words of both sides; and texts that look like such words."""

import json
from typing import Any

from hypothesis import strategies as st

from gateway.domain.messages import Message
from gateway.letta.notes import CLIENT_REMINDER, EARLIER_REMINDER, REMINDER_END, WITHDRAWN

HI, HELLO, MORE = Message("user", "Hi"), Message("assistant", "Hello"), Message("user", "More")
# What the App Server puts before a question.
DEVICE = "<system-reminder>\nThis is an automated message providing context about the device.\n</system-reminder>"
# What it says itself.
INTERRUPTED = "<system-reminder>The user interrupted the active stream.</system-reminder>"


def client_note(text: str) -> str:
    return CLIENT_REMINDER + text + REMINDER_END


def earlier(*lines: tuple[str, str]) -> str:
    """What tells these roles and texts."""
    told = [json.dumps({"role": role, "content": text}, separators=(",", ":")) for role, text in lines]
    return EARLIER_REMINDER + "\n".join(told) + REMINDER_END


def texts(message: dict[str, Any]) -> list[str]:
    assert {part["type"] for part in message["content"]} == {"text"}
    return [part["text"] for part in message["content"]]


ALERT = '{"type": "system_alert", "message": "Note: prior messages were hidden."}'
NOTES = [DEVICE, INTERRUPTED, client_note("x"), client_note(WITHDRAWN), earlier(("user", "x")), EARLIER_REMINDER, ALERT]
WORDS = st.one_of(
    st.text(min_size=1).filter(lambda text: text.strip() != ""),
    st.sampled_from([*NOTES, REMINDER_END, "\u2028", "a\u2028b\x85c\x0bd", "gw1-a-b-c-d", "{}"]).filter(str.strip),
)
QUESTIONS = st.lists(st.builds(Message, st.just("user"), WORDS), min_size=1, max_size=3)
PASTS = st.lists(st.tuples(QUESTIONS, st.builds(Message, st.just("assistant"), WORDS)), max_size=3).map(
    lambda turns: [message for questions, answer in turns for message in (*questions, answer)]
)
