"""The rooms of the house: who may import whom, and one address for every library."""

import ast
import importlib
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from inspect import isfunction
from pathlib import Path

import pytest
from msgspec import Struct

from gateway.wires.chat_completions.request import ChatCompletionRequest

GATEWAY = Path(__file__).parent.parent / "gateway"
FILES = {str(path.relative_to(GATEWAY)): path for path in sorted(GATEWAY.rglob("*.py"))}
IN_ROOMS = [name for name in FILES if "/" in name]
# room -> the modules of ours that it may import, beside its own; what stands beside the rooms may import them all
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "settings": ("domain",),
    "commands": (
        "letta",
        "turns",
        "limits",
        "shared",
        "http.seen.chats",
        "configuration",
        "choices",
        "settings",
        "domain",
    ),
    "domain": (),
    "wires": ("domain",),
    "frontends": ("wires.chat_completions", "wires.sayings", "settings", "domain"),
    "pictures": ("settings", "domain"),
    "tasks": ("turns.runs", "settings", "domain"),
    "turns": ("letta.upstream", "letta.notes", "shared", "settings", "watch", "domain"),
    "letta": ("shared", "settings", "watch", "trace_context", "domain"),
    "limits": ("turns.runs.account", "shared", "settings", "domain"),
    "shared": ("settings", "domain"),
    "http": ("wires", "frontends", "tasks", "pictures", "turns", "limits", "settings", "trace_context", "domain"),
    "workers": (
        *("commands.announcement", "http", "letta", "limits", "settings", "domain"),
        *("choices", "listening", "logs", "serving", "starting", "together"),
    ),
    "offline": (),
}
ADDRESSES = {
    "letta_client": ["letta/rest/letta_clients.py"],
    # A client of the web, and the transport that letta-client offers.
    "aiohttp": ["letta/rest/letta_clients.py", "pictures/fetcher.py"],
    "yarl": ["pictures/fetcher.py"],
    # The client that letta-client takes, and the one for a question whether somebody is there.
    "httpx": ["commands/top.py", "letta/embedded/provider.py", "letta/rest/letta_clients.py"],
    "sse_starlette": ["http/answers/event_stream.py"],
    # The server, and its protocols with limits.
    "uvicorn": ["connection.py", "serving.py", "socket_connection.py"],
    "httptools": ["connection.py", "letta/rest/http_client.py"],
    "backports": ["http/answers/compressor.py", "http/incoming/encodings.py"],
    "websockets": ["letta/app_server/connection.py"],
    "opentelemetry": ["http/seen/traces.py"],
    # What writes metrics, and what reads them.
    "prometheus_client": ["commands/top_picture.py", "http/seen/metrics.py"],
    "rich": ["commands/top.py", "commands/top_picture.py"],
    "platformdirs": ["letta/embedded/directory.py"],
    "uvloop": ["starting.py"],
    "openai": ["tasks/plain_model.py"],
    "httpx2": ["tasks/plain_model.py"],
    "jwt": ["http/incoming/signatures.py"],
    "watchfiles": ["watching.py"],
    "jsonschema_rs": ["turns/runs/judge.py"],
    "redis": ["shared/redis_link.py"],
    "sqlite3": ["limits/usage_file.py"],
}
# Fields of OpenAI's request, but for words that are somebody else's, too: a role, a template's tools, a short no.
FIELDS = {*ChatCompletionRequest.__struct_fields__} - {"user", "tools", "n"}
# Names of headers, and what wires and frontends put into texts or are called.
_OF_OTHERS = re.compile(
    r"^x-[a-z-]+$|openwebui|open webui|librechat|idempotency-key|authorization"
    r"|</?think>|<details|</context>|metadata\.",
    re.IGNORECASE,
)
DOZEN = 12
LONGEST_MODULE = 400
# Each module has one, or each frontend.
NAMED_ALIKE = {"logger", "T", "PROMPTS"}
FUNCTIONS_ALIKE = {
    # Every wire reads a body, and makes the neutral request of it.
    "decode_request": ["wires/chat_completions/request.py", "wires/responses/request.py"],
    "to_request": ["wires/chat_completions/read.py", "wires/responses/read.py"],
    # Modules that are run as processes, and the command.
    "main": ["cli.py", "letta/embedded/keeper.py", "turns/runs/judge.py", "workers/worker.py"],
    # Both kinds of Letta: what they are sent, and what they list.
    "to_input": ["letta/app_server/input.py", "letta/rest/input.py"],
    "to_past": ["letta/app_server/listing.py", "letta/rest/listing.py"],
    "to_exchanges": ["letta/app_server/listing.py", "letta/rest/listing.py"],
}
# (module, private name of a library, why it is used all the same)
PRIVATE = [
    ("connection.py", "_should_upgrade", "uvicorn looks at no more of a handshake than its name"),
    ("connection.py", "_start_asgi_task", "the one place where uvicorn hands a request to the application"),
    ("lean.py", "_get_default_plugins", "Litestar has no other way to leave out its plugins for other libraries"),
    ("letta/embedded/keeper.py", "_exit", "a child that is no gateway must not run a gateway's exits"),
]


@cache
def _imports(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    froms = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return names | {f"{node.module}.{alias.name}" for node in froms for alias in node.names}


def _literals(path: Path) -> set[str]:
    """The string literals of a module, without docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    constants = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in alone)
    return {node.value for node in constants if isinstance(node.value, str)}


def _defined(path: Path, *kinds: type[ast.stmt]) -> Iterator[str]:
    """The public names that a module defines at its top by statements of these kinds."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if not isinstance(node, kinds):
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", node)]
        for target in (one for outer in targets for one in getattr(outer, "elts", [outer])):
            name = target.name if hasattr(target, "name") else getattr(target, "id", "_")
            if not name.startswith("_"):
                yield name


def _private(path: Path) -> Iterator[str]:
    """The private names that a module takes of somebody else, or overrides."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        ours = isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("self", "cls", "other")
        if isinstance(node, ast.Attribute) and re.match("_[a-z]", node.attr) and not ours:
            yield node.attr
    module = importlib.import_module(f"gateway.{'.'.join(path.relative_to(GATEWAY).with_suffix('').parts)}")
    for kind in vars(module).values():
        if isinstance(kind, type) and kind.__module__ == module.__name__:
            theirs = {name for base in kind.__mro__ if not base.__module__.startswith("gateway") for name in vars(base)}
            functions = (name for name, value in vars(kind).items() if isfunction(getattr(value, "__func__", value)))
            yield from (name for name in functions if re.fullmatch(r"_[a-z]\w*[a-z]", name) and name in theirs)


@pytest.mark.parametrize("name", IN_ROOMS)
def test_imports_point_one_way(name: str) -> None:
    room = name.partition("/")[0]
    allowed = ("gateway.__version__.", *(f"gateway.{one}." for one in (room, *MAY_IMPORT[room])))
    ours = {module for module in _imports(FILES[name]) if module.startswith("gateway.")}

    assert {module for module in ours if not f"{module}.".startswith(allowed)} == set()


def test_no_room_holds_more_than_a_dozen_modules() -> None:
    rooms = Counter(str(Path(name).parent) for name in IN_ROOMS if not name.endswith("__init__.py"))

    assert {room: count for room, count in rooms.items() if count > DOZEN} == {}


def test_every_struct_that_all_rooms_share_has_an_example() -> None:
    names = [Path(name).with_suffix("") for name in FILES if name.startswith("domain/")]
    modules = [importlib.import_module(f"gateway.{'.'.join(name.parts)}") for name in names]
    structs = {one for module in modules for one in vars(module).values() if isinstance(one, type)}
    ours = [one for one in structs if issubclass(one, Struct) and one.__module__.startswith("gateway.domain")]

    assert len(ours) > 30
    assert [one.__name__ for one in ours if f"{one.__name__}(" not in (one.__doc__ or "")] == []


@pytest.mark.parametrize("name", FILES)
def test_docstrings_say_what_a_thing_is_with_a_subject(name: str) -> None:
    tree = ast.parse(FILES[name].read_text(encoding="utf-8"))
    alone = [node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)]
    docs = [node.value for node in alone if isinstance(node, ast.Constant) and isinstance(node.value, str)]

    assert [doc for doc in docs if doc.lstrip().startswith(("What ", "Whether ", "Where ", "Who "))] == []


@pytest.mark.parametrize("name", FILES)
def test_no_module_is_longer_than_a_reader_keeps_in_mind(name: str) -> None:
    assert len(FILES[name].read_text(encoding="utf-8").splitlines()) <= LONGEST_MODULE


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("turns/")])
def test_the_core_knows_no_word_of_a_wire_or_a_frontend(name: str) -> None:
    words = {text for text in _literals(FILES[name]) if text in FIELDS or _OF_OTHERS.search(text)}

    assert words == set()


def test_every_public_class_and_constant_has_a_name_of_its_own() -> None:
    places: defaultdict[str, list[str]] = defaultdict(list)
    for name, path in FILES.items():
        for defined in _defined(path, ast.ClassDef, ast.Assign, ast.AnnAssign) if "offline/" not in name else ():
            places[defined].append(name)

    assert {one: names for one, names in places.items() if len(names) > 1 and one not in NAMED_ALIKE} == {}


def test_functions_are_named_alike_only_where_they_carry_out_one_protocol() -> None:
    places: defaultdict[str, list[str]] = defaultdict(list)
    for name, path in FILES.items():
        for defined in _defined(path, ast.FunctionDef, ast.AsyncFunctionDef) if "offline/" not in name else ():
            places[defined].append(name)

    assert {one: names for one, names in places.items() if len(names) > 1} == FUNCTIONS_ALIKE


def test_every_private_name_of_a_library_that_is_used_stands_in_the_list() -> None:
    used = {(name, one) for name, path in FILES.items() for one in _private(path)}

    assert used == {(name, one) for name, one, _ in PRIVATE}


@pytest.mark.parametrize("library", ADDRESSES)
def test_a_library_has_one_address(library: str) -> None:
    users = [name for name, path in FILES.items() if any(m.partition(".")[0] == library for m in _imports(path))]

    assert ADDRESSES[library] == users


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("offline/")])
def test_the_offline_model_stands_alone(name: str) -> None:
    others = {module for module in _imports(FILES[name]) if not module.startswith("gateway.offline")}

    assert {module.partition(".")[0] for module in others} <= {"litestar", "msgspec", *sys.stdlib_module_names}
