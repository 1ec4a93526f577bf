"""`GET /healthz` (the process) and `GET /readyz` (Letta answers); neither needs a key."""

from litestar import get
from litestar.di import NamedDependency

from gateway.letta.errors import UpstreamError
from gateway.openai_wire.errors import UpstreamFailure
from gateway.turns.run import Runs


@get("/healthz", name="healthz")
async def healthz() -> dict[str, str]:
    return {"status": "ok"}


@get("/readyz", name="readyz")
async def readyz(runs: NamedDependency[Runs]) -> dict[str, str]:
    try:
        await runs.upstream.check_health()
    except UpstreamError as error:
        raise UpstreamFailure(error) from error
    return {"status": "ok"}
