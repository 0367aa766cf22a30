"""Judges where deliveries may go: what a URL says by itself, and every address that its host has."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING, Final

from devices.errors import Permanent, Retryable

if TYPE_CHECKING:  # settings are judged by every command, most of which send nothing
    import httpx

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""(host, port) to addresses; raises OSError."""

BLOCKED: Final = "blocked_target"
"""The reason of every refusal; the detail says what was wrong."""

UNRESOLVED: Final = "unresolved_host"

_PORTS: Final = {"http": 80, "https": 443}

# What IANA's special-purpose registries (RFC 6890) keep from the public Internet. ipaddress.is_global is not asked: on
# Python 3.11 it takes multicast, NAT64 and 6to4 for public.
_INSIDE_4: Final = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT, and some clouds' metadata
        "127.0.0.0/8",
        "168.63.129.16/32",  # Azure's wire server: a public address that answers only from inside
        "169.254.0.0/16",  # link-local, and most clouds' metadata
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",
    )
)
_PUBLIC_6: Final = IPv6Network("2000::/3")  # the only part of IPv6 that is routed in public
_INSIDE_6: Final = tuple(IPv6Network(text) for text in ("2001::/23", "2001:db8::/32", "3fff::/20"))
_NAT64: Final = IPv6Network("64:ff9b::/96")
_COMPATIBLE: Final = IPv6Network("::/96")  # ::127.0.0.1, as old stacks wrote it


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one endpoint may reach beyond public HTTPS."""

    http: bool = False
    networks: tuple[Network, ...] = ()
    ports: tuple[int, ...] = ()


class BlockedTarget(Permanent):
    """The target is not one that deliveries may go to."""

    def __init__(self, detail: str) -> None:
        super().__init__(BLOCKED, detail)


def unwrap(address: Address) -> Address:
    """The IPv4 address inside an IPv6 one that merely carries it: mapped, compatible, NAT64 and 6to4."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def is_public(address: Address) -> bool:
    """Whether anybody on the Internet could be meant by this address."""
    inner = unwrap(address)
    if isinstance(inner, IPv4Address):
        return not any(inner in network for network in _INSIDE_4)
    return inner in _PUBLIC_6 and not any(inner in network for network in _INSIDE_6)


def check_address(address: Address, allowance: Allowance) -> None:
    """Raise BlockedTarget unless the address is public or in a network that the endpoint names."""
    inner = unwrap(address)
    named = any(inner in network for network in allowance.networks if network.version == inner.version)
    if not named and not is_public(address):
        shown = str(address) if inner == address else f"{address} ({inner})"
        message = f"{shown} is not a public address, and no network of allow_networks holds it"
        raise BlockedTarget(message)


def check_url(url: "httpx.URL", allowance: Allowance) -> None:
    """Judge what a URL says by itself, without asking any name server. Raises BlockedTarget."""
    if url.scheme not in _PORTS or (url.scheme == "http" and not allowance.http):
        message = f"{url.scheme or 'no scheme'}: only https is allowed, or http with allow_http"
        raise BlockedTarget(message)
    if url.userinfo:
        message = "user name and password do not belong into the URL"
        raise BlockedTarget(message)
    if not url.host:
        message = "the URL names no host"
        raise BlockedTarget(message)
    port = port_of(url)
    if port not in {*_PORTS.values(), *allowance.ports}:
        message = f"port {port} is neither 80 nor 443, and ports does not name it"
        raise BlockedTarget(message)
    literal = _literal_address(host_of(url))
    if literal is not None:
        check_address(literal, allowance)


def port_of(url: "httpx.URL") -> int:
    """The port that a checked URL means."""
    return url.port if url.port is not None else _PORTS[url.scheme]


def host_of(url: "httpx.URL") -> str:
    """The host in ASCII, as name servers and certificates know it."""
    return url.raw_host.decode("ascii")


def _literal_address(host: str) -> Address | None:
    """The address that a host is without any look-up: also localhost, 2130706433, 0x7f.1 and 0."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return IPv4Address("127.0.0.1")
    try:
        return ip_address(name)
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(name))  # every spelling that the C library would take
    except (OSError, ValueError):
        return None


async def resolve_host(host: str, port: int) -> Sequence[str]:
    """All addresses of a host, from the system's resolver. Raises OSError."""
    infos = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(info[4][0]) for info in infos))


async def checked_addresses(url: "httpx.URL", allowance: Allowance, resolve: Resolve) -> list[Address]:
    """The addresses that a request to `url` may connect to: all that the host has, or none.

    Raises BlockedTarget when any of them is not allowed, Retryable when the name cannot be resolved now.
    """
    check_url(url, allowance)
    host = host_of(url)
    try:
        found = await resolve(host, port_of(url))
        addresses = [ip_address(text) for text in found]
    except (OSError, ValueError) as error:  # UnicodeError, which odd names raise, is a ValueError
        detail = f"{host}: {error}"
        raise Retryable(UNRESOLVED, detail) from error
    if not addresses:
        raise Retryable(UNRESOLVED, host)
    for address in addresses:
        check_address(address, allowance)
    return addresses
