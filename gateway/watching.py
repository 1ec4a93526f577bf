"""The files of a configuration, watched for changes: for a gateway whose files are mounted, and whom nobody signals."""

from collections.abc import AsyncGenerator, Callable, Iterable
from pathlib import Path

import watchfiles


async def changes_of(files: Callable[[], Iterable[Path]]) -> AsyncGenerator[None, None]:
    """A word for every change of these files, which may be others after each."""
    places, states = _look(files())
    while True:
        # Much else may happen in their folders.
        async for _ in watchfiles.awatch(*places, recursive=False):
            before, (now, states) = states, _look(files())
            if states != before:
                yield
            if now != places:
                places = now
                break


def _look(files: Iterable[Path]) -> tuple[set[Path], dict[Path, tuple[int, int, int]]]:
    """The places to watch, and the state of each file, which tells if it has changed.

    A file that is replaced is seen in its folder only; one that is mounted alone, only at itself.
    """
    every = [file for file in files if file.exists()]
    stats = {file: file.stat() for file in every}
    places = {place for file in every for place in (file, file.parent)}
    return places, {file: (stat.st_ino, stat.st_mtime_ns, stat.st_size) for file, stat in stats.items()}
