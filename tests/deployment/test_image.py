"""The image: the steps of the Dockerfile done in a bare root, and what comes of them run as a container would be."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.deployment.bare_root import BareRoot, beside, built, first_of, room, skip_without_tools
from tests.deployment.dockerfile import Instruction, Stage, read_stages
from tests.deployment.kubernetes import container, manifests
from tests.deployment.tools import tools
from tests.gateways import chat, said
from tests.readme import ROOT

STAGES = read_stages((ROOT / "Dockerfile").read_text(encoding="utf-8"))
BY_NAME = {stage.name or "image": stage for stage in STAGES}
IMAGES = ("image", "alone")
KEY = "sk-in-the-environment"
USER, GROUP = 10001, 10001
START_SECONDS = 90


def lines_of(image: str) -> Stage:
    """All lines of an image, with those that it takes over."""
    stage = BY_NAME[image]
    before = lines_of(stage.base).instructions if stage.base in BY_NAME else ()
    return Stage(stage.name, stage.base, (*before, *stage.instructions))


ALL_LINES = {image: lines_of(image) for image in IMAGES}


class Served:
    """An image under way."""

    process: "subprocess.Popen[bytes]"

    def __init__(self, directory: Path, health: list[str]) -> None:
        self.data, self.tmp, self.configuration = (directory / name for name in ("data", "tmp", "configuration"))
        for folder in (self.data, self.tmp, self.configuration):
            folder.mkdir()
        # As a volume is that Kubernetes lets a group write to (`fsGroup`).
        shutil.chown(self.data, 0, GROUP)
        self.data.chmod(0o2770)
        self.tmp.chmod(0o1777)
        self._log = directory / "log"
        self.log = self._log.open("wb")
        self._health = health

    @property
    def told(self) -> str:
        return self._log.read_text(errors="replace")

    def await_health(self) -> None:
        """Return when the image's own check finds it well."""
        deadline = time.monotonic() + START_SECONDS
        while beside(self.process, sys.executable, *self._health[1:]).returncode:
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError(f"the image does not answer:\n{self.told[-3000:]}")
            time.sleep(0.2)

    def configure(self, text: str) -> None:
        """Have this as the configuration, as Kubernetes changes what it mounts: by the change of one link.

        https://kubernetes.io/docs/concepts/configuration/configmap/#mounted-configmaps-are-updated-automatically
        """
        new = Path(tempfile.mkdtemp(prefix="..", dir=self.configuration))
        new.chmod(0o755)
        (new / "gateway.toml").write_text(text)
        (self.configuration / "..next").symlink_to(new.name)
        (self.configuration / "..next").rename(self.configuration / "..data")
        if not (self.configuration / "gateway.toml").exists():
            (self.configuration / "gateway.toml").symlink_to("..data/gateway.toml")

    def await_told(self, words: str) -> None:
        """Return when the log has these words."""
        deadline = time.monotonic() + START_SECONDS
        while words not in self.told:
            if time.monotonic() > deadline:
                raise RuntimeError(f"`{words}` was not told:\n{self.told[-3000:]}")
            time.sleep(0.1)

    def ask(self, text: str) -> str:
        body = json.dumps(chat(text, model="letta"))
        return self.get("/v1/chat/completions", "-H", "Content-Type: application/json", "-d", body)

    def get(self, path: str, *more: str, port: int = 8000) -> str:
        key = f"Authorization: Bearer {KEY}"
        return beside(self.process, "curl", "-s", f"http://127.0.0.1:{port}{path}", "-H", key, *more).stdout

    def stop(self) -> int:
        """Ask it to end, as an engine does; gives its exit code."""
        os.kill(first_of(self.process), signal.SIGTERM)
        return self.process.wait(60)


@pytest.fixture(scope="module")
def roots() -> Iterator[dict[str, BareRoot]]:
    skip_without_tools()
    allowed = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE)
    with room() as directory:
        context = directory / "context"
        context.mkdir()
        for name in allowed:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, context / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(ROOT / name, context / name)
        yield built(STAGES, context, directory)


@contextmanager
def serving(
    root: BareRoot, image: str, directory: Path, arguments: list[str], configuration: str = "", **environ: str
) -> Iterator[Served]:
    """The image under way, as `docker run --read-only --cap-drop ALL --tmpfs /tmp` would have it, and answering."""
    lines = {name: ALL_LINES[image].last(name) for name in ("ENTRYPOINT", "HEALTHCHECK")}
    entry, health = lines["ENTRYPOINT"], lines["HEALTHCHECK"]
    assert entry
    assert health
    served = Served(directory, json.loads(health.value.partition("CMD ")[2]))
    served.configure(configuration)
    volumes = {"/data": served.data, "/tmp": served.tmp, "/etc/letta-gateway": served.configuration}
    with served.log, root.serving([*entry.words, *arguments], volumes, served.log, **environ) as served.process:
        served.await_health()
        yield served


def own_arguments(image: str) -> list[str]:
    """The arguments that an image has by itself."""
    line = ALL_LINES[image].last("CMD")
    assert line
    return line.words


@pytest.mark.e2e
def test_the_image_answers_as_a_user_without_rights_on_a_root_that_nobody_writes(
    roots: dict[str, BareRoot], tmp_path: Path
) -> None:
    with serving(roots["image"], "image", tmp_path, own_arguments("image"), GATEWAY_API_KEY=KEY) as served:
        answers = [said(served.ask(text))["content"] for text in ("My name is Ada.", "What is my name?")]
        user = Path(f"/proc/{first_of(served.process)}/status").read_text()
        code = served.stop()

    assert answers[0].endswith("I will remember that.")
    assert answers[1].endswith("Your name is Ada.")
    assert re.search(rf"^Uid:\s+{USER}\s+{USER}", user, re.MULTILINE)
    assert re.search(r"^CapEff:\s+0+$", user, re.MULTILINE)
    assert code == 0
    assert (served.data / "backend").is_dir()
    assert "Read-only file system" not in served.told


@pytest.mark.e2e
def test_the_image_without_a_letta_answers_in_front_of_another(roots: dict[str, BareRoot], tmp_path: Path) -> None:
    environ = {"GATEWAY_API_KEY": KEY, "LETTA_BASE_URL": "ws://127.0.0.1:4500"}
    with serving(roots["alone"], "alone", tmp_path, own_arguments("alone"), **environ) as served:
        ready = served.get("/readyz")
        code = served.stop()

    assert json.loads(ready)["error"]["code"] == "upstream_unreachable"
    assert code == 0
    assert [*served.data.iterdir(), *served.tmp.iterdir()] == []
    assert not (roots["alone"].root / "usr/bin/git").exists()


@pytest.mark.e2e
def test_a_pod_with_a_letta_of_its_own_answers_and_takes_up_a_changed_configuration(
    roots: dict[str, BareRoot], tmp_path: Path
) -> None:
    text = manifests("own-letta")["ConfigMap"]["data"]["gateway.toml"]
    arguments = container("own-letta")["args"]
    with serving(roots["image"], "image", tmp_path, arguments, text, GATEWAY_API_KEY=KEY) as served:
        answer = said(served.ask("hello"))["content"]
        served.configure(f'{text}\n[[keys]]\nname = "second"\nkey = "sk-second"\n')
        served.await_told("keys: second added")
        code = served.stop()

    assert answer.endswith("You said: hello")
    assert code == 0
    assert (served.data / "backend").is_dir()


@pytest.mark.e2e
def test_a_pod_in_front_of_a_letta_is_alive_without_it_but_not_ready_and_tells_its_metrics(
    roots: dict[str, BareRoot], tmp_path: Path
) -> None:
    text = manifests("base")["ConfigMap"]["data"]["gateway.toml"]
    environ = {"GATEWAY_API_KEY": KEY, "LETTA_API_KEY": "sk-letta"}
    with serving(roots["alone"], "alone", tmp_path, container("base")["args"], text, **environ) as served:
        ready = served.get("/readyz", "--write-out", "%{http_code}")
        metrics = served.get("/metrics", port=9464)
        code = served.stop()

    assert ready.endswith(("502", "503"))
    assert "letta_gateway_build_info" in metrics
    assert code == 0


@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.e2e
def test_what_the_image_runs_is_compiled_before(roots: dict[str, BareRoot], image: str) -> None:
    root = roots[image].root
    modules = [*root.glob("opt/letta-gateway/lib/python3*/site-packages/gateway/**/*.py")]
    modules += [*root.glob("usr/lib/python3.*/json/*.py"), *root.glob("usr/lib/python3.*/asyncio/*.py")]

    assert len(modules) > 200
    assert [one for one in modules if not [*(one.parent / "__pycache__").glob(f"{one.stem}.*.pyc")]] == []


@pytest.mark.parametrize("image", IMAGES)
def test_no_line_takes_a_secret(image: str) -> None:
    lines = ALL_LINES[image].instructions

    assert [one for one in lines if one.name == "ARG" or re.search(r"key|token|secret|password", one.value, re.I)] == []
    assert ALL_LINES[image].last("USER") == Instruction("USER", {}, f"{USER}:{GROUP}")


def test_every_image_has_what_traces_and_several_gateways_take() -> None:
    lines = [
        one.value for stage in STAGES for one in stage.instructions if "uv pip install --requirements" in one.value
    ]

    assert len(lines) == len(IMAGES)
    assert all("--extra otel --extra redis" in line for line in lines)


def test_an_engine_s_linter_finds_nothing_wrong() -> None:
    done = subprocess.run([tools() / "hadolint", ROOT / "Dockerfile"], capture_output=True, text=True)

    assert (done.returncode, done.stdout) == (0, "")
