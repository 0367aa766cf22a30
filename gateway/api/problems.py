"""Errors as ``application/problem+json`` (RFC 9457)."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from psycopg import DataError, OperationalError
from psycopg_pool import PoolTimeout
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.routing import Match

from devices.errors import CareloopError, Retryable

MEDIA_TYPE = "application/problem+json"

_METHODS: Final = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
_STATUS: Final[Mapping[str, HTTPStatus]] = {
    "changed_meanwhile": HTTPStatus.PRECONDITION_FAILED,
    "unknown_command": HTTPStatus.UNPROCESSABLE_ENTITY,
    "unusable_name": HTTPStatus.UNPROCESSABLE_ENTITY,
    "weak_password": HTTPStatus.UNPROCESSABLE_ENTITY,
    "wrong_command": HTTPStatus.UNPROCESSABLE_ENTITY,
    "wrong_settings": HTTPStatus.UNPROCESSABLE_ENTITY,
}


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str


def status_of(error: CareloopError) -> HTTPStatus:
    """What HTTP calls an error: by default what is unknown is not found, and whatever else is in the way a conflict."""
    if isinstance(error, Retryable):
        return HTTPStatus.SERVICE_UNAVAILABLE
    missing = HTTPStatus.NOT_FOUND if error.reason.startswith("unknown_") else HTTPStatus.CONFLICT
    return _STATUS.get(error.reason, missing)


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """One problem, as a response."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return JSONResponse(body, status, headers, MEDIA_TYPE)


def _methods_of(app: FastAPI, request: Request) -> list[str]:
    """What an address may be asked with; its routes know but their own methods each."""
    path = {"type": "http", "path": request.scope["path"], "root_path": request.scope.get("root_path", "")}
    found = [
        method
        for method in _METHODS
        if any(route.matches({**path, "method": method})[0] is Match.FULL for route in app.routes)
    ]
    return sorted({*found, "HEAD"}) if "GET" in found else found


def _is_unread(request: Request, error: RequestValidationError) -> bool:
    """Whether a body was not understood because it says that it is something else than JSON."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_json = media_type == "application/json" or media_type.endswith("+json")
    return not is_json and any(item["loc"] == ("body",) and item["type"] != "missing" for item in error.errors())


def install_problems(app: FastAPI) -> None:
    """Make every error of `app` a problem document."""

    async def on_http_error(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            allowed = ", ".join(_methods_of(app, request))
            return problem(error.status_code, f"this address answers {allowed}", {"Allow": allowed})
        return problem(error.status_code, str(error.detail), dict(error.headers or {}))

    async def on_bad_request(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        if _is_unread(request, error):
            found = request.headers.get("content-type") or "nothing of the kind"
            return problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"a body is application/json, and this says {found}")
        faults = "; ".join(f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors())
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, faults)

    async def on_trouble_of_ours(_request: Request, _error: Exception) -> JSONResponse:
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "something went wrong here; the gateway's log says what")

    async def on_database_down(_request: Request, _error: Exception) -> JSONResponse:
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, "the database does not answer", {"Retry-After": "5"})

    async def on_careloop_error(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, CareloopError)
        return problem(status_of(error), error.detail or error.reason)

    async def on_unstorable(_request: Request, error: Exception) -> JSONResponse:
        says = str(error).partition("\n")[0]
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"the database cannot take one of the values: {says}")

    app.add_exception_handler(Exception, on_trouble_of_ours)  # it is raised again afterwards, and logged
    app.add_exception_handler(CareloopError, on_careloop_error)
    app.add_exception_handler(DataError, on_unstorable)
    app.add_exception_handler(HTTPException, on_http_error)
    app.add_exception_handler(RequestValidationError, on_bad_request)
    app.add_exception_handler(OperationalError, on_database_down)
    app.add_exception_handler(PoolTimeout, on_database_down)
