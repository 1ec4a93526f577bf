"""The secret that a gateway keeps beside its own Letta, to know again the ids that it has given."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

SECRET_FILE = "id-secret"
SECRET_BYTES = 32


def kept_secret(state: Path) -> bytes:
    """The secret in a state directory, which is made with it if it is not there. Raises OSError."""
    path = state / SECRET_FILE
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        _write_once(path, secrets.token_hex(SECRET_BYTES).encode())
    return path.read_bytes()


def _write_once(path: Path, secret: bytes) -> None:
    """Write a file that only its owner reads, whole or not at all; whoever is first stays."""
    new = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    with open(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(secret)
    with suppress(FileExistsError):
        os.link(new, path)
    new.unlink()
