"""The thoughts, words and calls of the offline model: decided by the messages of one request alone. Performs no I/O."""

import json
import re
from collections import defaultdict
from itertools import takewhile
from typing import Literal

from msgspec import Struct

from gateway.offline.arguments import to_arguments
from gateway.offline.calls import tool_for
from gateway.offline.request import BadRequest, ChatRequest, Message

THOUGHT = "Let me think about it. "
INTRODUCTION = "I am the offline model: no language model is connected, so I can only repeat. "
MEMORY_TOOL = "memory_insert"
_NAME = r"(\w+(?:['’-]\w+)*)"
_INTRODUCES = rf"\b(?:my\s+name\s+is|my\s+name['’]s|I\s+am\s+called|I['’]m\s+called)\s+{_NAME}"
_TELLS_NAME = re.compile(_INTRODUCES, re.IGNORECASE)
_TELLS_FACT = re.compile(r"^[ \t]*(?:please,?\s+)?remember(?:\s+that\b|\s*:)\s*(\S.*)", re.IGNORECASE | re.MULTILINE)
_ASKS_NAME = re.compile(r"\bwhat(?:\s+is|['’]s)\s+my\s+name\s*(?:\?\s*)?\Z", re.IGNORECASE)
# Not in any case: a prompt that says "the file NAME IS" something means no person.
_KNOWS_NAME = re.compile(rf"[Nn]ame is {_NAME}|(?i:{_INTRODUCES})")
# A tool's result has no mark of its failure but its words: Letta's, and those of the gateway's own memory tools.
_FAILED = re.compile(r"\b(?:error|failed|could not|no such|there is no|must be|would be)\b", re.IGNORECASE)

Commands = dict[str, list[str]]


class ToolCall(Struct, frozen=True):
    id: str
    name: str
    arguments: str


class Script(Struct, frozen=True, kw_only=True):
    """One answer: what is in it, and how it comes."""

    thought: str = THOUGHT
    answer: str = ""
    calls: tuple[ToolCall, ...] = ()
    pause: float = 0.0
    units: int = 0
    """How many UTF-16 units each piece has; 0 for words."""
    status: int = 200
    ends: Literal["well", "hanging", "cut"] = "well"
    hangs_at_once: bool = False


def to_script(request: ChatRequest) -> Script:
    """The script that `request` asks for. Raises BadRequest for a command that nobody can follow."""
    # Reminders come after a tool's result, too: who spoke last is settled without them.
    heard = [message for message in request.messages if message.said is not None]
    last = next((message for message in reversed(heard) if message.role == "user"), Message("user"))
    asked = last.said or ""
    commands = _commands(asked)
    if heard and heard[-1].role == "tool":
        answer = _after_tools(asked, commands, heard)
        return Script(answer=answer, pause=_pause(commands), units=_units(commands))
    if commands.keys() <= {"!think", "!slow"}:
        if fact := _fact(asked):
            return _remember(fact, request, commands)
        if tool := tool_for(request, asked):
            calls = (_call(request, 0, tool.name, to_arguments(tool.parameters or {}, asked)),)
            return Script(thought=_last(commands, "!think", THOUGHT), calls=calls, pause=_pause(commands))
    return _scripted(asked, commands, request, last.pictures)


def _commands(asked: str) -> Commands:
    commands: Commands = defaultdict(list)
    for line in asked.splitlines():
        command, _, rest = line.partition(" ")
        if command.startswith("!"):
            commands[command].append(rest)
    return dict(commands)


def _last(commands: Commands, command: str, default: str = "") -> str:
    return commands.get(command, [default])[-1]


def _scripted(asked: str, commands: Commands, request: ChatRequest, pictures: int) -> Script:
    cut, partly = _last(commands, "!cut-after"), _last(commands, "!hang-after")
    tools = [tool.partition(" ") for tool in commands.get("!tool", ()) if tool.strip()]
    return Script(
        thought=_last(commands, "!think", THOUGHT),
        answer=cut or partly or _last(commands, "!say") or _answer(asked, request.messages) + _unseen(pictures),
        calls=tuple(
            _call(request, 0 if "!same-id" in commands else i, name, arguments or "{}")
            for i, (name, _, arguments) in enumerate(tools)
        ),
        pause=_pause(commands),
        units=_units(commands),
        status=_status(commands),
        ends="cut" if "!cut-after" in commands else "hanging" if "!hang-after" in commands else "well",
        hangs_at_once="!hang" in commands,
    )


def _answer(asked: str, messages: list[Message]) -> str:
    if _ASKS_NAME.search(asked):
        name = _known_name(messages)
        return f"Your name is {name}." if name else "I do not know your name."
    is_first = not any(message.role == "assistant" for message in messages)
    return f"{INTRODUCTION if is_first else ''}You said: {asked}"


def _unseen(pictures: int) -> str:
    if not pictures:
        return ""
    return f" (You showed {pictures} picture{'s' * (pictures > 1)}, which I cannot see.)"


def _known_name(messages: list[Message]) -> str | None:
    """The last name that anything of `messages` tells: the prompt with its memory, or what was said."""
    names = [name or told for message in messages for name, told in _KNOWS_NAME.findall(message.text)]
    return names[-1] if names else None


def _fact(asked: str) -> str | None:
    """The words that the person wants to be remembered, in words that stay true in anyone's mouth."""
    if _ASKS_NAME.search(asked):
        return None
    if name := _TELLS_NAME.search(asked):
        return f"Their name is {name[1]}."
    fact = _TELLS_FACT.search(asked)
    return fact[1].strip() if fact else None


def _remember(fact: str, request: ChatRequest, commands: Commands) -> Script:
    thought = _last(commands, "!think", f"I should remember this: {fact} ")
    if not request.offers(MEMORY_TOOL):
        answer = "I have noted that in this chat only: there is no memory that I could write to."
        return Script(thought=thought, answer=answer, pause=_pause(commands))
    arguments = json.dumps({"label": "human", "new_string": fact}, ensure_ascii=False)
    calls = (_call(request, 0, MEMORY_TOOL, arguments),)
    return Script(thought=thought, calls=calls, pause=_pause(commands))


def _call(request: ChatRequest, index: int, name: str, arguments: str) -> ToolCall:
    # A turn adds more messages than it makes calls: no later one has the same id.
    return ToolCall(f"call_{name}_{len(request.messages) + index}", name, arguments)


def _after_tools(asked: str, commands: Commands, heard: list[Message]) -> str:
    results = [message.text for message in takewhile(lambda message: message.role == "tool", reversed(heard))]
    result = "\n".join(reversed(results))
    fact = None if "!tool" in commands else _fact(asked)
    if fact is None:
        return f"Tool said: {result}"
    return f"I could not remember that. Tool said: {result}" if _has_failed(result, fact) else "I will remember that."


def _has_failed(result: str, fact: str) -> bool:
    """True if a memory tool says so: by a status, else in its first line; the rest may be all that is remembered."""
    if status := re.match(r'\s*\{\s*"status":\s*"(\w+)"', result):
        return status[1].lower() not in ("ok", "success")
    first_line = result.strip().partition("\n")[0]
    return bool(_FAILED.search(first_line.replace(fact, "")))


def _pause(commands: Commands) -> float:
    return _number(commands, "!slow", "milliseconds") / 1000


def _units(commands: Commands) -> int:
    return _number(commands, "!units", "UTF-16 units")


def _number(commands: Commands, command: str, of: str) -> int:
    number = _last(commands, command, "0").strip()
    if not re.fullmatch("[0-9]{1,6}", number):
        raise BadRequest(f"`{command}` takes a number of {of}.")
    return int(number)


def _status(commands: Commands) -> int:
    status = _last(commands, "!fail", "200").strip()
    if "!fail" in commands and not re.fullmatch("[45][0-9]{2}", status):
        raise BadRequest("`!fail` takes an HTTP status from 400 to 599.")
    return int(status)
