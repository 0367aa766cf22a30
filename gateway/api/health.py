"""Whether the gateway lives, and whether it can do its work."""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

from fastapi import Response
from pydantic import BaseModel

from gateway.api.router import Router


class Check(BaseModel):
    """One thing that the gateway needs, and how it is, in words."""

    ok: bool
    says: str


class Readiness(BaseModel):
    """Whether readings can be taken and stored right now, and if not, why not."""

    ready: bool
    checks: dict[str, Check]


ReadinessProbe = Callable[[], Awaitable[Mapping[str, Check]]]


def health_router(probe: ReadinessProbe) -> Router:
    """``GET /healthz`` and ``GET /readyz``, both without a token."""
    router = Router(tags=["health"])

    @router.get("/healthz")
    async def live() -> dict[str, str]:
        """The process answers."""
        return {"status": "ok"}

    @router.get("/readyz", responses={HTTPStatus.SERVICE_UNAVAILABLE: {"model": Readiness}})
    async def ready(response: Response) -> Readiness:
        """200 while readings can be taken and stored, else 503 with the reason."""
        checks = dict(await probe())
        is_ready = all(check.ok for check in checks.values())
        if not is_ready:
            response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
        return Readiness(ready=is_ready, checks=checks)

    return router
