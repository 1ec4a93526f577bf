"""`GET /healthz` (the process) and `GET /readyz` (Letta answers); neither needs a key."""

from collections.abc import Awaitable, Callable

from litestar import get
from litestar.di import NamedDependency


@get("/healthz", name="healthz")
async def healthz() -> dict[str, str]:
    return {"status": "ok"}


@get("/readyz", name="readyz")
async def readyz(check_letta: NamedDependency[Callable[[], Awaitable[None]]]) -> dict[str, str]:
    """Answer ok if Letta answers. Raises UpstreamError if not."""
    await check_letta()
    return {"status": "ok"}
