"""The log of the process: what every line begins with, and the request that it is about."""

import logging

from gateway.http.record import REQUEST_ID, access

LINE_FORMAT = "%(asctime)s %(levelname)s %(name)s %(request)s%(message)s"


class RequestFormatter(logging.Formatter):
    """A formatter that puts the id of the request before what is logged for it; its own line has it already."""

    def format(self, record: logging.LogRecord) -> str:
        id = "" if record.name == access.name else REQUEST_ID.get()
        record.request = f"{id} " if id else ""
        return super().format(record)


def log_to_stderr(level: int) -> None:
    """Have everything from `level` on written to stderr, a line each."""
    handler = logging.StreamHandler()
    handler.setFormatter(RequestFormatter(LINE_FORMAT))
    logging.basicConfig(level=level, handlers=[handler])
