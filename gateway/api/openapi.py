"""The OpenAPI document: every call with who may make it, every problem and every header that it may answer."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from gateway.api.openapi_fields import FIELDS
from gateway.api.openapi_words import ABOUT, EXAMPLES, TAGS
from gateway.api.problems import MEDIA_TYPE, Problem
from gateway.people.door import COOKIE, CSRF_HEADER
from gateway.people.model import Role

Json = dict[str, Any]

_EVERYWHERE: Final = (HTTPStatus.SERVICE_UNAVAILABLE,)
_SIGNED_IN: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS)
_WITH_PARAMETERS: Final = (HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY)
_WRITES: Final = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.CONFLICT,
    HTTPStatus.PRECONDITION_FAILED,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
)
_CALLBACKS: Final = "/v1/callbacks/"
_OPEN: Final = ("/healthz", "/readyz", "/v1/session/oidc", _CALLBACKS)
_SIGN_IN: Final = ("/v1/session", "post")
_METHODS: Final = frozenset({"get", "put", "post", "patch", "delete"})
_PAGE: Final = re.compile(r"\bPage_(\w+?)_(?=\")|\bPage\[(\w+)\](?=\")")
"""What a page of something is called in schemas, and in their titles."""
_WORDS: Final = {"schema": {"type": "string"}}
_HEADERS: Final[Mapping[int, Json]] = {  # of problems, by status
    401: {"WWW-Authenticate": {"description": "How one signs in.", **_WORDS}},
    429: {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}},
    503: {"Retry-After": {"description": "Seconds, where it is known.", "schema": {"type": "integer"}}},
}


def name_of(route: APIRoute) -> str:
    """What a client generated from the document calls a call: `cases`, `cases_approve`."""
    tag = str(route.tags[0]) if route.tags else ""
    return route.name if route.name == tag or not tag else f"{tag}_{route.name}"


def describe(app: FastAPI) -> None:
    """Let `/openapi.json` say what the routes themselves do not: problems, sign-in, roles, headers and words."""

    def document() -> Json:
        if app.openapi_schema is None:
            said = get_openapi(title=app.title, version=app.version, description=ABOUT, routes=app.routes)
            app.openapi_schema = _complete(
                json.loads(_PAGE.sub(lambda found: f"{found[1] or found[2]}Page", json.dumps(said)))
            )
        return app.openapi_schema

    app.openapi = document


def _complete(said: Json) -> Json:
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
            "description": f"From `POST /v1/session`; `__Host-{COOKIE}` over TLS.",
        },
        "csrf": {
            "type": "apiKey",
            "in": "header",
            "name": CSRF_HEADER,
            "description": "`csrf` of `GET /v1/session`; every write with a session's cookie needs it.",
        },
    }
    said["tags"] = [{"name": name, "description": about} for name, about in TAGS.items()]
    for path, method, operation in _operations(said):
        _add_role(operation, [Role(name) for each in operation.get("security", []) for name in each])
        operation["security"] = _security(path, method)
        _add_problems(path, method, operation)
        _add_headers(operation)
        for parameter in operation.get("parameters", []):
            _tell(parameter, path, parameter["name"])
    _add_words(schemas)
    return said


def _security(path: str, method: str) -> list[Json]:
    """How one may sign in; an empty list where nobody is asked who they are, an empty one in it where one need not."""
    if path.startswith(_OPEN) or (path, method) == _SIGN_IN:
        return []
    session: Json = {"session": []} if method == "get" else {"session": [], "csrf": []}
    return [{"token": []}, session, *([{}] if path == "/metrics" else [])]


def _add_role(operation: Json, asked: Sequence[Role]) -> None:
    """The greatest that its dependencies ask for, which stand in the document as if they were ways to sign in."""
    if asked:
        role = max(asked, key=list(Role).index)
        operation["x-careloop-role"] = str(role)
        about = operation.get("description") or operation.get("summary", "")
        operation["description"] = f"{about}\n\nNeeds the role `{role}` at least."


def _add_problems(path: str, method: str, operation: Json) -> None:
    statuses = [*_EVERYWHERE, *_WITH_PARAMETERS]
    if path.startswith(_CALLBACKS):
        statuses += [HTTPStatus.UNAUTHORIZED, HTTPStatus.REQUEST_ENTITY_TOO_LARGE]
    if path.startswith("/v1/session/oidc"):
        statuses += [*_SIGNED_IN, HTTPStatus.BAD_GATEWAY]
    if not path.startswith(_OPEN):
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


def _add_headers(operation: Json) -> None:
    """Those of every good answer to a write that may be repeated, and of those that send a browser elsewhere."""
    names = {parameter["name"] for parameter in operation.get("parameters", [])}
    for status, response in operation["responses"].items():
        headers = response.setdefault("headers", {})
        if status == "303":
            headers["Location"] = {"description": "Where to go on.", **_WORDS}
        if status.startswith("2") and "Idempotency-Key" in names:
            about = "`true` where it had been answered before, under the same key."
            headers["Idempotent-Replayed"] = {"description": about, **_WORDS}
        if status.startswith("2") and "If-Match" in names:
            about = "Of what stands after it, where that has one."
            headers.setdefault("ETag", {"description": about, **_WORDS})
        if not headers:
            del response["headers"]


def _add_words(schemas: Json) -> None:
    for name, schema in schemas.items():
        for field, known in schema.get("properties", {}).items():
            _tell(known, name, field)
        if name in EXAMPLES:
            schema.setdefault("examples", [dict(EXAMPLES[name])])


def _tell(what: Json, of: str, name: str) -> None:
    """Say what a field of a schema, or a parameter of a path, is, where it does not say it."""
    told = FIELDS.get(f"{of}.{name}", FIELDS.get(name))
    if told is not None:
        what.setdefault("description", told)


def _operations(said: Json) -> Iterator[tuple[str, str, Json]]:
    for path, item in said.get("paths", {}).items():
        for method, operation in item.items():
            if method in _METHODS:
                yield path, method, operation


def _problem(status: HTTPStatus) -> Json:
    schema = {"$ref": "#/components/schemas/Problem"}
    told: Json = {"description": status.phrase, "content": {MEDIA_TYPE: {"schema": schema}}}
    return told | ({"headers": dict(_HEADERS[int(status)])} if int(status) in _HEADERS else {})
