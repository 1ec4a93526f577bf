"""Answers as their agent wrote them, without the thoughts, cards and questions that were shown beside.

Performs no I/O.
"""

from collections.abc import Iterator, Mapping

from gateway.wires.chat_completions.think_tags import restore
from gateway.wires.question import QUESTION, end_of_question

# A block of thoughts: how it begins, how it ends.
THOUGHTS = {"<think>": "</think>"}
_PARAGRAPH = "\n\n"


def visible_text(text: str, blocks: Mapping[str, str] = THOUGHTS) -> str:
    """The part of an answer that its agent wrote and a person sees.

    `blocks` are what is left out, by how each begins, with a `<`: how it ends.
    """
    if "<" not in text and QUESTION not in text:
        return text.strip()
    return restore("".join(_visible(text, blocks))).strip()


def _visible(text: str, blocks: Mapping[str, str]) -> Iterator[str]:
    """The pieces of a text between the blocks of thoughts and the questions.

    Whichever begins first, what looks like another within it is a part of it.
    """
    shown = 0
    begins = {mark: found for mark in (*blocks, QUESTION) if (found := text.find(mark)) >= 0}
    while begins:
        mark = min(begins, key=begins.__getitem__)
        start = begins[mark]
        if mark == QUESTION:
            end, is_one = end_of_question(text, start + len(mark))
            if not is_one:
                # Nor is any that begins within its lines.
                _go_on(begins, mark, text, end)
                continue
            if start >= shown + len(_PARAGRAPH) and text.startswith(_PARAGRAPH, start - len(_PARAGRAPH)):
                start -= len(_PARAGRAPH)
        else:
            end = _after(text, blocks[mark], start)
        yield text[shown:start]
        shown = end
        for mark in [mark for mark, at in begins.items() if at < end]:
            _go_on(begins, mark, text, end)
    yield text[shown:]


def _go_on(begins: dict[str, int], mark: str, text: str, start: int) -> None:
    """Find where the mark begins next; it leaves `begins` where it does not."""
    begins[mark] = text.find(mark, start)
    if begins[mark] < 0:
        del begins[mark]


def _after(text: str, end: str, start: int) -> int:
    """The place behind a block that begins at `start`; one that Stop cut has no end."""
    at = text.find(end, start)
    return len(text) if at < 0 else at + len(end)
