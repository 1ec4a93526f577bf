"""Three gateways that are one: processes that share a Redis, behind an nginx that asks them in turn."""

import os
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import msgspec

from gateway.settings import Secret, Settings, Sharing
from tests.gateways import ForkedGateway
from tests.servers.health import held_port
from tests.servers.nginx import plain_nginx_command
from tests.servers.redis_server import RedisServer
from tests.servers.settings_file import written

GATEWAYS = 3
MOST_IDLE = 3
START_SECONDS = 30.0


class Trio:
    """Gateways with the same settings, and the nginx in front of them at `url`. Started on entering, ended on leaving.

    None of the gateways may have met an error that it did not foresee.
    """

    def __init__(self, settings: Settings, count: int = GATEWAYS, **environ: str) -> None:
        self.gateways: list[ForkedGateway] = []
        self.url = ""
        self._settings = settings
        self._count = count
        self._environ = environ
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with self._stack as stack:
            self._here = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            self._config.write_text(written(self._settings), encoding="utf-8")
            # They start side by side, and end so.
            started = [ForkedGateway(self._config, **self._environ) for _ in range(self._count)]
            for gateway in started:
                stack.push(gateway)
            stack.callback(self._end)
            self.gateways = [gateway.__enter__() for gateway in started]
            stack.enter_context(self._nginx())
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.__exit__(kind, error, at)
        if error is None:
            self.look()

    def look(self) -> None:
        """Fails if one of the gateways has met an error that it did not foresee."""
        assert "Traceback" not in self.log(), self.log()

    @property
    def _config(self) -> Path:
        return self._here / "gateway.toml"

    @contextmanager
    def another(self) -> Iterator[ForkedGateway]:
        """One more of them, of which nginx does not know."""
        with ForkedGateway(self._config, **self._environ) as gateway:
            yield gateway

    def log(self) -> str:
        return "".join(f"{number}: {line}" for number, one in enumerate(self.gateways) for line in one.log)

    def _end(self) -> None:
        for gateway in self.gateways:
            if gateway.process.poll() is None:
                gateway.process.terminate()

    @contextmanager
    def _nginx(self) -> Iterator[None]:
        addresses = [gateway.base_url.removeprefix("http://") for gateway in self.gateways]
        with held_port() as port, (self._here / "nginx.log").open("wb") as log:
            command = plain_nginx_command(self._here, port, addresses)
            self.url = f"http://127.0.0.1:{port}"
            process = subprocess.Popen(command, stdout=log, stderr=log)
            try:
                self._await_nginx(process)
                yield
            finally:
                process.terminate()
                process.wait(60)

    def _await_nginx(self, process: subprocess.Popen[bytes]) -> None:
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until and process.poll() is None:
            try:
                httpx.get(f"{self.url}/healthz").raise_for_status()
            except httpx.HTTPError:
                time.sleep(0.01)
            else:
                return
        raise RuntimeError(f"nginx does not answer:\n{(self._here / 'nginx.log').read_text()}")


class Threes:
    """A deployment in front of one Letta: whatever gateways it has, they come in threes, and all share one Redis.

    Those that nobody uses any more stay for a while. The same test is never given the same ones twice: so there are
    others after what it takes for a restart.
    """

    def __init__(self, redis: RedisServer, most_idle: int = MOST_IDLE) -> None:
        self.redis = redis
        self._prefix = f"gateway-{uuid.uuid4().hex[:8]}"
        self._most_idle = most_idle
        self._idle: list[tuple[Settings, str, Trio]] = []
        """Settings, the test that had them last, and those who have these settings; the oldest first."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end_all_but(0)

    def sharing(self, settings: Settings) -> Settings:
        """These settings, for gateways of this deployment."""
        sharing = Sharing(url=Secret(self.redis.url), prefix=self._prefix)
        return msgspec.structs.replace(settings, shared=sharing)

    def end_idle(self) -> None:
        """End those that nobody uses: they know, and hold, what they have begun."""
        self._end_all_but(0)

    @contextmanager
    def serve(self, settings: Settings) -> Iterator[str]:
        """Three of its gateways; gives their one address."""
        settings, test = self.sharing(settings), os.environ.get("PYTEST_CURRENT_TEST", "").partition(" ")[0]
        trio = self._take(settings, test) or Trio(settings).__enter__()
        try:
            yield trio.url
        except BaseException as error:
            trio.__exit__(type(error), error, None)
            raise
        trio.look()
        self._idle.append((settings, test, trio))
        self._end_all_but(self._most_idle)

    def _take(self, settings: Settings, test: str) -> Trio | None:
        for one in self._idle:
            if one[0] == settings and one[1] != test:
                self._idle.remove(one)
                return one[2]
        return None

    def _end_all_but(self, count: int) -> None:
        while len(self._idle) > count:
            self._idle.pop(0)[2].__exit__(None, None, None)


class AddressInThrees(str):
    """The address of a Letta, in front of which gateways come in threes."""

    threes: Threes

    @classmethod
    def of(cls, address: str, redis: RedisServer) -> "AddressInThrees":
        made = cls(address)
        made.threes = Threes(redis, most_idle=0)
        return made
