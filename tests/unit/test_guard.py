"""Targets inside are refused, however they are spelt."""

from collections.abc import Sequence
from ipaddress import ip_address, ip_network

import httpx
import pytest

from crm_sync.guard import (
    Allowance,
    BlockedTarget,
    check_address,
    check_url,
    checked_addresses,
    is_public,
    resolve_host,
)
from devices.errors import Retryable

PUBLIC_ONLY = Allowance()


@pytest.mark.parametrize(
    "text",
    [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "100.100.100.200",
        "127.0.0.1",
        "127.255.255.254",
        "168.63.129.16",
        "169.254.169.254",
        "172.31.255.255",
        "192.0.0.192",
        "192.168.1.1",
        "198.18.0.1",
        "203.0.113.9",
        "224.0.0.1",
        "239.255.255.250",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::1",
        "2001::1",
        "2001:db8::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%1",
        "fec0::1",
        "ff02::1",
        "100::1",
    ],
)
def test_addresses_inside_are_not_public(text: str) -> None:
    assert not is_public(ip_address(text))
    with pytest.raises(BlockedTarget):
        check_address(ip_address(text), PUBLIC_ONLY)


@pytest.mark.parametrize("text", ["1.1.1.1", "93.184.216.34", "172.32.0.1", "2606:4700::1111", "2002:101:101::1"])
def test_addresses_outside_are(text: str) -> None:
    check_address(ip_address(text), PUBLIC_ONLY)


def test_a_named_network_is_open_and_no_other() -> None:
    inside = Allowance(networks=(ip_network("10.20.0.0/16"),))
    check_address(ip_address("10.20.3.4"), inside)
    check_address(ip_address("::ffff:10.20.3.4"), inside)
    for other in ("10.21.0.1", "127.0.0.1", "fd00::1"):
        with pytest.raises(BlockedTarget):
            check_address(ip_address(other), inside)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "//example.com/",
        "https:///path",
        "https://user:secret@example.com/",
        "https://user@example.com/",
        "https://example.com:8443/",
        "https://example.com:22/",
        "https://127.0.0.1/",
        "https://localhost/",
        "https://LOCALHOST./",
        "https://crm.localhost/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://127.1/",
        "https://0/",
        "https://[::1]/",
        "https://[::ffff:7f00:1]/",
        "https://[64:ff9b::127.0.0.1]/",
        "https://169.254.169.254/latest/meta-data/",
    ],
)
def test_urls_that_lead_inside_are_refused_before_anything_is_resolved(url: str) -> None:
    with pytest.raises(BlockedTarget):
        check_url(httpx.URL(url), PUBLIC_ONLY)


def test_what_the_endpoint_names_is_allowed() -> None:
    check_url(httpx.URL("https://example.com/hook"), PUBLIC_ONLY)
    check_url(httpx.URL("https://example.com:443/hook"), PUBLIC_ONLY)
    check_url(httpx.URL("http://example.com/hook"), Allowance(http=True))
    check_url(httpx.URL("https://example.com:8443/hook"), Allowance(ports=(8443,)))
    check_url(httpx.URL("https://10.0.0.1/hook"), Allowance(networks=(ip_network("10.0.0.0/8"),)))


async def test_one_address_inside_refuses_the_whole_name() -> None:
    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return ["93.184.216.34", "192.168.0.10"]

    with pytest.raises(BlockedTarget, match=r"192\.168\.0\.10"):
        await checked_addresses(httpx.URL("https://example.com/"), PUBLIC_ONLY, resolve)


@pytest.mark.parametrize("error", [OSError("no such name"), UnicodeError("label too long")])
async def test_a_name_that_cannot_be_resolved_may_be_later(error: Exception) -> None:
    async def resolve(_host: str, _port: int) -> Sequence[str]:
        raise error

    with pytest.raises(Retryable):
        await checked_addresses(httpx.URL("https://example.com/"), PUBLIC_ONLY, resolve)


async def test_a_name_with_no_address_may_have_one_later() -> None:
    async def resolve(_host: str, _port: int) -> Sequence[str]:
        return []

    with pytest.raises(Retryable):
        await checked_addresses(httpx.URL("https://example.com/"), PUBLIC_ONLY, resolve)


async def test_names_are_resolved_as_name_servers_know_them() -> None:
    asked: list[str] = []

    async def resolve(host: str, _port: int) -> Sequence[str]:
        asked.append(host)
        return ["93.184.216.34"]

    await checked_addresses(httpx.URL("https://bücher.example/"), PUBLIC_ONLY, resolve)
    assert asked == ["xn--bcher-kva.example"]


async def test_the_systems_resolver_answers_with_addresses() -> None:
    assert "127.0.0.1" in await resolve_host("127.0.0.1", 80)
