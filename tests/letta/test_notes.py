"""The gateway's notes have one home."""

from pathlib import Path

import pytest

import gateway
from gateway.letta import notes

HOME = Path(gateway.__file__).parent
# The offline model imports nothing of the gateway's, and knows what any App Server says.
STANDS_ALONE = HOME / "offline"
FILES = {
    str(path.relative_to(HOME)): path
    for suffix in ("py", "js", "html")
    for path in sorted(HOME.rglob(f"*.{suffix}"))
    if path != Path(notes.__file__) and STANDS_ALONE not in path.parents
}


def _known() -> set[str]:
    """What tells each note, or a part of one, from other words."""
    texts = [value for name, value in vars(notes).items() if name.isupper() and isinstance(value, str)]
    return {max(text.splitlines(), key=len) for text in texts} | {"<client_instructions>", "system_alert"}


def test_the_notes_are_known_to_this_test() -> None:
    assert {
        "<system-reminder>",
        "</system-reminder>",
        "<task-notification>",
        "Instructions of the client for this chat:",
        "There are none any more.",
        "What was said earlier in this chat:",
        "To answer what follows you have called tools, which gave:",
        "What follows is what the person says.",
        notes.CONTINUE,
    } <= _known()


@pytest.mark.parametrize("name", FILES)
def test_no_note_stands_anywhere_but_in_its_home(name: str) -> None:
    text = FILES[name].read_text(encoding="utf-8")

    assert {note for note in _known() if note in text} == set()


@pytest.mark.parametrize("beginning", notes.BEGINNINGS)
def test_a_note_begins_as_app_servers_notes_do(beginning: str) -> None:
    assert notes.looks_like_a_note(beginning)


def test_the_mod_knows_every_note_of_the_gateway_s() -> None:
    made = notes.with_notes((HOME / "letta" / "embedded" / "mod.js").read_text())

    assert "__" not in made
    assert all(repr(beginning)[1:-1] in made for beginning in notes.BEGINNINGS)
