"""The log of the process: what every line says, in words or as JSON, and the request that it is about."""

import logging
from datetime import UTC, datetime
from typing import Any

import msgspec

from gateway.http.record import REQUEST_ID, Record, access
from gateway.settings import LogFormat

LINE_FORMAT = "%(asctime)s %(levelname)s %(name)s %(request)s%(message)s"


class RequestFormatter(logging.Formatter):
    """A formatter that puts the id of the request before what is logged for it; its own line has it already."""

    def format(self, record: logging.LogRecord) -> str:
        id = "" if record.name == access.name else REQUEST_ID.get()
        record.request = f"{id} " if id else ""
        return super().format(record)


class JsonFormatter(logging.Formatter):
    """A formatter that makes a JSON object of each line; of a request's own, one with a member for each of its fields.

    The encoder is msgspec's: a library for this would bring another, and the standard library formats all else.
    """

    _encode = msgspec.json.Encoder().encode

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {"time": at, "level": record.levelname, "logger": record.name}
        if isinstance(record.args, tuple) and record.args and isinstance(one := record.args[0], Record):
            line |= {name: value for name, value in one.fields.items() if value is not None}
        else:
            line |= {"request": REQUEST_ID.get()} if REQUEST_ID.get() else {}
            line["message"] = record.getMessage()
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return self._encode(line).decode()


def log_to_stderr(level: int) -> logging.Handler:
    """Have everything from `level` on written to stderr, a line each, in words; gives what writes it, for `log_as`."""
    handler = logging.StreamHandler()
    log_as("console", handler)
    logging.basicConfig(level=level, handlers=[handler])
    return handler


def log_as(form: LogFormat, handler: logging.Handler) -> None:
    """Have the lines written in this form from now on."""
    handler.setFormatter(JsonFormatter() if form == "json" else RequestFormatter(LINE_FORMAT))
