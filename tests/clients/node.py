"""Scripts run by Node.js, beside the packages they import."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path


def link(node_modules: Path, directory: Path) -> None:
    """Let the scripts in `directory` import what is in `node_modules`."""
    (directory / "node_modules").symlink_to(node_modules, target_is_directory=True)


def run_node(directory: Path, node_modules: Path, files: Mapping[str, str], *arguments: str, **environ: str) -> str:
    """Put `files` into `directory`, run the first of them, and give what it prints."""
    link(node_modules, directory)
    for name, text in files.items():
        (directory / name).write_text(text, encoding="utf-8")
    command = ["node", next(iter(files)), *arguments]
    done = subprocess.run(
        command, cwd=directory, env=os.environ | environ, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
