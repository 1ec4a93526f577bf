"""A Debian in a directory, in the place of a container: what the Dockerfile says is done and run there.

No engine is needed for that, but root's rights on Linux, and debootstrap. The base is the Debian release that the
Dockerfile names, with Debian's own Python.
"""

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import IO

import pytest

from tests.deployment.dockerfile import Instruction, Stage

# As the image's base has them, beside what a smallest Debian is made of.
PACKAGES = "python3,python3-pip,python3-venv,ca-certificates"
# What leads to packages outside leads to them inside.
LEADING = re.compile(
    r"(?:HTTPS?|NO|ALL)_PROXY|(?:https?|no|all)_proxy|SSL_CERT_FILE|PIP_INDEX_URL|UV_(?:DEFAULT_)?INDEX"
)
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
ROOM_BYTES = 6 * 2**30
TOOLS = ("debootstrap", "unshare", "nsenter", "setpriv", "ip", "curl")
PATH = "/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin"
# As the images of Debian have it: apt keeps nothing of what it fetched.
APT = 'APT::Keep-Downloaded-Packages "false";\nDir::Cache::pkgcache "";\nDir::Cache::srcpkgcache "";\n'


def skip_without_tools() -> None:
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        pytest.skip(f"{', '.join(missing)} is not installed (Debian: apt-get install debootstrap iproute2 curl)")
    if subprocess.run(["unshare", "--mount", "--net", "true"], capture_output=True).returncode:
        pytest.skip("only root makes a file system and a network of its own")


@contextmanager
def room() -> Iterator[Path]:
    """A folder for file systems, in memory if there is enough of it: a disk takes minutes to forget them again."""
    memory = Path("/dev/shm")
    of_memory = os.statvfs(memory) if memory.is_dir() else None
    fits = of_memory and of_memory.f_bavail * of_memory.f_frsize > ROOM_BYTES
    runs = of_memory and not of_memory.f_flag & os.ST_NOEXEC
    with tempfile.TemporaryDirectory(dir=memory if fits and runs else None) as folder:
        yield Path(folder)


def debian(suite: str) -> Path:
    """A smallest Debian with Python, made on first use; nobody changes it."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "letta-gateway"
    home.mkdir(parents=True, exist_ok=True)
    root = home / f"debian-{suite}"
    with (home / f"debian-{suite}.lock").open("w") as lock:
        flock(lock, LOCK_EX)
        if not root.exists():
            made = home / f"debian-{suite}.part"
            shutil.rmtree(made, ignore_errors=True)
            command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", suite, str(made)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            _as_the_image_of_python(made)
            made.rename(root)
    return root


def _as_the_image_of_python(root: Path) -> None:
    """Make it what the image of Python is: `python` and `pip` are free to use, and its modules have no bytecode."""
    (root / "etc/apt/apt.conf.d/keep-nothing").write_text(APT)
    shutil.rmtree(root / "var/cache/apt")
    (root / "var/cache/apt/archives/partial").mkdir(parents=True)
    (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
    for found in root.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
        found.unlink()
    for found in [*root.glob("usr/lib/python3*/**/__pycache__/")]:
        shutil.rmtree(found)


class BareRoot:
    """A file system that the lines of a stage change."""

    def __init__(self, root: Path, base: Path) -> None:
        """A copy of the file system `base`."""
        subprocess.run(["cp", "--archive", str(base), str(root)], check=True)
        self.root = root
        self.environ = {"PATH": PATH}
        self.directory = "/"
        self.user = "0:0"

    def copied(self, root: Path) -> "BareRoot":
        """A file system that begins where this one has come to."""
        other = BareRoot(root, self.root)
        other.environ, other.directory, other.user = {**self.environ}, self.directory, self.user
        return other

    def at(self, path: str) -> Path:
        """Where a path of the file system really is."""
        return self.root / os.path.join(self.directory, path).lstrip("/")

    def do(self, one: Instruction, context: Path, stages: Mapping[str, "BareRoot"]) -> None:
        """Do what a line says, as far as it changes anything."""
        match one.name:
            case "RUN":
                self.run(one.value)
            case "COPY":
                *sources, target = one.words
                self._copy(sources, target, stages[one.flags["from"]].root if "from" in one.flags else context)
            case "ENV":
                for word in shlex.split(one.value):
                    name, _, value = word.partition("=")
                    self.environ[name] = re.sub(r"\$(\w+)", lambda found: self.environ.get(found[1], ""), value)
            case "WORKDIR":
                self.directory = one.value
                self.at(".").mkdir(parents=True, exist_ok=True)
            case "USER":
                self.user = one.value
            case "VOLUME" | "EXPOSE" | "HEALTHCHECK" | "ENTRYPOINT" | "CMD":
                pass  # they say how it is run
            case name:
                raise ValueError(f"nobody knows here what {name} does")

    def run(self, command: str) -> None:
        """Run a line of a shell there, as root and with the network that the tests have."""
        mounts = f"""
            mount -t proc proc {self.root}/proc
            mount --rbind /dev {self.root}/dev
            touch {self.root}/etc/resolv.conf
            mount --bind /etc/resolv.conf {self.root}/etc/resolv.conf
            mount --bind {CERTIFICATES} {self.root}{CERTIFICATES}
        """
        leading = {name: value for name, value in os.environ.items() if LEADING.fullmatch(name)}
        inside = f"cd {self.directory} && {command}"
        script = f"{mounts}\nexec {_chroot(self.root, leading | self.environ)} sh -c {shlex.quote(inside)}"
        done = subprocess.run(
            ["unshare", "--mount", "--pid", "--fork", "sh", "-ec", script], capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(f"{command}\n{done.stdout[-1500:]}\n{done.stderr[-3000:]}")

    def _copy(self, sources: list[str], target: str, origin: Path) -> None:
        """Copy as Docker does: of a folder its content, and of a context nothing that is ignored."""
        into = self.at(target)
        for source in sources:
            found = origin / source.lstrip("/")
            if found.is_dir():
                into.parent.mkdir(parents=True, exist_ok=True)
                shutil.copytree(found, into, symlinks=True, dirs_exist_ok=True)
            else:
                into.mkdir(parents=True, exist_ok=True)
                shutil.copy2(found, into)

    @contextmanager
    def serving(
        self, command: list[str], volumes: Mapping[str, Path], log: IO[bytes], **environ: str
    ) -> Iterator["subprocess.Popen[bytes]"]:
        """The command under way, as a container with a read-only root runs it, with a network that is only its own.

        Its user has no rights and gets none; `volumes` are folders by where they are mounted.
        """
        user, group = self.user.split(":")
        mounts = [
            "ip link set lo up",
            f"mount --bind {self.root} {self.root}",
            f"mount -o remount,bind,ro {self.root}",
            f"mount -t proc proc {self.root}/proc",
            f"mount --rbind /dev {self.root}/dev",
        ]
        for place, folder in volumes.items():
            # As an engine does, and before the root is read-only.
            self.at(place).mkdir(parents=True, exist_ok=True)
            mounts.append(f"mount --bind {folder} {self.at(place)}")
        none = "--clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs"
        rights = f"setpriv --reuid={user} --regid={group} {none}"
        inside = f"cd {self.directory} && exec {shlex.join(command)}"
        run = f"exec {_chroot(self.root, self.environ | environ)} {rights} sh -c {shlex.quote(inside)}"
        script = "\n".join([*mounts, run])
        apart = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-ec", script]
        with subprocess.Popen(apart, stdout=log, stderr=log) as process:
            try:
                yield process
            finally:
                process.kill()


def _chroot(root: Path, environ: Mapping[str, str]) -> str:
    return f"chroot {root} env -i {shlex.join(f'{name}={value}' for name, value in environ.items())}"


def first_of(process: "subprocess.Popen[bytes]") -> int:
    """The first process of the processes apart: a container's PID 1."""
    return int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])


def beside(process: "subprocess.Popen[bytes]", *command: str) -> "subprocess.CompletedProcess[str]":
    """What a command says in the network of a process."""
    apart = ["nsenter", "--net", "--target", str(process.pid), *command]
    return subprocess.run(apart, capture_output=True, text=True, timeout=60)


def built(stages: list[Stage], context: Path, directory: Path) -> dict[str, BareRoot]:
    """The file systems of all stages by their names; that of the last is `image`."""
    roots: dict[str, BareRoot] = {}
    for i, stage in enumerate(stages):
        name = stage.name or "image"
        if stage.base not in roots:
            root = BareRoot(directory / name, debian(stage.base.rpartition("-")[2]))
        elif stage.base in [later.base for later in stages[i + 1 :]]:
            root = roots[stage.base].copied(directory / name)
        else:
            # Nobody else begins there: a copy of half a gigabyte less.
            root = roots.pop(stage.base)
        for one in stage.instructions:
            root.do(one, context, roots)
        roots[name] = root
    return roots
