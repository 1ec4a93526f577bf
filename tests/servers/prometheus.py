"""A real Prometheus, which scrapes a gateway every second and has the alerts that are there to be copied."""

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.readme import ROOT

ALERTS = ROOT / "deploy/grafana/alerts.yml"
MISSING = "Prometheus is not installed (Debian: apt-get install prometheus)"


def program(name: str) -> str:
    """Where `prometheus` or `promtool` is."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(MISSING)
    return path


class Prometheus:
    """Asks one that serves."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=30)

    def _get(self, path: str, **query: str) -> Any:
        answer = self._client.get(f"/api/v1/{path}", params=query).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """What an expression is now: a list of labels and values."""
        found: list[dict[str, Any]] = self._get("query", query=expression)["result"]
        return found

    def rules(self) -> list[dict[str, Any]]:
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def until(self, expression: str) -> None:
        """Returns once an expression is something."""
        end = time.monotonic() + 60
        while not self.query(expression):
            assert time.monotonic() < end, expression
            time.sleep(0.1)

    def is_ready(self) -> bool:
        try:
            return self._client.get("/-/ready").is_success
        except httpx.TransportError:
            return False

    def close(self) -> None:
        self._client.close()


@contextmanager
def prometheus(directory: Path, target: str) -> Iterator[Prometheus]:
    """A Prometheus that scrapes the address `target`, `127.0.0.1:9464`."""
    every = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    scraped = [{"job_name": "letta-gateway", "static_configs": [{"targets": [target]}]}]
    config = directory / "prometheus.yml"
    # JSON is YAML.
    config.write_text(json.dumps({"global": every, "rule_files": [str(ALERTS)], "scrape_configs": scraped}))
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [program("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={directory / 'data'}"]
    log = directory / "prometheus.log"
    with log.open("wb") as lines:
        process = subprocess.Popen([*command, f"--web.listen-address={address}"], stdout=lines, stderr=lines)
    asked = Prometheus(f"http://{address}")
    try:
        end = time.monotonic() + 60
        while not asked.is_ready():
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"Prometheus did not start:\n{log.read_text()}")
            time.sleep(0.05)
        yield asked
    finally:
        asked.close()
        process.terminate()
        process.wait(30)
