"""The address that the gateway listens at, and how many connections it takes there. Knows no server."""

import errno
import logging
import os
import socket
import sys

from gateway.settings import Settings

logger = logging.getLogger(__name__)
# The number of files that a process has open beside connections.
OTHER_FILES = 100


def connections_for(settings: Settings) -> int:
    """The number of connections that the settings allow, or that this process may have open, if that is less.

    The limit of open files is raised as far as it may be. An answer counts twice: it may need a connection to Letta
    beside its client's.
    """
    wanted = settings.server.max_connections
    if sys.platform == "win32":
        return wanted
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * wanted + OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    room = wanted if soft == resource.RLIM_INFINITY else max(1, min(wanted, (soft - OTHER_FILES) // 2))
    if room < wanted:
        logger.warning("max_connections is %d, not %d: this process may open %d files (ulimit -n)", room, wanted, soft)
    return room


SERVER_PORT = "--port, or [server] port"
METRICS_PORT = "[metrics] port"


class CannotListen(Exception):
    """The address to listen on cannot be had; the text says which, and why."""

    def __init__(self, host: str, port: int, error: OSError, setting: str = SERVER_PORT) -> None:
        """`setting` is the one that names the port."""
        hint = f" (another port: {setting})" if error.errno == errno.EADDRINUSE else ""
        super().__init__(f"Nothing can listen at {host}, port {port}: {error.strerror or error}{hint}")


def bound(host: str, port: int, setting: str = SERVER_PORT) -> list[socket.socket]:
    """Sockets of this address, one for each family of a name such as `localhost`, on which nobody is heard yet.

    Raises CannotListen; `setting` is the one that names the port.
    """
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        return [_bind(family, address) for family, _, _, _, address in dict.fromkeys(found)]
    except OSError as error:
        raise CannotListen(host, port, error, setting) from error


def _bind(family: int, address: object, shared: bool = False) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            # A port whose last connections are still being closed is free: https://docs.python.org/3/library/socket.html
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind(address)  # type: ignore[arg-type]
    except OSError:
        made.close()
        raise
    return made


# Linux alone spreads connections over sockets of one address: https://man7.org/linux/man-pages/man7/socket.7.html
SPREADS = sys.platform == "linux"


def bound_for(host: str, port: int, count: int) -> list[list[socket.socket]]:
    """The same for so many processes, each with sockets of its own, over which the system spreads connections.

    Where it does not, all have the same, and whoever is idle takes a connection. Raises CannotListen.
    """
    first = bound(host, port)
    if not SPREADS:
        return [first] * count
    of_each = [first]
    try:
        for each in first:
            # Not before it is bound: so it has the address for itself, and nobody else's gateway shares it unasked.
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        for _ in range(count - 1):
            of_each.append([])
            for each in first:
                of_each[-1].append(_bind(each.family, each.getsockname(), shared=True))
    except OSError as error:
        close_all(*of_each)
        raise CannotListen(host, port, error) from error
    return of_each


def close_all(*of_each: list[socket.socket]) -> None:
    for sockets in of_each:
        for each in sockets:
            each.close()


def http_address(listener: socket.socket) -> str:
    """`http://127.0.0.1:49152`"""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
