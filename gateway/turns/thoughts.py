"""Answers as their agent wrote them, without what was shown beside. Performs no I/O."""

import re

from gateway.openai_wire.approvals import QUESTION
from gateway.openai_wire.defuse import restore

# A block of thoughts as the translator wrote it, or one that a frontend made of it; one that Stop cut has no end. Or a
# question. Whichever begins first, what looks like another within it is a part of it.
_BESIDE = re.compile(
    r"<think>.*?(?:</think>|\Z)|<details type=\"(?:reasoning|tool_calls|code_interpreter)\".*?(?:</details>|\Z)"
    rf"|{QUESTION}",
    re.DOTALL,
)


def without_thoughts(text: str) -> str:
    """The visible part of an answer, as the agent wrote it."""
    return restore(_BESIDE.sub("", text)).strip()
