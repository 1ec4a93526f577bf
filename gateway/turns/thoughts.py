"""Answers as their agent wrote them, without what was shown beside. Performs no I/O."""

import re

from gateway.openai_wire.approvals import QUESTION
from gateway.openai_wire.defuse import restore

# A block of thoughts as the translator wrote it, or one that a frontend made of it; one that Stop cut has no end.
_THOUGHTS = re.compile(
    r"<think>.*?(?:</think>|\Z)|<details type=\"(?:reasoning|tool_calls|code_interpreter)\".*?(?:</details>|\Z)",
    re.DOTALL,
)


def without_thoughts(text: str) -> str:
    """The visible part of an answer, as the agent wrote it."""
    return restore(QUESTION.sub("", _THOUGHTS.sub("", text))).strip()
