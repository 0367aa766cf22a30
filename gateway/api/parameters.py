"""Query parameters that a call does not have are refused: a misspelt filter, if ignored, would answer everything."""

from http import HTTPStatus

from fastapi import HTTPException, Request
from fastapi.dependencies.utils import get_flat_params
from fastapi.params import Query
from fastapi.routing import APIRoute


async def only_known_parameters(request: Request) -> None:
    """A dependency, of routers: raises HTTPException 422 for what the route that is asked does not declare."""
    asked = request.query_params.keys()
    if not asked:
        return
    known = parameters_of(request.scope["route"])
    unknown = sorted(set(asked) - known)
    if unknown:
        has = ", ".join(sorted(known)) or "none at all"
        detail = f"no query parameter of this call: {', '.join(unknown)}; it has {has}"
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, detail)


def parameters_of(route: APIRoute) -> frozenset[str]:
    """What the query of a route may hold, by the names that callers use; those of its dependencies too."""
    return frozenset(field.alias for field in get_flat_params(route.dependant) if isinstance(field.field_info, Query))
