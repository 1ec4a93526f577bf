"""The question whether an agent may do what it may not do alone, in the chat's own words. Performs no I/O."""

import json
import re

from gateway.halves import mend, whole
from gateway.letta.events import ToolCall, shortened

_INTRODUCTION = "**May I do this?** It needs your approval:"
_ANSWER = "Please answer **yes** or **no** (or “no, because …”); anything else counts as a no."
# A question as `Questions` words it, as a pattern: known again in a history, of which it is no part for the agent.
# Nothing in the calls ends it: all of their lines begin so. Nothing before it is looked at again and again.
QUESTION = rf"(?:\n\n)?{re.escape(_INTRODUCTION)}\n(?:(?:- run `|  )[^\n]*\n|\n)+{re.escape(_ANSWER)}"
_FENCE = re.compile(r"`{3,}")


def asks(answer: str) -> bool:
    """Whether an answer, as its client tells it, holds a question."""
    return _INTRODUCTION in answer


class Questions:
    """Collects the calls that wait for an approval, and asks about them."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._arguments: dict[str, str] = {}

    def call(self, call: ToolCall) -> None:
        """A call, or a piece of one."""
        id = call.tool_call_id or ""
        self._names[id] = call.name or self._names.get(id, "")
        self._arguments[id] = self._arguments.get(id, "") + (call.arguments or "")

    def ask(self) -> str:
        """The question; empty where nothing waits."""
        if not self._names:
            return ""
        calls = "\n".join(f"- run `{name}` with\n{_shown(self._arguments[id])}" for id, name in self._names.items())
        return f"{_INTRODUCTION}\n\n{calls}\n\n{_ANSWER}"


def _shown(arguments: str) -> str:
    """Arguments as a person reads them: in a block of code that they cannot end."""
    try:
        text = json.dumps(json.loads(mend(arguments)), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        text = arguments
    text = whole(text)
    fence = "`" * max([3, *(len(found) + 1 for found in _FENCE.findall(text))])
    lines = [f"{fence}json", *shortened(text).split("\n"), fence]
    return "\n".join(f"  {line}" for line in lines)
