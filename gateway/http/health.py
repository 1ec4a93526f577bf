"""`GET /healthz` (the process) and `GET /readyz` (Letta answers); neither needs a key."""

from litestar import get
from litestar.di import NamedDependency

from gateway.turns.runs.registry import Runs


@get("/healthz", name="healthz")
async def healthz() -> dict[str, str]:
    return {"status": "ok"}


@get("/readyz", name="readyz")
async def readyz(runs: NamedDependency[Runs]) -> dict[str, str]:
    await runs.means.upstream.check_health()
    return {"status": "ok"}
