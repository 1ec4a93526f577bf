"""compose.yaml, read by Docker Compose itself: what it makes of it with an .env that was made as .env.example says."""

import asyncio
import json
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis as redis_client

from gateway.commands.check_shared import check_shared
from gateway.settings import Allowance, Key, Secret, Server, Settings, Sharing
from tests.deployment.dockerfile import read_stages
from tests.deployment.tools import tools
from tests.gateways import settings_for
from tests.readme import ROOT
from tests.servers.health import held_port
from tests.servers.redis_server import redis_binary

COMPOSE = (ROOT / "compose.yaml").read_text(encoding="utf-8")
EXAMPLE = ROOT / ".env.example"
# Where answers end in, after `drain_seconds`, and the App Server: test_process.py has it end within ten seconds.
SPARE_SECONDS = 20
DRAIN_SECONDS = Server().drain_seconds
BUDGET = (Key(name="k", key=Secret("sk-k"), limits=Allowance(tokens_per_day=1)),)
BARE = {"PATH": os.environ["PATH"]}


def config(env_file: Path, environ: Mapping[str, str] = BARE) -> "subprocess.CompletedProcess[str]":
    command = [str(tools() / "docker-compose"), "--file", str(ROOT / "compose.yaml"), "--env-file", str(env_file)]
    command += ["--profile", "redis"]
    return subprocess.run([*command, "config", "--format", "json"], env=environ, capture_output=True, text=True)


@pytest.fixture(scope="module")
def env_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file made by the commands that the example prints."""
    directory = tmp_path_factory.mktemp("env")
    (directory / ".env.example").write_bytes(EXAMPLE.read_bytes())
    commands = re.findall(r"^#   (.+)$", EXAMPLE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(commands) == 4
    subprocess.run(["sh", "-ec", "\n".join(commands)], cwd=directory, env=BARE, check=True)
    return directory / ".env"


@pytest.fixture(scope="module")
def services(env_file: Path) -> dict[str, Any]:
    """The services as Compose understands them."""
    done = config(env_file)
    assert (done.returncode, done.stderr) == (0, "")
    services: dict[str, Any] = json.loads(done.stdout)["services"]
    return services


def test_who_follows_the_example_has_secrets_of_their_own_that_nobody_else_reads(
    services: dict[str, Any], env_file: Path
) -> None:
    environ = services["gateway"]["environment"]

    assert re.fullmatch(r"sk-[0-9a-f]{48}", environ["GATEWAY_API_KEY"])
    assert re.fullmatch(r"[0-9a-f]{64}", environ["OPEN_WEBUI_JWT_SECRET"])
    assert re.fullmatch(r"redis://letta-gateway:[0-9a-f]{64}@redis:6379/0", environ["REDIS_URL"])
    assert env_file.stat().st_mode & 0o077 == 0


def test_without_an_env_file_it_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / ".env").touch()
    done = config(tmp_path / ".env")

    assert done.returncode != 0
    assert "GATEWAY_API_KEY" in done.stderr or "OPEN_WEBUI_JWT_SECRET" in done.stderr
    assert "set it in .env" in done.stderr


def test_the_example_names_every_variable_and_no_other() -> None:
    named = re.findall(r"^# ([A-Z_]+)=", EXAMPLE.read_text(encoding="utf-8"), re.MULTILINE)

    assert len(named) == len(set(named))
    assert set(named) == set(re.findall(r"\$\{([A-Z_]+)", COMPOSE))


def test_no_secret_is_written_down() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")

    assert re.findall(r"^# [A-Z_]*(?:KEY|SECRET|PASSWORD)=(.+)$", text, re.MULTILINE) == []
    assert re.findall(r"^[^#\n]", text, re.MULTILINE) == []
    assert ".env" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()


def test_the_gateway_has_no_rights_and_writes_to_its_volume_alone(services: dict[str, Any]) -> None:
    gateway = services["gateway"]
    writable = {mount["target"] for mount in gateway["volumes"] if not mount.get("read_only")}

    assert (gateway["read_only"], gateway["cap_drop"], gateway["tmpfs"]) == (True, ["ALL"], ["/tmp"])
    assert gateway["security_opt"] == ["no-new-privileges:true"]
    assert "user" not in gateway
    assert writable == {"/data"}


def test_it_is_reached_from_this_machine_only(services: dict[str, Any]) -> None:
    ports = {name: service.get("ports", []) for name, service in services.items()}

    assert {port["host_ip"] for of_one in ports.values() for port in of_one} == {"127.0.0.1"}
    assert ports["redis"] == []


def test_a_stop_waits_for_answers_under_way(services: dict[str, Any]) -> None:
    grace = re.fullmatch(r"(?:(\d+)m)?(?:(\d+)s)?", services["gateway"]["stop_grace_period"])

    assert grace
    assert 60 * int(grace[1] or 0) + int(grace[2] or 0) >= DRAIN_SECONDS + SPARE_SECONDS


def test_the_configuration_is_where_the_command_reads_it(services: dict[str, Any]) -> None:
    gateway = services["gateway"]
    (mounted,) = (mount for mount in gateway["volumes"] if mount["type"] == "bind")
    file = Path(gateway["command"][gateway["command"].index("--config") + 1])

    assert (Path(mounted["source"]) / file.relative_to(mounted["target"])).is_file()


def test_the_gateway_s_check_is_the_image_s_own(services: dict[str, Any]) -> None:
    lines = [line for stage in read_stages((ROOT / "Dockerfile").read_text("utf-8")) for line in stage.instructions]

    assert "healthcheck" not in services["gateway"]
    assert "HEALTHCHECK" in {line.name for line in lines}
    assert services["open-webui"]["depends_on"]["gateway"]["condition"] == "service_healthy"


def test_redis_comes_with_its_profile_only(env_file: Path) -> None:
    command = [str(tools() / "docker-compose"), "--file", str(ROOT / "compose.yaml"), "--env-file", str(env_file)]
    done = subprocess.run([*command, "config", "--services"], env=BARE, capture_output=True, text=True, check=True)

    assert sorted(done.stdout.split()) == ["gateway", "open-webui"]


def test_redis_starts_as_it_is_told_and_is_what_check_wants(services: dict[str, Any], tmp_path: Path) -> None:
    """Its command is carried out as it stands, but for its directory and its port."""
    redis = services["redis"]
    (script,) = redis["command"]
    password = redis["environment"]["REDIS_PASSWORD"]
    # Compose writes a dollar twice: it is one for the shell.
    script = script.replace("$$", "$").replace("dir /data", f"dir {tmp_path}")
    with held_port() as port:
        script = script.replace("appendonly yes", f"appendonly yes\nport {port}\nbind 127.0.0.1")
        script = script.replace("redis-server", redis_binary())
        # Without the name of what is run, as the entry point of the service has it.
        process = subprocess.Popen([*redis["entrypoint"], script], env={**BARE, "REDIS_PASSWORD": password})
        try:
            url = f"redis://letta-gateway:{password}@127.0.0.1:{port}/0"
            settings = msgspec.structs.replace(
                settings_for("http://letta", keys=BUDGET), shared=Sharing(url=Secret(url))
            )
            assert asyncio.run(findings_of(settings)) == []
            stranger = redis_client.Redis(port=port)
            assert stranger.ping()
            with pytest.raises(redis_client.exceptions.NoPermissionError):
                stranger.get("{letta-gateway}:pulses")
            stranger.close()
        finally:
            process.terminate()
            process.wait()

    assert (redis["read_only"], redis["cap_drop"]) == (True, ["ALL"])
    assert password not in " ".join(redis["command"])
    assert [mount["target"] for mount in redis["volumes"]] == ["/data"]


async def findings_of(settings: Settings) -> list[str]:
    """What `check` finds once it is up."""
    for _ in range(100):
        found = [finding.words async for finding in check_shared(settings)]
        if not any("no Redis answers" in words for words in found):
            break
        await asyncio.sleep(0.1)
    return found
