"""Settings as the file that says the same, for a gateway that is a process of its own."""

import json
from datetime import datetime
from typing import Any

import msgspec

from gateway.settings import Secret, Settings, UserSource


def written(settings: Settings) -> str:
    """The file as text; it holds the secrets, too."""
    tables = msgspec.to_builtins(settings, builtin_types=(datetime,), enc_hook=_encode)
    return "".join(f"{name} = {_value(table)}\n" for name, table in tables.items() if table is not None)


def _encode(value: Any) -> str:
    if isinstance(value, Secret):
        return value.reveal()
    assert isinstance(value, UserSource)
    return f"{value.kind}:{value.name}"


def _value(value: Any) -> str:
    """In one line, as TOML may be: https://toml.io/en/v1.0.0#inline-table"""
    match value:
        case dict():
            pairs = (f"{_value(name)} = {_value(each)}" for name, each in value.items() if each is not None)
            return f"{{{', '.join(pairs)}}}"
        case list() | tuple():
            return f"[{', '.join(map(_value, value))}]"
        case str():
            # What JSON escapes TOML does, too; it allows no character of the last control code.
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case datetime():
            return value.isoformat()
        case _:
            return json.dumps(value)
