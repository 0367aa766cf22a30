"""`GET /metrics`, for Prometheus."""

from collections.abc import Callable
from ipaddress import ip_address
from typing import Annotated, Final

from fastapi import Header, Request, Response

from gateway.api.router import Router
from gateway.people.door import actor
from gateway.settings import ApiSettings

_MEDIA: Final = {name: {"schema": {"type": "string"}} for name in ("text/plain", "application/openmetrics-text")}

Scrape = Callable[[str], tuple[bytes, str]]


def metrics_router(scrape: Scrape, settings: ApiSettings) -> Router:
    """``GET /metrics``, with a bearer token or, for whom `api.metrics` says so, without."""
    router = Router(tags=["metrics"])

    @router.get("/metrics", response_class=Response, responses={200: {"content": _MEDIA}})
    async def metrics(request: Request, accept: Annotated[str, Header()] = "") -> Response:
        """The gateway's numbers in the format of Prometheus, or of OpenMetrics where that is asked for."""
        if not (settings.metrics == "anyone" or (settings.metrics == "loopback" and _is_from_here(request))):
            await actor(request)
        body, content_type = scrape(accept)
        return Response(body, headers={"Content-Type": content_type})

    return router


def _is_from_here(request: Request) -> bool:
    if request.client is None:
        return False
    try:
        address = ip_address(request.client.host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
