"""The memory tools of agents on an App Server, which has none that are safe: names, checks, edits. Performs no I/O.

An agent's memory is a folder of Markdown files, each a block of its system prompt after some lines of front matter.
What an agent may change is the text of such a file, by the names and arguments that Letta's own memory tools have:
https://docs.letta.com/guides/agents/memory-blocks
"""

import re
from collections.abc import Callable
from typing import Any

# Files at the root of the memory folder only. `.git`, where an edit runs commands, `mods` and sub-folders are none.
LABEL = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
# What the App Server takes of a file; beyond it, a write fails and leaves the file changed all the same.
MAX_CHARACTERS = 20_000
_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)

_LABEL = {"type": "string", "description": "The memory block: its tag in your system prompt, such as `human`."}
MEMORY_TOOLS: list[dict[str, Any]] = [
    {
        "name": "memory_insert",
        "description": "Remember something for all later conversations: insert text into one of your memory blocks.",
        "parameters": {
            "type": "object",
            "properties": {
                "label": _LABEL,
                "new_string": {"type": "string", "description": "The text to insert, as a line of its own."},
                "insert_line": {
                    "type": "integer",
                    "description": "The line after which it goes, 0 for the beginning; -1, the default, for the end.",
                },
            },
            "required": ["label", "new_string"],
        },
    },
    {
        "name": "memory_replace",
        "description": "Correct what you remember: replace a text in one of your memory blocks by another.",
        "parameters": {
            "type": "object",
            "properties": {
                "label": _LABEL,
                "old_string": {"type": "string", "description": "The text as it stands there, which must be unique."},
                "new_string": {"type": "string", "description": "What takes its place; empty to forget it."},
            },
            "required": ["label", "old_string", "new_string"],
        },
    },
]
MEMORY_TOOL_NAMES = frozenset(str(tool["name"]) for tool in MEMORY_TOOLS)


class Rejected(Exception):
    """The agent called a tool in a way that cannot be carried out; the text is for the agent."""


def path_of(arguments: dict[str, Any]) -> str:
    """The file of the block that `arguments` name, relative to the memory folder. Raises Rejected."""
    label = arguments.get("label")
    if not isinstance(label, str) or not LABEL.fullmatch(label):
        raise Rejected("`label` must be the name of one of your memory blocks.")
    return f"{label}.md"


def is_block(file: str) -> bool:
    """True if a file has the form of a memory block's."""
    return bool(_FRONT_MATTER.match(file))


def edit(tool: str, arguments: dict[str, Any], file: str) -> str:
    """The file after the change, its front matter as it was. Raises Rejected."""
    found = _FRONT_MATTER.match(file)
    head = found[0] if found else ""
    changed = head + _EDITS[tool](arguments, file[len(head) :])
    if len(changed) > MAX_CHARACTERS:
        raise Rejected(f"The block would be longer than {MAX_CHARACTERS} characters: shorten it first.")
    return changed


def _insert(arguments: dict[str, Any], text: str) -> str:
    new = _string(arguments, "new_string")
    at = arguments.get("insert_line", -1)
    # Not splitlines, which takes other characters for the end of a line, too, and would not give them back.
    lines = text.removesuffix("\n").split("\n") if text else []
    if not isinstance(at, int) or not -1 <= at <= len(lines):
        raise Rejected(f"`insert_line` must be a line of the block, 0 to {len(lines)}, or -1 for its end.")
    if at == -1:
        at = len(lines)
    return "\n".join([*lines[:at], new, *lines[at:]])


def _replace(arguments: dict[str, Any], text: str) -> str:
    old, new = _string(arguments, "old_string"), _string(arguments, "new_string")
    at = text.find(old) if old else -1
    if at < 0:
        raise Rejected("`old_string` must stand in the block exactly once; it does 0 times.")
    # Those that overlap count as well: `count` would take "bbb" for one "bb".
    if text.find(old, at + 1) >= 0:
        raise Rejected("`old_string` must stand in the block exactly once; it does more often.")
    return text.replace(old, new)


def _string(arguments: dict[str, Any], name: str) -> str:
    value = arguments.get(name)
    if not isinstance(value, str):
        raise Rejected(f"`{name}` must be a text.")
    return value


_EDITS: dict[str, Callable[[dict[str, Any], str], str]] = {"memory_insert": _insert, "memory_replace": _replace}
