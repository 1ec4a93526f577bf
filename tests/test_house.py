"""The rooms of the house: who may import whom, and one address for every library."""

import ast
import sys
from functools import cache
from pathlib import Path

import pytest

GATEWAY = Path(__file__).parent.parent / "gateway"
FILES = {str(path.relative_to(GATEWAY)): path for path in sorted(GATEWAY.rglob("*.py"))}
# room -> the modules of ours that it may import; what stands beside the rooms may import them all
WORDS_OF_LETTA = ("gateway.letta.error_words", "gateway.letta.events", "gateway.letta.upstream")
NOTES = "gateway.letta.notes"
PURE = ("domain", "wires")
MAY_IMPORT = {
    "domain": ("gateway.domain",),
    "wires": ("gateway.wires", "gateway.domain"),
    "http": ("gateway.http", "gateway.turns", "gateway.openai_wire", *WORDS_OF_LETTA),
    "turns": ("gateway.turns", "gateway.openai_wire", NOTES, *WORDS_OF_LETTA),
    "openai_wire": ("gateway.openai_wire", *WORDS_OF_LETTA),
    "letta": ("gateway.letta",),
    "offline": ("gateway.offline",),
}
ADDRESSES = {
    "letta_client": ["letta/rest.py"],
    # A client of the web, and the transport that letta-client offers.
    "aiohttp": ["fetcher.py", "letta/rest.py"],
    "yarl": ["fetcher.py"],
    "httpx": ["letta/rest.py"],
    "sse_starlette": ["http/sse.py"],
    # The server, and its protocol with limits.
    "uvicorn": ["connection.py", "serving.py"],
    "httptools": ["connection.py"],
    "backports": ["http/encodings.py"],
    "websockets": ["letta/link.py"],
    "platformdirs": ["letta/process.py"],
    "openai": ["plain_model.py"],
    "httpx2": ["plain_model.py"],
    "jwt": ["http/tokens.py"],
    "jsonschema_rs": ["turns/judge.py"],
}


@cache
def _imports(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    froms = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return names | {f"{node.module}.{alias.name}" for node in froms for alias in node.names}


@pytest.mark.parametrize("name", [name for name in FILES if "/" in name])
def test_imports_point_one_way(name: str) -> None:
    room = name.partition("/")[0]
    common = () if room in PURE else ("gateway.domain", "gateway.wires", "gateway.settings", "gateway.halves")
    allowed = (*MAY_IMPORT[room], *common)
    ours = {module for module in _imports(FILES[name]) if module.startswith("gateway")}

    assert set() == {module for module in ours if not module.startswith(allowed)}


@pytest.mark.parametrize("library", ADDRESSES)
def test_a_library_has_one_address(library: str) -> None:
    users = [name for name, path in FILES.items() if any(m.partition(".")[0] == library for m in _imports(path))]

    assert ADDRESSES[library] == users


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("offline/")])
def test_the_offline_model_stands_alone(name: str) -> None:
    others = {module for module in _imports(FILES[name]) if not module.startswith("gateway.offline")}

    assert {module.partition(".")[0] for module in others} <= {"litestar", "msgspec", *sys.stdlib_module_names}
