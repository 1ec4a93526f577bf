"""Every link from one page of the project to another leads somewhere."""

import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from tests.readme import GUIDES, PAGES

_FENCED = re.compile(r"^( *)(```|~~~).*?^\1\2$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)")
_LINK = re.compile(r"\]\(([^()\s]+)\)")


@cache
def _text(page: Path) -> str:
    """A page without its blocks of code, in which nothing is a heading or a link."""
    return _FENCED.sub("", page.read_text(encoding="utf-8"))


def _links(page: Path) -> list[str]:
    """Where the page leads, within the project."""
    targets: list[str] = _LINK.findall(_CODE.sub("", _text(page)))
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


@cache
def _anchors(page: Path) -> set[str]:
    """What headings are called in addresses: in small letters, without signs, with a number where one comes again."""
    seen: Counter[str] = Counter()
    anchors = set()
    for heading in re.findall(r"^#+ (.*)$", _text(page), re.MULTILINE):
        shown = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        anchors.add(f"{name}-{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return anchors


def _leads_somewhere(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    return target.exists() and (not anchor or anchor in _anchors(target))


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    assert [link for link in _links(PAGES[name]) if not _leads_somewhere(PAGES[name], link)] == []


def test_pages_with_links_are_looked_at() -> None:
    assert {"README.md", "CHANGELOG.md", "deploy/guide/README.md"} <= PAGES.keys()
    assert len(_links(PAGES["README.md"])) > 20


def test_the_list_of_guides_is_whole() -> None:
    listed = _links(PAGES["deploy/guide/README.md"])

    assert {f"{name}.md" for name in GUIDES} - {"README.md"} <= set(listed)


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("## The client's own tools", "the-clients-own-tools"),
        ("## `[[agent_types]]`", "agent_types"),
        ("## See [Tools](tools.md)", "see-tools"),
        ("# More\n\n# More", "more-1"),
    ],
)
def test_an_anchor_is_made_of_its_heading(heading: str, anchor: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"{heading}\n\n```sh\n# no heading\n```\n", encoding="utf-8")

    assert anchor in _anchors(page)
    assert "no-heading" not in _anchors(page)


@pytest.mark.parametrize("link", ["nowhere.md", "#nowhere", "page.md#nowhere"])
def test_a_link_to_nothing_is_found(link: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Here\n\n`[code](gone.md)` [there]({link}) [here](#here) [away](https://example.org/x)\n")

    assert [link for link in _links(page) if not _leads_somewhere(page, link)] == [link]
