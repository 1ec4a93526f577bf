"""Every regular expression of the project, and texts made of its own pieces to keep it busy."""

import ast
import importlib
import pkgutil
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from re import _constants as codes  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from types import ModuleType
from typing import Any, NamedTuple

import gateway

ROOT = Path(gateway.__file__).parent
WEB = ROOT / "http" / "pages" / "web"
ANYWHERE = ("search", "sub", "split", "findall", "finditer")
FUNCTIONS = (*ANYWHERE, "match", "fullmatch", "compile")
# No pattern asks for it, nor takes it for what it looks for.
OTHER = "\x00"


class Used(NamedTuple):
    """A pattern, and how the code looks with it: `match`, `fullmatch`, or anywhere (`search`)."""

    pattern: re.Pattern[Any]
    how: str


class Shape(NamedTuple):
    """A text that is mostly one piece, over and over."""

    before: str
    piece: str
    after: str = OTHER

    def text(self, size: int) -> str:
        return self.before + self.piece * (size // len(self.piece)) + self.after


def modules() -> list[ModuleType]:
    names = [one.name for one in pkgutil.walk_packages(gateway.__path__, "gateway.")]
    return [importlib.import_module(name) for name in names if not name.endswith("__main__")]


def compiled() -> dict[str, Used]:
    """All that Python code looks with: patterns with a name, and those that stand in a call."""
    found: dict[str, Used] = {}
    all_modules = modules()
    sources = {module.__name__: _source(module) for module in all_modules}
    uses = {name: set(_USE.findall(source)) for name, source in sources.items()}
    everywhere = {use for of_one in uses.values() for use in of_one}
    for module in all_modules:
        where, tree = module.__name__.removeprefix("gateway."), ast.walk(ast.parse(sources[module.__name__]))
        nodes = [node for node in tree if isinstance(node, (ast.Name, ast.Call))]
        for name, pattern in _named(module, nodes):
            found[f"{where}:{name}"] = Used(
                pattern, _how(name, uses[module.__name__] if name.startswith("_") else everywhere)
            )
        for line, how, text in _in_calls(nodes):
            found[f"{where}:{line}"] = Used(re.compile(text), "search" if how in ANYWHERE else how)
    return found


def _source(module: ModuleType) -> str:
    assert module.__file__
    return Path(module.__file__).read_text(encoding="utf-8")


def _named(module: ModuleType, nodes: list[ast.Name | ast.Call]) -> Iterator[tuple[str, re.Pattern[Any]]]:
    """Those of a module's own names, also within a tuple or a dictionary."""
    assigned = {node.id for node in nodes if isinstance(node, ast.Name)}
    for name in assigned & vars(module).keys():
        value = vars(module)[name]
        for i, pattern in enumerate(_patterns(value)):
            yield f"{name}[{i}]" if not isinstance(value, re.Pattern) else name, pattern


def _patterns(value: object) -> Iterator[re.Pattern[Any]]:
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, dict):
        yield from _patterns(tuple(value.values()))
    elif isinstance(value, tuple):
        for one in value:
            yield from _patterns(one)


# `NAME.search(` and the like.
_USE = re.compile(r"\b(\w+)\.(\w+)\(")


def _how(name: str, uses: set[tuple[str, str]]) -> str:
    """The most that any of these uses asks of the pattern."""
    used = {how for used, how in uses if used == name}
    return next((how for how in ("fullmatch", "match") if used <= {how, "fullmatch"} and used), "search")


def _in_calls(nodes: list[ast.Name | ast.Call]) -> Iterator[tuple[int, str, str]]:
    """Of `re.search("…", text)` and the like: the line, the function and the pattern."""
    for node in nodes:
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Name("re"), attr=how), args=[ast.Constant(value=str(text)), _, *_]
            ) if how in FUNCTIONS and how != "compile":
                yield node.lineno, how, text


class Literal(NamedTuple):
    """A regular expression of JavaScript."""

    source: str
    flags: str

    @property
    def pattern(self) -> str:
        """The same as Python would write it, as far as its pieces go."""
        text = re.sub(r"\\p\{\w+\}", "a-z", self.source)
        text = re.sub(r"\(\?<(?=\w)", "(?P<", text)
        return re.sub(r"\\k<(\w+)>", r"(?P=\1)", text).replace("\\/", "/")


# A slash where no number can end before it, up to the next that is neither escaped nor in a class.
_CHARACTER = r"(?:[^/\\\n\[]|\\.|\[(?:[^\]\\\n]|\\.)*\])"
_LITERAL = re.compile(rf"(?<=[(,=:?!&|\[])\s*/(?![*/])({_CHARACTER}+)/([a-z]*)")


def of_the_page() -> dict[str, Literal]:
    """All that the page's code looks with."""
    found = {}
    for file in sorted(WEB.glob("*.js")):
        code = re.sub(r"^\s*//.*$", "", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
        for i, literal in enumerate(_LITERAL.finditer(code)):
            found[f"{file.name}:{i}"] = Literal(literal[1], literal[2])
    return found


def shapes(pattern: str, flags: int = 0) -> list[Shape]:
    """Texts that begin as the pattern wants, go on with any of its pieces for ever, and do not end as it wants."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pieces = list(_pieces(parser.parse(pattern, flags & ~re.DEBUG)))
    made: dict[Shape, None] = {}
    for i, choices in enumerate(pieces):
        before = "".join(piece[0] for piece in pieces[:i])
        for piece in choices:
            made[Shape(before, piece)] = None
            made[Shape("", before + piece)] = None
            made[Shape("", before + piece, "")] = None
            if i + 1 < len(pieces):
                made[Shape(before, piece + pieces[i + 1][0])] = None
    return [*made]


def _pieces(tree: Any) -> Iterator[list[str]]:
    """What the parts of a pattern match, each in one way or in several, in order."""
    literal = ""
    for op, value in tree:
        if op is codes.LITERAL:
            literal += chr(value)
            continue
        if literal:
            yield [literal]
            literal = ""
        yield from _piece(op, value)
    if literal:
        yield [literal]


def _piece(op: Any, value: Any) -> Iterator[list[str]]:
    if op in (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT):
        least, _, inner = value
        for piece in _pieces(inner):
            yield [one * max(1, min(least, 3)) for one in piece]
    elif op is codes.SUBPATTERN:
        yield from _pieces(value[3])
    elif op is codes.ATOMIC_GROUP:
        yield from _pieces(value)
    elif op is codes.BRANCH:
        branches = ["".join(piece[0] for piece in _pieces(branch)) for branch in value[1]]
        yield [branch for branch in branches if branch][:4] or ["x"]
        for branch in value[1][:4]:
            yield from _pieces(branch)
    elif op is codes.IN:
        yield _of_class(value)
    elif op is codes.ANY:
        yield ["x", " "]
    elif op is codes.NOT_LITERAL:
        yield ["x"] if value != ord("x") else ["y"]


_CATEGORIES = {
    codes.CATEGORY_SPACE: [" ", "\n"],
    codes.CATEGORY_DIGIT: ["1"],
    codes.CATEGORY_WORD: ["a"],
    codes.CATEGORY_NOT_SPACE: ["x"],
    codes.CATEGORY_NOT_DIGIT: ["x"],
    codes.CATEGORY_NOT_WORD: ["-"],
}


def _of_class(members: list[tuple[Any, Any]]) -> list[str]:
    found: list[str] = []
    for op, value in members:
        if op is codes.NEGATE:
            return ["x", " "]
        if op is codes.LITERAL:
            found.append(chr(value))
        elif op is codes.RANGE:
            found.append(chr(value[0]))
        elif op is codes.CATEGORY:
            found += _CATEGORIES[value]
    return found[:3]
