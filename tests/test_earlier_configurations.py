"""The configurations of an earlier version, files and environments: each means what it meant then."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.configuration import load
from gateway.settings import Secret, UserSource

FOLDER = Path(__file__).parent / "states" / "configurations"
MEANT: dict[str, Any] = json.loads((FOLDER / "meant.json").read_text(encoding="utf-8"))
FILES: dict[str, Any] = MEANT["files"]
ENVIRONMENTS: dict[str, Any] = MEANT["environments"]


# A setting that has another name and another default now: the name, and both defaults.
NAMES = {"shutdown_seconds": "drain_seconds"}
DEFAULTS = {"shutdown_seconds": (5.0, 300.0)}


def told_now(value: msgspec.Struct, name: str, then: Any) -> Any:
    """What a setting says now, in the words of that time."""
    told, (before, now) = plain(getattr(value, NAMES.get(name, name)), then), DEFAULTS.get(name, (None, None))
    return before if now is not None and told == now else told


def plain(value: Any, then: Any) -> Any:
    """A setting as `meant.json` tells it; what is told of a Struct is what was told of it `then`."""
    match value:
        case Secret():
            return value.reveal()
        case UserSource():
            return f"{value.kind}:{value.name}"
        case msgspec.UnsetType():
            return "UNSET"
        case msgspec.Struct() if isinstance(then, dict):
            assert_new_fields_are_default(value, then)
            return {name: told_now(value, name, told) for name, told in then.items()}
        case tuple():
            earlier = then if isinstance(then, list) and len(then) == len(value) else [None] * len(value)
            return [plain(*pair) for pair in zip(value, earlier, strict=True)]
        case _:
            return value


def assert_new_fields_are_default(value: msgspec.Struct, then: Mapping[str, Any]) -> None:
    told = {NAMES.get(name, name) for name in then}
    for field in msgspec.structs.fields(value):
        if field.name not in told:
            default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory
            assert getattr(value, field.name) == default, field.name


def test_every_file_is_told() -> None:
    assert sorted(FILES) == sorted(path.name for path in FOLDER.glob("*.toml"))


@pytest.mark.parametrize(("file", "then"), FILES.items(), ids=FILES)
def test_a_file_means_what_it_meant(file: str, then: Any) -> None:
    assert plain(load(FOLDER / file, MEANT["environ"]), then) == then


@pytest.mark.parametrize("then", ENVIRONMENTS.values(), ids=ENVIRONMENTS)
def test_an_environment_means_what_it_meant(then: Any) -> None:
    assert plain(load(None, then["environ"]), then["settings"]) == then["settings"]
