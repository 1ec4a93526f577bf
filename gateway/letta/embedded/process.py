"""A Letta App Server of the gateway's own: a child process with a state directory.

The only module that knows the `letta` wheel.
"""

import asyncio
import importlib.util
import logging
import os
import re
import secrets
import shutil
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from contextlib import suppress
from io import FileIO
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from gateway.domain import errors
from gateway.domain.texts.halves import decode
from gateway.letta.embedded.directory import state_backend
from gateway.letta.embedded.lock import StateLock, take_lock
from gateway.letta.notes import with_notes

logger = logging.getLogger(__name__)
START_SECONDS = 60.0
# Longer than the last delay and a start together.
RESTART_SECONDS = 30.0
END_SECONDS = 10.0
LOOKS, LOOK_SECONDS = 20, 0.05
HANG_SECONDS = 10.0
FIRST_RESTART_DELAY, LAST_RESTART_DELAY = 0.2, 10.0
STEADY_SECONDS = 30.0
MAX_LOG_BYTES = 10_000_000

HERE = Path(__file__).parent
MODELS_MOD = "letta-gateway-models.js"
# The keeper says the one, the App Server the other as soon as it accepts connections. Either may be heard first.
KEEPING = re.compile(rb"^Keeping process (\d+)\n", re.MULTILINE)
ACCEPTS = re.compile(rb"^WebSocket: (ws://\S+)\n", re.MULTILINE)
# The wheel's own launcher, wherever the wheel is: the child has another HOME, so it may not find it by itself.
LAUNCH = "import sys; sys.path.insert(0, sys.argv.pop(1)); import letta_code; sys.exit(letta_code.main())"
SERVE = ("server", "--backend", "local", "--listen", "ws://127.0.0.1:0", "--ws-auth", "capability-token")
# All that the child sees of the gateway's environment: no key of anyone is among it.
INHERITED = re.compile(
    "PATH|LANG|LC_.*|TZ|TMPDIR|SSL_CERT_FILE|SSL_CERT_DIR|NODE_EXTRA_CA_CERTS|NODE_COMPILE_CACHE|SYSTEMROOT"
    "|HTTP_PROXY|HTTPS_PROXY|NO_PROXY|http_proxy|https_proxy|no_proxy"
)
CHILD_SWITCHES = {
    "LETTA_CODE_TELEM": "0",
    "DISABLE_AUTOUPDATER": "1",
    "LETTA_DISABLE_CRON_SCHEDULER": "1",
    "LETTA_DISABLE_LSP_DOWNLOAD": "1",
}
# Reflection runs an agent that nobody asked; the session context tells the model of the host.
APP_SERVER_SETTINGS = {"reflectionTrigger": "off", "sessionContextEnabled": False}


class AppServerProcess:
    """An App Server of the gateway's own: started, watched, restarted when it dies, ended with the gateway."""

    def __init__(self, state: Path, models_mod: bytes | None = None) -> None:
        """`models_mod` is a mod for the models of its provider, where they need one."""
        self._state = state.absolute()
        self._models_mod = models_mod
        self._lock: StateLock | None = None
        self._child: _Child | None = None
        self._coming: _Child | None = None
        """The child that is not up yet."""
        self._watcher: asyncio.Task[None] | None = None
        # The child is up, or will never be again.
        self._settled = asyncio.Event()

    @property
    def backend(self) -> Path:
        """The folder of the App Server's agents, conversations and memory."""
        return state_backend(self._state)

    @property
    def log(self) -> Path:
        return self._state / "app-server.log"

    @property
    def pid(self) -> int | None:
        """The process of the App Server itself."""
        return self._child.pid if self._child else None

    async def begin(self) -> None:
        """Start the App Server; `start` waits until it answers. Raises CannotStart (StateInUse is one), Unreachable."""
        if self._lock is not None:
            return
        _check_machine()
        try:
            self._state.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = await take_lock(self._state)
        except OSError as error:
            raise errors.CannotStart(f"The state directory {self._state} cannot be used: {error.strerror}") from error
        try:
            self._coming = await self._launch(self._lock)
        except BaseException:
            await self.aclose()
            raise

    async def start(self) -> None:
        """Return once the App Server answers. Raises what `begin` raises."""
        await self.begin()
        assert self._lock
        assert self._coming
        try:
            await self._bring_up(self._coming, self._lock)
        except BaseException:
            await self.aclose()
            raise
        self._watcher = asyncio.create_task(self._watch(self._lock))

    async def address(self) -> tuple[str, str]:
        """The address and the token of the present App Server; waits for one that is being restarted.

        Whoever comes here has no connection, or lost it: one that does not answer at all is replaced.
        """
        if (child := self._child) and await _hangs(child.url):
            # Of several who have looked at it one says so.
            if not child.is_ending:
                logger.warning("The App Server hangs; another takes its place")
            await child.end()
        with suppress(TimeoutError):
            async with asyncio.timeout(RESTART_SECONDS):
                await self._settled.wait()
                # Who lost the connection to it comes here before its end is known, which then takes a moment.
                for _ in range(LOOKS):
                    if self._child is None or await _listens(self._child.url):
                        break
                    await asyncio.sleep(LOOK_SECONDS)
                    await self._settled.wait()
        if self._child is None:
            raise errors.Unreachable(f"the App Server is not running; see {self.log}")
        return self._child.url, self._child.token

    async def restart(self) -> None:
        """Have another App Server read the state directory again; returns when this one has ended."""
        if self._child:
            await self._child.end()

    def tell_address(self, address: str) -> None:
        """Tell gateways that are started beside this one where it serves."""
        if self._lock:
            self._lock.tell(address=address)

    async def aclose(self) -> None:
        """End the App Server and wait for its end."""
        self._settled.set()
        if self._watcher:
            self._watcher.cancel()
            await asyncio.wait([self._watcher])
        children, self._child, self._coming = (self._child, self._coming), None, None
        for child in filter(None, children):
            await child.end()
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()

    async def _watch(self, lock: StateLock) -> None:
        """Start the App Server again whenever it has ended."""
        delay = FIRST_RESTART_DELAY
        while True:
            lived = await self._child_lived()
            delay = FIRST_RESTART_DELAY if lived > STEADY_SECONDS else delay
            logger.warning("The App Server is gone; it starts again in %.1f s (log: %s)", delay, self.log)
            await asyncio.sleep(delay)
            delay = min(2 * delay, LAST_RESTART_DELAY)
            with suppress(errors.Unreachable):
                await self._bring_up(await self._launch(lock), lock)

    async def _child_lived(self) -> float:
        """Waits for the child's end and gives the seconds it lived; 0 if it did not even start."""
        if self._child is None:
            return 0.0
        clock = asyncio.get_running_loop().time
        begun = clock()
        await self._child.wait()
        self._settled.clear()
        self._child = None
        return clock() - begun

    async def _launch(self, lock: StateLock) -> "_Child":
        """A child that comes up by and by. Raises Unreachable."""
        try:
            token = _prepare(self._state, self._models_mod)
            return await _spawn(self._state, self.log, token, lock.file)
        except OSError as error:
            raise errors.Unreachable(f"the App Server cannot be started: {error}") from error

    async def _bring_up(self, child: "_Child", lock: StateLock) -> None:
        """Raises Unreachable if the child does not come up."""
        self._coming = None
        try:
            async with asyncio.timeout(START_SECONDS):
                await child.ready()
        except BaseException as error:
            await child.end()
            if isinstance(error, TimeoutError | EOFError):
                raise errors.Unreachable(f"the App Server did not come up; see {self.log}") from None
            raise
        self._child = child
        lock.tell(letta=child.url)
        self._settled.set()


class _Child:
    """One life of the App Server, from its keeper's start on."""

    def __init__(self, process: Process, log: Path, token: str) -> None:
        self.pid: int | None = None
        self.url = ""
        self.token = token
        self.is_ending = False
        """True: it was let go of."""
        self._process = process
        self._announced = asyncio.Event()
        self._copying = asyncio.create_task(self._copy(log))

    async def ready(self) -> None:
        """Returns when the App Server listens; raises EOFError if it ended before."""
        await self._announced.wait()
        if not self.url:
            raise EOFError

    async def wait(self) -> None:
        """Returns when the child has ended and its last words are in the log."""
        await self._process.wait()
        # What the App Server had started may live on, and hold its end of the pipe.
        await asyncio.wait([self._copying], timeout=1)
        self._copying.cancel()

    async def end(self) -> None:
        """Let go of the child, so that its keeper ends it, and wait for that."""
        assert self._process.stdin
        self.is_ending = True
        self._process.stdin.close()
        try:
            async with asyncio.timeout(END_SECONDS):
                await self._process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                self._process.kill()
        await self.wait()

    async def _copy(self, path: Path) -> None:
        assert self._process.stdout
        said = b""
        with _append(path) as log:
            while news := await self._process.stdout.read(65536):
                # A full disk is no reason to stop listening: the child would block.
                with suppress(OSError):
                    log.write(news)
                if not self.url:
                    said += news
                    self._look_for_announcement(said)
        self._announced.set()

    def _look_for_announcement(self, said: bytes) -> None:
        if (kept := KEEPING.search(said)) and (accepts := ACCEPTS.search(said)):
            self.pid = int(kept[1])
            self.url = accepts[1].decode()
            self._announced.set()


async def _spawn(state: Path, log: Path, token: str, lock: int) -> _Child:
    wheel = importlib.util.find_spec("letta_code")
    assert wheel
    assert wheel.origin
    launch = (sys.executable, "-IS", "-c", LAUNCH, str(Path(wheel.origin).parent.parent))
    # A session of its own: Ctrl-C is for the gateway, which ends its App Server when the last answer has been given.
    # The keeper holds the lock, too: as long as it lives there is an App Server, whatever became of the gateway.
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-IS", str(HERE / "keeper.py")),
        *(*launch, *SERVE, "--ws-token-file", str(state / "token")),
        cwd=state,
        env=_environment(state),
        stdin=PIPE,
        stdout=PIPE,
        stderr=STDOUT,
        start_new_session=True,
        pass_fds=(lock,),
    )
    return _Child(process, log, token)


async def _listens(url: str) -> bool:
    """True if somebody accepts connections there."""
    place = urlsplit(url)
    try:
        _, writer = await asyncio.open_connection(place.hostname, place.port)
    except OSError:
        return False
    writer.close()
    return True


async def _hangs(url: str) -> bool:
    """True if connections are accepted there and nothing is said on them, as the system does for a stopped process."""
    place = urlsplit(url)
    try:
        async with asyncio.timeout(HANG_SECONDS):
            reader, writer = await asyncio.open_connection(place.hostname, place.port)
            try:
                writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                await reader.read(1)
            finally:
                writer.close()
    except TimeoutError:
        return True
    except OSError:
        return False
    return False


def _check_machine() -> None:
    """Raises CannotStart for what is missing."""
    if os.name == "nt":
        raise errors.CannotStart("The App Server cannot be embedded on Windows; start one and name its address")
    if importlib.util.find_spec("letta_code") is None:
        raise errors.CannotStart("The App Server is not installed: pip install letta-gateway[embedded]")
    if shutil.which("git") is None:
        raise errors.CannotStart("The App Server keeps memory in git repositories, and there is no git: install it")


def _prepare(state: Path, models_mod: bytes | None) -> str:
    """Write what the App Server reads when it starts; gives its new token."""
    mods = state / ".letta" / "mods"
    for directory in (mods.parent, mods):
        directory.mkdir(exist_ok=True)
        directory.chmod(0o700)
    log = state / "app-server.log"
    if log.exists() and log.stat().st_size > MAX_LOG_BYTES:
        log.replace(f"{log}.1")
    # The gateway connects its provider anew with every start, and the App Server does not start on half of such a file.
    providers = state_backend(state) / "providers" / "auth.json"
    if not _read_settings(providers):
        providers.unlink(missing_ok=True)
    settings = mods.parent / "settings.json"
    _write(settings, msgspec.json.encode(_read_settings(settings) | APP_SERVER_SETTINGS))
    _write(mods / "letta-gateway.js", with_notes((HERE / "mod.js").read_text()).encode())
    if models_mod:
        _write(mods / MODELS_MOD, models_mod)
    else:
        (mods / MODELS_MOD).unlink(missing_ok=True)
    token = secrets.token_urlsafe(32)
    _write(state / "token", token.encode())
    return token


def _read_settings(path: Path) -> dict[str, object]:
    """The settings that the App Server keeps there; none where it could not read them either."""
    try:
        return decode(path.read_bytes(), dict[str, object])
    except (FileNotFoundError, msgspec.DecodeError):
        return {}


def _write(path: Path, content: bytes) -> None:
    """Replace a file at once, so that nobody ever reads half of it."""
    new = path.with_name(f"{path.name}.new")
    with open(new, "wb", opener=_private) as file:
        file.write(content)
    new.replace(path)


def _append(path: Path) -> FileIO:
    return open(path, "ab", buffering=0, opener=_private)


def _private(path: str, flags: int) -> int:
    """An opener of files that nobody else may read."""
    return os.open(path, flags, 0o600)


def _environment(state: Path) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if INHERITED.fullmatch(name)}
    own = {"HOME": str(state), "LETTA_LOCAL_BACKEND_DIR": str(state_backend(state)), "NODE_OPTIONS": _node_options()}
    return inherited | CHILD_SWITCHES | own


def _node_options() -> str:
    # https://nodejs.org/api/cli.html#node_optionsoptions
    path = str(HERE / "whole.cjs").replace("\\", "\\\\").replace('"', '\\"')
    return f'--require "{path}"'
