"""Judges a JSON Schema: `python judge.py`, with the schema on standard input, and an answer on the lines behind it.

It is a process of its own because a process can be ended: a small schema can keep its reader busy for hours, and so
can a small pattern within one. The only module that knows jsonschema-rs.
"""

import sys
from typing import Any

import jsonschema_rs
import msgspec

FITS, DIFFERS, NO_SCHEMA = 0, 10, 11


def main(schema: bytes, answer: bytes) -> int:
    """Judge the answer: FITS, DIFFERS, or NO_SCHEMA, as exit codes. Without an answer: FITS if the schema is one."""
    try:
        # Nothing is fetched: a schema that refers to another address is not whole, and counts as none.
        validator = jsonschema_rs.validator_for(msgspec.json.decode(schema), retriever=_refuse)
    except (ValueError, jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError):
        return NO_SCHEMA
    return FITS if not answer or validator.is_valid(msgspec.json.decode(answer)) else DIFFERS


def _refuse(uri: str) -> Any:
    raise ValueError("a schema that stands elsewhere")


if __name__ == "__main__":
    schema, _, answer = sys.stdin.buffer.read().partition(b"\n")
    sys.exit(main(schema, answer))
