"""The listen door against people who mean harm: certificates, floods, dawdlers, guesses, and what was taken away."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

import pytest
import structlog
import trustme
from psycopg import AsyncConnection

from devices.credentials import hash_generated
from devices.registry.passwords import (
    add_credentials,
    remove_device,
    revoke_credentials,
    revoke_old_credentials,
)
from devices.registry.queries import Connection, register_device
from gateway.doors.authenticate import RegistryAuthenticator
from gateway.doors.listen.server import ListenDoor
from gateway.pipeline.directory import DeviceDirectory
from gateway.registry_watch import watch_registry
from tests.doors import raw
from tests.doors.door import OnePassword, listening
from tests.doors.intake import HeldIntake, eventually
from tests.doors.raw import CONNACK, DISCONNECT, PUBACK, RawClient

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ATTACKER, OWNER = "127.0.0.66", "127.0.0.1"


class Visitor(RawClient):
    """A client from an address of its own, with TLS or without."""

    def __init__(self, port: int, address: str = OWNER, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(port)
        self._address, self._tls = address, tls

    async def __aenter__(self) -> Self:
        """Connect."""
        name = "127.0.0.1" if self._tls else None
        self._reader, self._writer = await asyncio.open_connection(
            "127.0.0.1", self._port, local_addr=(self._address, 0), ssl=self._tls, server_hostname=name
        )
        return self


def silent(port: int, address: str) -> socket.socket:
    """A connection that says nothing."""
    return socket.create_connection(("127.0.0.1", port), timeout=30, source_address=(address, 0))


# -- certificates ----------------------------------------------------------------------------------------------------


class Authority:
    """Signs the gateway's certificate, and devices' ones."""

    def __init__(self, folder: Path) -> None:
        self._ca = trustme.CA()
        server = self._ca.issue_cert("127.0.0.1")
        self._files = {name: str(folder / name) for name in ("certificate", "key", "client_ca")}
        server.cert_chain_pems[0].write_to_path(self._files["certificate"])
        server.private_key_pem.write_to_path(self._files["key"])
        self._ca.cert_pem.write_to_path(self._files["client_ca"])

    def settings(self, *, with_clients: bool = True) -> dict[str, str]:
        """Of the door's TLS."""
        return {name: path for name, path in self._files.items() if with_clients or name != "client_ca"}

    def client(
        self, name: str | None = None, common_name: str | None = None, days: tuple[int, int] = (-1, 30)
    ) -> ssl.SSLContext:
        """A client's context; its certificate is good from and to so many days from now."""
        context = ssl.create_default_context(cafile=self._files["client_ca"])
        if name or common_name:
            now = datetime.now(UTC)
            certificate = self._ca.issue_cert(
                name or "unnamed.example",
                common_name=common_name,
                not_before=now + timedelta(days=days[0]),
                not_after=now + timedelta(days=days[1]),
            )
            certificate.configure_cert(context)  # pyright: ignore[reportUnknownMemberType] - half typed
        return context


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def known() -> RegistryAuthenticator:
    """A registry of d1, which has a password, and d2, which has none."""
    registry = RegistryAuthenticator(with_certificates=True)
    registry.put("d1", [])
    registry.put("d2", [])
    return registry


@pytest.mark.parametrize(
    ("name", "common_name"), [("d1", None), (None, "d1"), ("d1", "the whole fleet")], ids=["SAN", "CN", "SAN first"]
)
async def test_a_certificate_speaks_for_the_device_it_names(
    authority: Authority, known: RegistryAuthenticator, name: str | None, common_name: str | None
) -> None:
    async with (
        listening(HeldIntake(at_once=True), known, tls=authority.settings()) as door,
        Visitor(door.port, tls=authority.client(name, common_name)) as client,
    ):
        assert (await client.log_in(raw.connect(username=None, password=None))).code == 0
        client.send(raw.publish(), raw.publish("devices/d2/telemetry", packet_id=2))
        assert [(await client.read()).code for _ in range(2)] == [0, 0x87]


@pytest.mark.parametrize("username", ["d2", "stranger"])
async def test_a_certificate_does_not_speak_for_others(
    authority: Authority, known: RegistryAuthenticator, username: str
) -> None:
    async with (
        listening(HeldIntake(), known, tls=authority.settings()) as door,
        Visitor(door.port, tls=authority.client("d1")) as client,
    ):
        assert (await client.log_in(raw.connect(username=username, password=None))).code == 0x86


@pytest.mark.parametrize("days", [(-30, -1), (1, 30)], ids=["expired", "not yet valid"])
async def test_a_certificate_out_of_its_time_is_not_heard(authority: Authority, days: tuple[int, int]) -> None:
    authenticator = OnePassword()
    async with listening(HeldIntake(), authenticator, tls=authority.settings()) as door:
        with suppress(OSError, asyncio.IncompleteReadError):
            async with Visitor(door.port, tls=authority.client("d1", days=days)) as client:
                client.send(raw.connect(username=None, password=None))
                assert await client.read_to_end() == []
        await eventually(lambda: door.stats.violations == {"tls_handshake": 1})
        await eventually(lambda: door.stats.half_open == 0)
    assert authenticator.asked == []


@pytest.mark.parametrize("first_bytes", [b"", b"\x16\x03\x01\x02\x00"], ids=["silence", "the head of a hello"])
async def test_a_handshake_that_does_not_go_on_ends(authority: Authority, first_bytes: bytes) -> None:
    async with listening(HeldIntake(), tls=authority.settings(), connect_timeout=0.3) as door:
        dawdler = silent(door.port, ATTACKER)
        dawdler.sendall(first_bytes)
        assert await asyncio.to_thread(dawdler.recv, 1) == b""
        await eventually(lambda: (door.stats.accepted, door.stats.half_open) == (1, 0))
        dawdler.close()


async def test_after_its_handshake_a_client_has_to_introduce_itself(authority: Authority) -> None:
    async with (
        listening(HeldIntake(), tls=authority.settings(with_clients=False), connect_timeout=3) as door,
        Visitor(door.port, tls=authority.client()) as client,
    ):
        assert await client.read_to_end() == []
        assert door.stats.timeouts == 1


# -- floods ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "tls"])
async def test_half_open_connections_are_bounded_and_do_not_keep_others_out(authority: Authority, is_tls: bool) -> None:
    tls = authority.settings(with_clients=False) if is_tls else {}
    async with listening(HeldIntake(), max_half_open=4, connect_timeout=3, tls=tls) as door:
        crowd = [silent(door.port, ATTACKER) for _ in range(40)]
        await eventually(lambda: door.stats.half_open == 4)
        async with asyncio.timeout(120), Visitor(door.port, tls=authority.client() if is_tls else None) as owner:
            assert (await owner.log_in(raw.connect())).code == 0
            stats = door.stats
            assert stats.half_open <= 4
            assert stats.turned_away >= 1
            assert stats.waiting >= 20  # of the crowd: its owner has not waited for them
        for one in crowd:
            one.close()


async def test_bytes_that_trickle_in_do_not_prolong_the_time_for_connect() -> None:
    async with listening(HeldIntake(), connect_timeout=0.5) as door, RawClient(door.port) as dawdler:
        trickling = asyncio.create_task(_trickle(dawdler, raw.connect()))
        assert await dawdler.read_to_end() == []
        trickling.cancel()
        assert (door.stats.timeouts, door.stats.logins) == (1, 0)


async def _trickle(client: RawClient, data: bytes) -> None:
    for at in range(len(data)):
        client.send(data[at : at + 1])
        await asyncio.sleep(0.05)  # the pace of a dawdler: it would take two seconds


async def test_an_address_has_no_more_connections_than_allowed() -> None:
    async with listening(HeldIntake(), max_connections_per_address=2) as door:
        async with Visitor(door.port, ATTACKER) as first, Visitor(door.port, ATTACKER):
            await first.log_in(raw.connect())
            await eventually(lambda: door.stats.half_open == 1)
            async with Visitor(door.port, ATTACKER) as third:
                assert await third.read_to_end() == []
            async with Visitor(door.port, OWNER) as owner:
                assert (await owner.log_in(raw.connect(username="d2"))).code == 0
        await eventually(lambda: door.stats.disconnected == 3)
        async with Visitor(door.port, ATTACKER) as again:
            assert (await again.log_in(raw.connect())).code == 0
        assert door.stats.turned_away == 1


async def test_addresses_take_turns_when_many_wait() -> None:
    async with listening(HeldIntake(), connections_per_s=4) as door:
        crowd = [silent(door.port, ATTACKER) for _ in range(60)]
        await eventually(lambda: door.stats.waiting >= 50)
        async with Visitor(door.port, OWNER) as owner:
            assert (await owner.log_in(raw.connect())).code == 0
        assert door.stats.waiting >= 20  # its owner has not waited for them
        for one in crowd:
            one.close()


async def test_where_too_many_wait_the_most_crowded_address_gives_way() -> None:
    async with listening(HeldIntake(), connections_per_s=0.001, max_waiting=5) as door:
        crowd = [silent(door.port, ATTACKER)]
        await eventually(lambda: door.stats.half_open == 1)
        crowd += [silent(door.port, ATTACKER) for _ in range(20)]
        await eventually(lambda: door.stats.accepted == 21)
        assert door.stats.waiting == 5
        before = door.stats.turned_away
        owner = silent(door.port, OWNER)
        await eventually(lambda: door.stats.turned_away == before + 1)
        assert door.stats.waiting == 5
        owner.setblocking(False)  # noqa: FBT003 - its name
        with pytest.raises(BlockingIOError):
            owner.recv(1)  # it was not the owner who was sent away
        for one in (*crowd, owner):
            one.close()


async def test_who_has_hung_up_while_it_waited_costs_nobody_a_turn() -> None:
    async with listening(HeldIntake(), connections_per_s=2) as door:
        for _ in range(300):
            silent(door.port, OWNER).close()
        async with asyncio.timeout(120), Visitor(door.port, OWNER) as owner:
            assert (await owner.log_in(raw.connect())).code == 0


async def test_a_storm_of_reconnects_converges_and_nobody_is_refused() -> None:
    async with listening(HeldIntake(at_once=True), connections_per_s=150) as door:
        names = [f"device-{number}" for number in range(400)]

        async def come(number: int) -> RawClient:
            client = Visitor(door.port, f"127.0.0.{2 + number % 3}")
            await client.__aenter__()
            assert (await client.log_in(raw.connect(username=names[number], client_id=names[number]))).code == 0
            return client

        for _ in range(2):  # everybody comes, everybody is cut, everybody comes again
            clients = await asyncio.gather(*map(come, range(len(names))))
            assert door.connections == len(names)
            for client in clients:
                client.vanish()
        await eventually(lambda: door.connections == 0)
        stats = door.stats
        assert (stats.refused, stats.turned_away, stats.logins) == ({}, 0, 2 * len(names))


# -- what is taken away ----------------------------------------------------------------------------------------------


@pytest.fixture
async def conn(plain_database_url: str) -> AsyncIterator[Connection]:
    async with await AsyncConnection.connect(plain_database_url, autocommit=True) as conn:
        await register_device(conn, "default", "d1", None, "add")
        await add_credentials(conn, "default", [("d1", hash_generated("first"))])
        yield conn


@pytest.fixture
async def door(conn: Connection, plain_database_url: str, authority: Authority) -> AsyncIterator[ListenDoor]:
    """A door that follows the registry, with TLS where certificates are optional."""
    tls = {**authority.settings(), "client_certificates": "optional"}
    authenticator, loaded = RegistryAuthenticator(with_certificates=True), asyncio.Event()

    async def connect() -> Connection:
        return await AsyncConnection.connect(plain_database_url, autocommit=True)

    async with listening(HeldIntake(at_once=True), authenticator, tls=tls) as door:
        log = structlog.get_logger()
        watching = asyncio.create_task(
            watch_registry(DeviceDirectory(), authenticator, connect, door.disconnect, loaded, log)
        )
        await loaded.wait()
        yield door
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


async def _is_cut(client: RawClient) -> bool:
    return [(answer.kind, answer.code) for answer in await client.read_to_end()] == [(DISCONNECT, 0x87)]


async def _code(door: ListenDoor, authority: Authority, password: str | None, certificate: str | None = None) -> int:
    username = "d1" if password else None
    async with Visitor(door.port, tls=authority.client(certificate)) as client:
        answer = await client.log_in(raw.connect(username=username, password=password))
        assert answer.kind == CONNACK
        return answer.code


async def test_credentials_rotate_with_an_overlap(door: ListenDoor, conn: Connection, authority: Authority) -> None:
    async with Visitor(door.port, tls=authority.client()) as client:
        assert (await client.log_in(raw.connect(password="first"))).code == 0
        await add_credentials(conn, "default", [("d1", hash_generated("second"))])
        await eventually(lambda: door.is_connected("d1"))
        while await _code(door, authority, "second") != 0:  # noqa: ASYNC110 - known within a moment
            await asyncio.sleep(0.01)
        assert await _code(door, authority, "first") == 0
        async with Visitor(door.port, tls=authority.client()) as again:
            await again.log_in(raw.connect(password="first"))
            assert await revoke_old_credentials(conn, "default", "d1", NOW) == 1
            assert await _is_cut(again)
    assert await _code(door, authority, "first") == 0x86
    assert await _code(door, authority, "second") == 0
    assert await revoke_old_credentials(conn, "default", "d1", NOW) == 0


@pytest.mark.parametrize("certificate", [None, "d1"], ids=["password", "certificate"])
async def test_a_device_that_is_removed_is_cut_off_and_stays_out(
    door: ListenDoor, conn: Connection, authority: Authority, certificate: str | None
) -> None:
    password = None if certificate else "first"
    async with Visitor(door.port, tls=authority.client(certificate)) as client:
        username = "d1" if password else None
        assert (await client.log_in(raw.connect(username=username, password=password))).code == 0
        client.send(raw.publish())
        assert (await client.read()).kind == PUBACK
        await remove_device(conn, "default", "d1", NOW)
        assert await _is_cut(client)
    assert await _code(door, authority, password, certificate) == (0x87 if certificate else 0x86)


async def test_revoked_passwords_cut_the_live_connection(
    door: ListenDoor, conn: Connection, authority: Authority
) -> None:
    async with Visitor(door.port, tls=authority.client()) as client:
        await client.log_in(raw.connect(password="first"))
        await revoke_credentials(conn, "default", "d1", NOW)
        assert await _is_cut(client)
    assert await _code(door, authority, "first") == 0x86


# -- guesses ---------------------------------------------------------------------------------------------------------


async def test_whoever_guesses_locks_nobody_out() -> None:
    """Slow passwords: the attacker is stopped, the owner is let in from its own address, new or not."""
    async with listening(HeldIntake(), OnePassword(slow=True), failed_logins_burst=3) as door:
        codes: list[int] = []
        for _ in range(6):
            async with Visitor(door.port, ATTACKER) as guesser:
                codes.append((await guesser.log_in(raw.connect(password="guess"))).code)
        assert codes == [0x86, 0x86, 0x86, 0x9F, 0x9F, 0x9F]
        async with Visitor(door.port, OWNER) as owner:
            assert (await owner.log_in(raw.connect())).code == 0
