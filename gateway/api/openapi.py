"""The OpenAPI document: every call with how it is signed in to, and with every problem that it may answer."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from gateway.api.problems import MEDIA_TYPE, Problem
from gateway.people.door import COOKIE, CSRF_HEADER

_EVERYWHERE: Final = (HTTPStatus.SERVICE_UNAVAILABLE,)
_SIGNED_IN: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS)
_WITH_PARAMETERS: Final = (HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY)
_WRITES: Final = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.CONFLICT,
    HTTPStatus.PRECONDITION_FAILED,
    HTTPStatus.UNPROCESSABLE_ENTITY,
)
_CALLBACKS: Final = "/v1/callbacks/"
_OPEN: Final = ("/healthz", "/readyz", "/v1/session/oidc", _CALLBACKS)
_METHODS: Final = frozenset({"get", "put", "post", "patch", "delete"})
_ABOUT: Final = "Problems are `application/problem+json`. Lists come in pages: pass `next` as `cursor`."


def describe(app: FastAPI) -> None:
    """Let `/openapi.json` say what the routes themselves do not: problems and sign-in."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _complete(
                get_openapi(title=app.title, version=app.version, description=_ABOUT, routes=app.routes)
            )
        return app.openapi_schema

    app.openapi = document


def _complete(said: dict[str, Any]) -> dict[str, Any]:
    components = said.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):  # ours are problems
        schemas.pop(name, None)
    schemas["Problem"] = Problem.model_json_schema()
    components["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer"},
        "session": {
            "type": "apiKey",
            "in": "cookie",
            "name": COOKIE,
            "description": f"From `POST /v1/session`; `__Host-{COOKIE}` over TLS. Writes need `{CSRF_HEADER}` too.",
        },
    }
    for path, method, operation in _operations(said):
        statuses = [*_EVERYWHERE, *_WITH_PARAMETERS]
        if path.startswith(_CALLBACKS):
            statuses += [HTTPStatus.UNAUTHORIZED, HTTPStatus.REQUEST_ENTITY_TOO_LARGE]
        if not path.startswith(_OPEN):
            operation["security"] = [{"token": []}, {"session": []}]
            statuses += _SIGNED_IN
        if method != "get":
            statuses += _WRITES
        responses = operation.setdefault("responses", {})
        for status in sorted(set(statuses)):
            if str(int(status)) not in responses or status is HTTPStatus.UNPROCESSABLE_ENTITY:
                responses[str(int(status))] = _problem(status)
        if path.startswith(_CALLBACKS):  # which say themselves what became of them, good or bad
            for response in responses.values():
                response["content"]["application/json"] = {"schema": {"type": "object"}}
    return said


def _operations(said: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in said.get("paths", {}).items():
        for method, operation in item.items():
            if method in _METHODS:
                yield path, method, operation


def _problem(status: HTTPStatus) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": status.phrase, "content": {MEDIA_TYPE: {"schema": schema}}}
