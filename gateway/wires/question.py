"""The question whether an agent may do what it may not do alone, in the chat's own words. Performs no I/O."""

import json
import re

from gateway.domain.events import MAX_SHOWN, CallPiece, shortened
from gateway.domain.request import NO_ARGUMENTS
from gateway.domain.texts.halves import mend, whole

_INTRODUCTION = "**May I do this?** It needs your approval:"
_ANSWER = "Please answer **yes** or **no** (or “no, because …”); anything else counts as a no."
# How a question begins; it is known again in a history, of which it is no part for the agent.
QUESTION = f"{_INTRODUCTION}\n"
# The lines of the calls: all of them begin so, and so nothing in the calls ends a question.
_CALLS = re.compile(r"(?:(?:- run `|  )[^\n]*\n|\n)+")
_FENCE = re.compile(r"`{3,}")


def asks(answer: str) -> bool:
    """Tell answers that hold a question, as their client tells them, from others."""
    return _INTRODUCTION in answer


def end_of_question(text: str, start: int) -> tuple[int, bool]:
    """Find the end of a question whose beginning ends at `start`; the second value is False where it is none.

    A text that is none ends with the lines that could be of its calls; within them no other question has its end.
    """
    calls = _CALLS.match(text, start)
    end = calls.end() if calls else start
    is_one = calls is not None and text.startswith(_ANSWER, end)
    return end + len(_ANSWER) * is_one, is_one


class Questions:
    """Collects the calls that wait for an approval, and asks about them."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._arguments: dict[str, list[str]] = {}

    def call(self, call: CallPiece) -> None:
        """Take a call, or a piece of one."""
        self._names[call.id] = call.name or self._names.get(call.id, "")
        self._arguments.setdefault(call.id, []).append(call.arguments)

    def calls(self) -> list[CallPiece]:
        """All calls, whole, with arguments that every client decodes."""
        joined = {id: "".join(pieces) for id, pieces in self._arguments.items()}
        return [CallPiece(id, name, mend(joined[id]) or NO_ARGUMENTS) for id, name in self._names.items()]

    def ask(self) -> str:
        """Word the question about all calls; it is empty where nothing waits."""
        if not self._names:
            return ""
        arguments = {id: "".join(pieces) for id, pieces in self._arguments.items()}
        calls = "\n".join(f"- run `{name}` with\n{_shown(arguments[id])}" for id, name in self._names.items())
        return f"{_INTRODUCTION}\n\n{calls}\n\n{_ANSWER}"


def _shown(arguments: str) -> str:
    """Arguments as a person reads them: in a block of code that they cannot end."""
    text = whole(arguments if len(arguments) > MAX_SHOWN else _indented(arguments))
    fence = "`" * max([3, *(len(found) + 1 for found in _FENCE.findall(text))])
    lines = [f"{fence}json", *shortened(text).split("\n"), fence]
    return "\n".join(f"  {line}" for line in lines)


def _indented(arguments: str) -> str:
    """Indent JSON; arguments that are none stay as they came."""
    try:
        return json.dumps(json.loads(mend(arguments)), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return arguments
