"""`GET /healthz` (the process) and `GET /readyz` (Letta answers); neither needs a key."""

from litestar import Request, get
from litestar.datastructures import State

from gateway.http.parts import parts_of


@get("/healthz", name="healthz")
async def healthz() -> dict[str, str]:
    return {"status": "ok"}


@get("/readyz", name="readyz")
async def readyz(request: Request[None, None, State]) -> dict[str, str]:
    """Answer ok if Letta answers. Raises UpstreamError if not."""
    await parts_of(request).check_letta()
    return {"status": "ok"}
