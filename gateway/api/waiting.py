"""What the API answers while there is no database to ask."""

from collections.abc import Callable, Mapping
from http import HTTPStatus

from fastapi import FastAPI, HTTPException

from gateway.api.health import Check, health_router
from gateway.api.problems import install_problems


def build_waiting_api(waits_for: Callable[[], str]) -> FastAPI:
    """An application that lives, is not ready and says why; everything else answers 503."""
    app = FastAPI(title="careloop", version="1", docs_url=None, redoc_url=None, openapi_url=None)
    install_problems(app)

    async def probe() -> Mapping[str, Check]:
        return {"database": Check(ok=False, says=waits_for())}

    health_router(probe).install(app)

    @app.api_route("/{path:path}", methods=["GET", "PUT", "POST", "PATCH", "DELETE"])
    async def unavailable(path: str) -> None:
        """Nothing can be asked yet."""
        raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, f"/{path}: {waits_for()}", headers={"Retry-After": "1"})

    return app
