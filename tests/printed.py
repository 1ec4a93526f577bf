"""The configurations of the gateway that the project prints: files to copy, and blocks of its pages."""

import re
from pathlib import Path
from textwrap import dedent

from msgspec import Struct

from gateway.configuration import load
from gateway.settings import Settings
from tests.readme import PAGES, ROOT

LETTAS = {"App Server": "ws://127.0.0.1:4500", "V1 server": "http://127.0.0.1:8283"}
"""The kinds of Letta that lines of a configuration are marked with, and an address of each."""
WHOLE = "gateway.toml"
"""The file that a whole configuration is printed as; a block that has no name is a part, for the whole one above it.

One of another name is another program's.
"""
# The pages that say what the files to copy want.
FILES = {
    "deploy/compose/gateway.toml": "compose.yaml",
    "deploy/kubernetes/own-letta/gateway.toml": "deploy/kubernetes/README.md",
    "deploy/open-webui/gateway.toml": "deploy/open-webui/README.md",
}
_FENCED = re.compile(r"^( *)(```|~~~)(\w+) ?(\S*)\n(.*?)^\1\2$", re.MULTILINE | re.DOTALL)
# `# base_url = "ws://127.0.0.1:4500"   # App Server`, in which a colon may be followed by more words.
_MARKED = re.compile(rf"^# (.+?) +# ((?:{'|'.join(LETTAS)})(?:, (?:{'|'.join(LETTAS)}))*)(?::.*)?$", re.MULTILINE)
_VARIABLE = re.compile(r"^[^#\n]*\$\{(\w+)\}", re.MULTILINE)


class Block(Struct, frozen=True):
    """A fenced block of a page."""

    language: str
    name: str
    """The file that it is printed as; may be empty."""
    text: str


class Configuration(Struct, frozen=True):
    """A configuration of the gateway as it is printed."""

    page: str
    """The page that says what it wants."""
    text: str
    explained: str
    """What that page says beside its configurations."""

    @property
    def variables(self) -> set[str]:
        """The names of the variables that it takes from the environment."""
        return set(_VARIABLE.findall(self.text))

    @property
    def lettas(self) -> list[str]:
        """The kinds of Letta that it has lines for, beside those that hold as they are."""
        marks = " ".join(mark for _, mark in _MARKED.findall(self.text))
        return [letta for letta in LETTAS if letta in marks]

    def for_letta(self, letta: str) -> "Configuration":
        """This configuration with the lines for that kind of Letta in force."""
        text = _MARKED.sub(lambda match: match[1] if letta in match[2] else match[0], self.text)
        return Configuration(self.page, text, self.explained)

    def in_front_of(self, letta: str, base_url: str, api_key: str) -> "Configuration":
        """This configuration in front of a Letta of that kind that answers elsewhere, and asks for a key."""
        one = self.for_letta(letta)
        named = f'base_url = "{LETTAS[letta]}"'
        assert named in one.text
        text = one.text.replace(named, f'base_url = "{base_url}"\napi_key = "{api_key}"')
        return Configuration(self.page, text, self.explained)

    def environment(self, **changes: str) -> dict[str, str]:
        """The variables that it takes and its page names, and nothing else; each has a value of its own, or that of
        `changes`.
        """
        named = [name for name in self.variables if re.search(rf"\b{name}\b", self.explained)]
        return {name: changes.get(name, f"{name}-{'x' * 32}") for name in named}

    def settings(self, directory: Path, **changes: str) -> Settings:
        """What it says to a gateway that finds it in `directory`. Raises SettingsError."""
        return load(self.written(directory), self.environment(**changes))

    def written(self, directory: Path) -> Path:
        """The file, as somebody who follows the page has it."""
        file = directory / WHOLE
        file.write_text(self.text, encoding="utf-8")
        return file


def blocks(page: str) -> list[Block]:
    """The fenced blocks of a page, `deploy/clients.md`, that say in which language they are."""
    found = _FENCED.findall(PAGES[page].read_text(encoding="utf-8"))
    return [Block(language, name, dedent(text)) for _, _, language, name, text in found]


def on_page(page: str) -> list[Configuration]:
    """The configurations on a page. A part comes with the whole one above it, or stands for itself if there is none."""
    text = PAGES[page].read_text(encoding="utf-8")
    explained = _FENCED.sub(lambda match: "" if match[3] == "toml" else match[0], text)
    found, whole = [], ""
    for block in blocks(page):
        if block.language == "toml" and block.name in ("", WHOLE):
            whole = "" if block.name == WHOLE else whole
            found.append(Configuration(page, f"{whole}\n{block.text}" if whole else block.text, explained))
            whole = block.text if block.name == WHOLE else whole
    return found


def configurations() -> dict[str, Configuration]:
    """All configurations that are printed, by their places."""
    blocks = {f"{page} {i}": one for page in PAGES for i, one in enumerate(on_page(page), 1)}
    texts = {file: ((ROOT / file).read_text("utf-8"), (ROOT / page).read_text("utf-8")) for file, page in FILES.items()}
    return blocks | {file: Configuration(FILES[file], *both) for file, both in texts.items()}


def copied_files() -> set[str]:
    """The files that are there to be copied, of whatever program they are the configuration."""
    kinds = (".toml", ".yaml", ".yml", ".env", ".conf", ".service", ".json")
    found = [file for file in [*ROOT.glob("*.*"), *(ROOT / "deploy").rglob("*")] if file.suffix in kinds]
    return {str(file.relative_to(ROOT)) for file in found} - {"pyproject.toml"}
