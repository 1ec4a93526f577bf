"""The rooms of the house: who may import whom, and one address for every library."""

import ast
import sys
from functools import cache
from pathlib import Path

import pytest

GATEWAY = Path(__file__).parent.parent / "gateway"
FILES = {str(path.relative_to(GATEWAY)): path for path in sorted(GATEWAY.rglob("*.py"))}
IN_ROOMS = [name for name in FILES if "/" in name]
# room -> the modules of ours that it may import, beside its own; what stands beside the rooms may import them all
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "domain": (),
    "wires": ("domain",),
    "frontends": ("wires.chat_completions", "wires.sayings", "settings", "domain"),
    "pictures": ("settings", "domain"),
    "tasks": ("turns.runs", "settings", "domain"),
    "turns": ("letta.upstream", "letta.notes", "settings", "domain"),
    "letta": ("settings", "domain"),
    "http": ("wires", "frontends", "tasks", "pictures", "turns", "settings", "domain"),
    "offline": (),
}
# What still points the other way.
LEFT: dict[str, set[str]] = {}
ADDRESSES = {
    "letta_client": ["letta/rest/upstream.py"],
    # A client of the web, and the transport that letta-client offers.
    "aiohttp": ["letta/rest/upstream.py", "pictures/fetcher.py"],
    "yarl": ["pictures/fetcher.py"],
    "httpx": ["letta/rest/upstream.py"],
    "sse_starlette": ["http/sse.py"],
    # The server, and its protocol with limits.
    "uvicorn": ["connection.py", "serving.py"],
    "httptools": ["connection.py"],
    "backports": ["http/incoming/encodings.py"],
    "websockets": ["letta/app_server/connection.py"],
    "platformdirs": ["letta/embedded/process.py"],
    "openai": ["tasks/plain_model.py"],
    "httpx2": ["tasks/plain_model.py"],
    "jwt": ["http/incoming/tokens.py"],
    "jsonschema_rs": ["turns/runs/judge.py"],
}


@cache
def _imports(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    froms = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return names | {f"{node.module}.{alias.name}" for node in froms for alias in node.names}


def _against_the_way(name: str) -> set[str]:
    """The imports of a file that point the wrong way."""
    room = name.partition("/")[0]
    allowed = ("gateway.__version__.", *(f"gateway.{one}." for one in (room, *MAY_IMPORT[room])))
    ours = {module for module in _imports(FILES[name]) if module.startswith("gateway.")}
    return {module for module in ours if not f"{module}.".startswith(allowed)}


@pytest.mark.parametrize("name", IN_ROOMS)
def test_imports_point_one_way(name: str) -> None:
    assert _against_the_way(name) == LEFT.get(name, set())


@pytest.mark.parametrize("library", ADDRESSES)
def test_a_library_has_one_address(library: str) -> None:
    users = [name for name, path in FILES.items() if any(m.partition(".")[0] == library for m in _imports(path))]

    assert ADDRESSES[library] == users


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("offline/")])
def test_the_offline_model_stands_alone(name: str) -> None:
    others = {module for module in _imports(FILES[name]) if not module.startswith("gateway.offline")}

    assert {module.partition(".")[0] for module in others} <= {"litestar", "msgspec", *sys.stdlib_module_names}
