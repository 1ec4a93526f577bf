"""CONTRIBUTING.md says what is true of the code: its walks lead through functions that are there, its rooms exist."""

import ast
import re

import pytest

from tests.readme import ROOT
from tests.test_house import MAY_IMPORT

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
MOST_HOPS = 12


def _walk(title: str) -> list[tuple[str, str]]:
    """The hops of a walk: modules, and names in them."""
    section = PAGE.partition(f"### {title}")[2].partition("\n### ")[0].partition("\n## ")[0]
    return re.findall(r"^\| `([\w/]+\.py):([\w.]+)` \|", section, re.MULTILINE)


WALKS = {title: _walk(title) for title in ("A message, down", "A token, up")}


def _defined(module: str) -> set[str]:
    """The names that a module defines, and those in its classes."""
    body = ast.parse((ROOT / "gateway" / module).read_text(encoding="utf-8")).body
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    names = {node.name for node in body if isinstance(node, kinds)}
    classes = [node for node in body if isinstance(node, ast.ClassDef)]
    return names | {f"{one.name}.{inner.name}" for one in classes for inner in one.body if isinstance(inner, kinds)}


@pytest.mark.parametrize("hops", WALKS.values(), ids=WALKS)
def test_a_walk_is_short_and_leads_through_what_is_there(hops: list[tuple[str, str]]) -> None:
    assert 6 < len(hops) <= MOST_HOPS
    assert [(module, name) for module, name in hops if name not in _defined(module)] == []


@pytest.mark.parametrize("hops", WALKS.values(), ids=WALKS)
def test_a_walk_enters_no_room_twice(hops: list[tuple[str, str]]) -> None:
    rooms = [module.partition("/")[0] for module, _ in hops]
    entered = [room for room, before in zip(rooms, ["", *rooms], strict=False) if room != before]

    assert len(entered) == len(set(entered))


def test_the_table_of_rooms_is_the_one_that_is_held() -> None:
    table = PAGE.partition("| room | knows")[2].partition("\n\n")[0]

    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == MAY_IMPORT.keys() - {"offline"}
