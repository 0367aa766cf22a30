"""Routers that note what is declared in them; an application builds each route of theirs once.

FastAPI's own routers build their routes when these are declared, build them again for the application that includes
the router, and do so at the first request. That is the greater part of a gateway's start after its imports.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from fastapi import FastAPI
from fastapi.params import Depends

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Router:
    """The routes of one part of an application, below a prefix; what is said of a route is what FastAPI takes."""

    prefix: str = ""
    tags: Sequence[str] = ()
    _declared: list[tuple[str, Callable[..., Any], Mapping[str, Any]]] = field(default_factory=list, init=False)

    def api_route(self, path: str, methods: Sequence[str], **said: Any) -> Callable[[Endpoint], Endpoint]:
        """Declare a function as what answers these methods at a path."""

        def declare(endpoint: Endpoint) -> Endpoint:
            self._declared.append((path, endpoint, {"methods": list(methods), **said}))
            return endpoint

        return declare

    def get(self, path: str, **said: Any) -> Callable[[Endpoint], Endpoint]:
        """Declare what answers GET."""
        return self.api_route(path, ("GET",), **said)

    def post(self, path: str, **said: Any) -> Callable[[Endpoint], Endpoint]:
        """Declare what answers POST."""
        return self.api_route(path, ("POST",), **said)

    def put(self, path: str, **said: Any) -> Callable[[Endpoint], Endpoint]:
        """Declare what answers PUT."""
        return self.api_route(path, ("PUT",), **said)

    def patch(self, path: str, **said: Any) -> Callable[[Endpoint], Endpoint]:
        """Declare what answers PATCH."""
        return self.api_route(path, ("PATCH",), **said)

    def delete(self, path: str, **said: Any) -> Callable[[Endpoint], Endpoint]:
        """Declare what answers DELETE."""
        return self.api_route(path, ("DELETE",), **said)

    def install(self, app: FastAPI, prefix: str = "", dependencies: Sequence[Depends] = (), **said: Any) -> None:
        """Build the routes in an application: below a prefix, each with these dependencies before its own."""
        for path, endpoint, of_route in self._declared:
            app.router.add_api_route(
                f"{prefix}{self.prefix}{path}",
                endpoint,
                tags=list(self.tags),
                dependencies=list(dependencies),
                **said,
                **of_route,
            )
