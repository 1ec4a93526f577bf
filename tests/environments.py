"""Environments of their own for what the tests start or ask, kept outside the tree from one run to the next."""

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fcntl import LOCK_EX, flock
from hashlib import sha256
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent / "pyproject.toml"
# npm writes it when everything is in its place.
NPM_IS_DONE = Path("node_modules") / ".package-lock.json"
# The largest takes a minute of a quiet machine, and its packages are some hundreds of MB.
INSTALL_SECONDS = 400.0


def uv_environment(name: str, project: Path) -> Path:
    """A virtual environment with what the file `project` asks for, made on first use."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    python = Path(sys.base_prefix) / "bin" / f"python{version}"
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        raise RuntimeError("the tests need uv: pip install uv")
    environ = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT")}
    with _cache(f"{name}-py{version}", project, "pyproject.toml") as cache:
        sync = [uv, "sync", "--quiet", "--project", str(cache), "--python", str(python)]
        _install(sync, cache, environ)
    return cache / ".venv"


def npm_environment(name: str, package: Path) -> Path:
    """A directory with `node_modules` as the file `package` asks for, made on first use. Skips without Node.js."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("Node.js and npm are not installed")
    with _cache(name, package, "package.json") as cache:
        if not (cache / NPM_IS_DONE).exists():
            before = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["tool"]["uv"]["exclude-newer"]
            quiet = ("--silent", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts")
            _install([npm, "install", *quiet, "--before", before], cache, os.environ)
    return cache


def _install(command: list[str], cache: Path, environ: Mapping[str, str]) -> None:
    """Run an installer; once more where it fails or a registry leaves it waiting."""
    try:
        subprocess.run(command, cwd=cache, env=environ, check=True, timeout=INSTALL_SECONDS)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        subprocess.run(command, cwd=cache, env=environ, check=True, timeout=INSTALL_SECONDS)


def cache_home() -> Path:
    """The directory of all that is kept from one run to the next."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "letta-gateway"


@contextmanager
def _cache(name: str, project: Path, as_file: str) -> Iterator[Path]:
    """A directory that is this project file's, with the file in it; whoever else wants it waits."""
    content = project.read_bytes()
    cache = cache_home() / f"{name}-{sha256(content).hexdigest()[:12]}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        flock(lock, LOCK_EX)
        (cache / as_file).write_bytes(content)
        yield cache
