"""The page shows a text in a time that grows as the text does: its patterns, its Markdown, in Node.js."""

import json
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.growth import measure
from tests.growth.measure import GLANCE, LEAST, LINEAR, MOST, SECONDS
from tests.growth.patterns import WEB, Shape, of_the_page, shapes

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
LITERALS = of_the_page()
# Room for all that a measurement makes, on one thread: https://nodejs.org/api/cli.html#useful-v8-options
NODE = ("--expose-gc", "--single-threaded-gc", "--max-semi-space-size=256")
QUESTION = "**May I do this?** It needs your approval:\n\n- run `x` with\n  a\n"
LINES = {
    "spaces after a heading": Shape("#", " ", "x"),
    "spaces after a fence": Shape("```", " ", "`"),
    "spaces after a table": Shape("|a|\n|-|", " ", "x"),
    "spaces after a rule": Shape("---", " ", "x"),
    "spaces after an item": Shape("-", " ", "\tx"),
    "headings": Shape("", "# a\n", ""),
    "fences": Shape("", "```\n", ""),
    "fences that differ": Shape("", "```\n~~~\n", ""),
    "tildes": Shape("", "~", "`"),
    "quotes": Shape("", "> ", "a"),
    "lines of a quote": Shape("", "> a\n", ""),
    "items": Shape("", "- a\n", ""),
    "items within items": Shape("", "- ", "a"),
    "blank lines in an item": Shape("- a\n", "  b\n\n", ""),
    "fences in an item": Shape("- a\n", "  ```\n\n", ""),
    "blank lines after an item": Shape("- a", "\n", "b"),
    "columns": Shape("", "|a", ""),
    "rows": Shape("|a|b|\n|-|-|\n", "|c\n", ""),
    "tables": Shape("", "|a|\n|-|\n\n", ""),
    "paragraphs": Shape("", "a\n\n", ""),
    "lines of a paragraph": Shape("", "a|\n", ""),
}
WITHIN = {
    "ticks": Shape("", "` `` ", "```"),
    "code": Shape("`", " x", "`"),
    "padded code": Shape("` ", "x", "`"),
    "stars": Shape("", "*a ", ""),
    "closed stars": Shape("", "*a* ", ""),
    "brackets": Shape("", "[", ""),
    "links": Shape("", "[a](", ""),
    "links in links": Shape("", "[a](https://b.example) ", ""),
    "spaces in a link": Shape("[a](", " ", "x"),
    "spaces after a link": Shape("[a](b", " ", "x"),
    "titles": Shape("", '[a](b "', ""),
    "angles": Shape("", "<https://a", ""),
    "addresses": Shape("", "https://a.example/", ""),
    "stops": Shape("https://a", ".", ""),
    "escapes": Shape("", "\\", ""),
    "words": Shape("", "the other ", ""),
    "pictures": Shape("", "![a](data:image/png;base64,", ""),
    "a picture": Shape("![a](data:image/png;base64,", "A", "!"),
    "the end of a picture": Shape("![a](data:image/png;base64,A", "=", "!"),
    "spaces before a picture": Shape("![a](", " ", "x"),
}
# Texts that come piece by piece: what was read before is not read again.
STREAMED = {
    "paragraphs": Shape("", "A paragraph of **some** words, with `code` in it.\n\n", ""),
    "headings": Shape("", "## A heading\n\nand a line\n", ""),
    "code": Shape("", "```js\nconst one = 1;\n```\n\n", ""),
    "lists": Shape("", "- one\n- two\n\nand words\n\n", ""),
    "tables": Shape("", "|a|b|\n|-|-|\n|c|d|\n\n", ""),
    "quotes": Shape("", "> quoted\n\nand not\n\n", ""),
    "returns": Shape("", "a line\r\n\r\n", ""),
}
WRITTEN = {
    "lines": Shape("", "a line\n", ""),
    "blank lines": Shape("a", "\n", "b"),
    "ticks": Shape("", "`", "a"),
    "ticks that differ": Shape("", "` `` ", "```"),
    "fences": Shape("", "```\n", ""),
    "lines with code": Shape("", "a `b` c\n", ""),
}


def grown(jobs: list[dict[str, Any]], directory: Path) -> list[list[dict[str, Any]]]:
    """Of each job, the shapes that keep it busiest, and how much longer twice as much takes."""
    sizes = {"least": LEAST, "most": MOST, "glance": GLANCE, "micros": SECONDS * 1e6}
    judged = {"rounds": measure.ROUNDS, "mostRounds": measure.MOST_ROUNDS, "linear": LINEAR}
    judged |= {"doubtful": measure.DOUBTFUL, "certain": measure.CERTAIN, "plain": measure.PLAIN}
    file = directory / "jobs.json"
    file.write_text(json.dumps({"web": WEB.as_uri(), "jobs": jobs, **sizes, **judged}), encoding="utf-8")
    command = ["node", *NODE, str(Path(__file__).with_name("page.mjs")), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: list[list[dict[str, Any]]] = json.loads(done.stdout)
    return found


def job(reader: str, shapes: Iterable[Shape], **more: str) -> dict[str, Any]:
    return {"reader": reader, "shapes": [shape._asdict() for shape in shapes], **more}


READERS = [
    ("markdown", LINES),
    ("inline", WITHIN),
    ("segments", LINES),
    ("stream", STREAMED),
    ("written", WRITTEN),
    ("asks", {**LINES, "questions": Shape("", QUESTION)}),
]


@pytest.mark.parametrize(("reader", "texts"), READERS, ids=[reader for reader, _ in READERS])
def test_a_text_is_shown_in_a_time_that_grows_as_it_does(reader: str, texts: dict[str, Shape], tmp_path: Path) -> None:
    found = grown([job(reader, [shape]) for shape in texts.values()], tmp_path)
    ratios = {name: one["ratio"] for name, (one,) in zip(texts, found, strict=True)}

    assert {name: ratio for name, ratio in ratios.items() if ratio >= LINEAR} == {}


def test_a_pattern_of_the_page_takes_time_as_its_text_is_long(tmp_path: Path) -> None:
    jobs = [job("pattern", shapes(one.pattern), source=one.source, flags=one.flags) for one in LITERALS.values()]
    found = dict(zip(LITERALS, grown(jobs, tmp_path), strict=True))

    assert {name: ones for name, ones in found.items() if max(one["ratio"] for one in ones) >= LINEAR} == {}


def test_a_careless_pattern_of_the_page_is_found_out(tmp_path: Path) -> None:
    careless = job("pattern", [Shape("a", " ", "x")], source=r"^a\s*b?\s*c?\s*$", flags="")
    ((found,),) = grown([careless], tmp_path)

    assert found["ratio"] >= LINEAR
