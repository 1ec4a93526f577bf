"""The Dockerfile, read: its stages, and what each line of them is to do."""

import json
import re
from collections.abc import Iterator

from msgspec import Struct

_CONTINUED = re.compile(r"\\\n(?:#.*\n)*")
_FLAG = re.compile(r"--([a-z-]+)=(\S+) +")


class Instruction(Struct, frozen=True):
    """A line of a stage: `Instruction("COPY", {"from": "wheel"}, "/dist /dist")`."""

    name: str
    flags: dict[str, str]
    value: str

    @property
    def words(self) -> list[str]:
        """The value of a line in the form of JSON; else its words."""
        words: list[str] = json.loads(self.value) if self.value.startswith("[") else self.value.split()
        return words


class Stage(Struct, frozen=True):
    """A stage: `Stage("alone", "runtime", (…))`. The last one may have no name."""

    name: str
    base: str
    instructions: tuple[Instruction, ...]

    def last(self, name: str) -> Instruction | None:
        """The last line of that name: the one that holds."""
        return next((one for one in reversed(self.instructions) if one.name == name), None)


def read_stages(text: str) -> list[Stage]:
    """The stages of a Dockerfile, in their order."""
    stages: list[Stage] = []
    for one in _instructions(text):
        if one.name == "FROM":
            base, *named = one.words
            stages.append(Stage(named[1] if named else "", base, ()))
        else:
            stage = stages.pop()
            stages.append(Stage(stage.name, stage.base, (*stage.instructions, one)))
    return stages


def _instructions(text: str) -> Iterator[Instruction]:
    for line in _CONTINUED.sub("", text).splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.partition(" ")
            flags = {}
            while found := _FLAG.match(value):
                flags[found[1]] = found[2]
                value = value[found.end() :]
            yield Instruction(name, flags, value)
