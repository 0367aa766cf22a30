"""Keeps deliveries away from addresses inside: an httpx transport that connects only to what the guard has judged.

The host name is resolved once, every address it has is judged, and the connection goes to a judged address, while
the Host header, SNI and the certificate's check keep the name: a name that resolves differently a moment later
(DNS rebinding) changes nothing.
"""

import ssl
from typing import Final, Protocol

import httpx

from crm_sync.guard import Allowance, Resolve, checked_addresses, host_of, resolve_host

_MAX_ADDRESSES: Final = 4  # tried in turn when one does not answer


class GuardedTransport(httpx.AsyncHTTPTransport):
    """Sends each request to a judged address of its host; see the module's docstring.

    Raises BlockedTarget and Retryable beside httpx's own errors.
    """

    def __init__(self, allowance: Allowance, resolve: Resolve, context: ssl.SSLContext | None) -> None:
        super().__init__(verify=True if context is None else context, trust_env=False, retries=0)
        self._allowance = allowance
        self._resolve = resolve

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Resolve, judge, and connect; the next address is tried when one cannot be connected to."""
        url = request.url
        addresses = await checked_addresses(url, self._allowance, self._resolve)
        failure: httpx.TransportError | None = None
        for address in addresses[:_MAX_ADDRESSES]:
            pinned = httpx.Request(
                request.method,
                url.copy_with(host=str(address)),
                headers=request.headers,  # Host was set from the name
                stream=request.stream,
                extensions={**request.extensions, "sni_hostname": host_of(url)},
            )
            try:
                return await super().handle_async_request(pinned)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failure = error
        assert failure is not None  # there was at least one address
        raise failure


class Target(Protocol):
    """An endpoint, as far as the guard looks at it."""

    @property
    def url(self) -> str:
        """Where it is."""
        ...

    @property
    def allowance(self) -> Allowance:
        """What it may be."""
        ...


async def check_target(target: Target, resolve: Resolve = resolve_host) -> str:
    """Where an endpoint would be reached, found without sending anything. Raises BlockedTarget, Retryable."""
    addresses = await checked_addresses(httpx.URL(target.url), target.allowance, resolve)
    return ", ".join(str(address) for address in addresses)
