"""`GET /healthz` (the process) and `GET /readyz` (Letta answers, and requests are taken); neither needs a key."""

from litestar import Request, get
from litestar.datastructures import State

from gateway.domain.errors import Overloaded
from gateway.http.middleware import ENDING
from gateway.http.parts import parts_of


@get("/healthz", name="healthz")
async def healthz() -> dict[str, str]:
    return {"status": "ok"}


@get("/readyz", name="readyz")
async def readyz(request: Request[None, None, State]) -> dict[str, str]:
    """Answer ok if Letta answers. Raises UpstreamError if not, and Overloaded if the gateway is about to end.

    Of several processes all must be up.
    """
    parts = parts_of(request)
    if parts.door.closed:
        raise Overloaded(ENDING)
    await parts.check_letta()
    if parts.whole:
        await parts.whole.check()
    return {"status": "ok"}
