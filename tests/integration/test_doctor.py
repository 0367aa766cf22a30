"""`careloop doctor` on real services that something is wrong with: each is found, and told with its fix."""

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
import trustme
from psycopg.conninfo import make_conninfo

from crm_sync.settings import EndpointSettings
from gateway.database.embedded import EmbeddedPostgres
from gateway.database.postmaster import wait_until
from gateway.doctor.broker import examine_broker
from gateway.doctor.crm import examine_crm
from gateway.doctor.database import examine_database
from gateway.doctor.examine import examine
from gateway.doctor.finding import Finding
from gateway.doors.settings import SubscribeSettings
from gateway.settings import load_settings
from tests.services.folders import find_free_port
from tests.services.mosquitto import Mosquitto
from tests.services.patience import PATIENCE_S
from tests.services.streams import serving

FILTERS = ("devices/+/telemetry", "devices/+/events", "devices/+/status")
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwAAAAAAAA"


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    """Findings by what was looked at; what is wrong says how to mend it."""
    assert all(finding.fix for finding in findings if not finding.ok)
    return {finding.what: finding for finding in findings}


async def database(url: str, **more: str) -> dict[str, Finding]:
    environment = {"CARELOOP_DATABASE__URL": url} | {f"CARELOOP_{name}": value for name, value in more.items()}
    return by_name(await examine_database(load_settings(None, environment)))


async def test_a_database_that_may_lose_commits_is_told(plain_database_url: str) -> None:
    found = await database(plain_database_url)  # the servers shared by tests do not sync
    assert found["database"].ok
    assert found["database durability"].says == "fsync = off, full_page_writes = off, synchronous_commit = off"
    assert not found["database durability"].ok
    others = {name for name, finding in found.items() if not finding.ok}
    assert others <= {"database durability", "database answers"}, found  # on a busy machine answers may take long


async def test_an_embedded_timescaledb_that_was_never_provisioned_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was found wrong, and the gateway did not start."""
    monkeypatch.setenv("CARELOOP_CACHE", str(tmp_path / "empty"))
    environment = {"CARELOOP_DATABASE__EMBEDDED": "timescaledb", "CARELOOP_STATE__FOLDER": str(tmp_path / "state")}
    found = by_name(await examine_database(load_settings(None, environment)))
    assert not found["database"].ok
    assert found["database"].says == "database.embedded = timescaledb, which is not on this machine"
    assert "make provision" in found["database"].fix
    environment["CARELOOP_DATABASE__EMBEDDED"] = "auto"
    assert by_name(await examine_database(load_settings(None, environment)))["database"].ok


async def test_a_database_without_our_schema_and_one_that_is_not_there_are_told(empty_database_url: str) -> None:
    found = await database(empty_database_url)
    assert not found["schema"].ok
    assert "0001_registry" in found["schema"].says
    nowhere = await database(make_conninfo(empty_database_url, port=str(find_free_port()), password="terces"))
    assert not nowhere["database"].ok
    assert "terces" not in nowhere["database"].says


async def test_a_schema_that_does_not_fit_is_told_beside_the_rest(plain_database_url: str) -> None:
    async with await psycopg.AsyncConnection.connect(plain_database_url) as conn:
        await conn.execute("UPDATE schema_migration SET version = 9999 WHERE (package, version) = ('gateway', 1)")
    found = await database(plain_database_url)
    assert found["database answers"].says
    assert (found["schema"].ok, found["schema"].says) == (
        False,
        "a schema whose gateway migration 9999 this careloop does not know",
    )


async def test_a_server_without_autovacuum_and_with_few_connections_is_told(service_folder: Path) -> None:
    settings = {"autovacuum": "off", "max_connections": "12"}
    with EmbeddedPostgres(service_folder / "neglected", settings=settings) as server:
        with psycopg.connect(server.url, autocommit=True) as conn:
            conn.execute("CREATE ROLE guest LOGIN PASSWORD 'guest'")
        found = await database(server.url)
        assert not found["database vacuum"].ok
        assert not found["database connections"].ok
        assert "of 9 in use" in found["database connections"].says
        assert found["database durability"].ok
        assert found["database disk"].ok
        assert "GiB free" in found["database disk"].says
        assert not (await database(make_conninfo(server.url, user="guest", password="guest")))["database access"].ok


def take_every_connection(url: str, stack: ExitStack) -> None:
    """Connect until the server has no room left."""
    while True:
        try:
            stack.enter_context(psycopg.connect(url))
        except psycopg.OperationalError:
            return


async def test_of_a_server_with_no_connection_left_it_is_said_how_to_have_more(service_folder: Path) -> None:
    settings = {"max_connections": "12"}
    with EmbeddedPostgres(service_folder / "crowded", settings=settings) as server, ExitStack() as stack:
        with psycopg.connect(server.url, autocommit=True) as conn:
            conn.execute("CREATE ROLE guest LOGIN PASSWORD 'guest'")
        guest = make_conninfo(server.url, user="guest", password="guest")
        for url in (guest, server.url):  # those for anybody, then those kept for superusers
            take_every_connection(url, stack)
            found = (await database(url))["database"]
            assert (found.ok, found.fix) == (False, "raise max_connections, or lower database.pool_size")


FILL = """
INSERT INTO quarantine (tenant_id, device_id, topic, codec, route, reason, detail, raw, digest, first_received_at,
                        last_received_at)
SELECT 'default', 'd', 't', 'json', 0, CASE WHEN n < 3 THEN 'malformed' ELSE 'far_future' END, '', '', n::text::bytea,
       now(), now()
  FROM generate_series(1, 9) AS n;
INSERT INTO pipeline_counter (tenant_id, name, value) VALUES ('default', 'packets', 100);
INSERT INTO endpoint_state (tenant_id, endpoint, disabled_at) VALUES ('default', 'helpdesk', now());
INSERT INTO inbox (tenant_id, device_id, alarm_id, event, notice, recorded_at, state)
VALUES ('default', 'd', 'a', 'raised', '{}', now(), 'parked')
"""


async def test_what_waits_for_a_person_is_told(plain_database_url: str) -> None:
    with psycopg.connect(plain_database_url) as conn:
        conn.execute(FILL)
    found = await database(plain_database_url)
    assert found["quarantine"].says == "payloads: 9, from the last day: 9, mostly far_future"
    assert not found["quarantine"].ok
    assert "--reason far_future" in found["quarantine"].fix
    assert found["dead letters"].ok
    assert not found["alarm notices"].ok
    assert found["alarm notices"].says == "that could not become cases: 1"
    assert "careloop notices replay" in found["alarm notices"].fix
    assert found["endpoints"].says == "disabled: helpdesk"
    with psycopg.connect(plain_database_url) as conn:
        conn.execute("UPDATE pipeline_counter SET value = 100000 WHERE name = 'packets'")
    assert (await database(plain_database_url))["quarantine"].ok


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """These brokers do tell their own numbers, though on a busy machine not within a second."""
    monkeypatch.setattr("gateway.doctor.broker._SYS_S", PATIENCE_S)


def broker(mosquitto: Mosquitto, *, probe: bool = False, **more: object) -> dict[str, Finding]:
    settings = SubscribeSettings.model_validate({"enabled": True, "port": mosquitto.port, **more})
    return by_name(examine_broker(settings, FILTERS, probe=probe))


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_broker_that_keeps_everything_is_well(mosquitto: Mosquitto, protocol: str) -> None:
    mosquitto.stop()
    mosquitto.start("autosave_interval 300", "autosave_on_changes false")  # the last word counts
    found = broker(mosquitto, probe=True, protocol=protocol)
    assert {name: finding.ok for name, finding in found.items()} == dict.fromkeys(
        ("broker", "broker topics", "broker drops", "broker session", "broker queue"), True
    ), found
    assert "1,500 of 1,500" in found["broker queue"].says
    assert "mosquitto" in found["broker drops"].says


def test_a_broker_that_drops_what_it_acknowledged_is_told(mosquitto: Mosquitto) -> None:
    mosquitto.stop()
    mosquitto.start("max_queued_messages 100", "sys_interval 1")
    found = broker(mosquitto, probe=True)
    assert not found["broker queue"].ok
    assert int(found["broker queue"].says.split()[0].replace(",", "")) < 1500
    assert "max_queued_messages" in found["broker queue"].fix
    assert wait_until(lambda: not broker(mosquitto)["broker drops"].ok, PATIENCE_S)
    assert "messages dropped" in broker(mosquitto)["broker drops"].says


def test_a_broker_without_qos_1_one_without_tls_and_one_that_is_away_are_told(mosquitto: Mosquitto) -> None:
    assert not broker(mosquitto, tls={"enabled": True})["broker"].ok
    mosquitto.stop()
    mosquitto.start("max_qos 0")
    found = broker(mosquitto)
    assert not found["broker"].ok
    assert "QoS 0 at most" in found["broker"].says
    mosquitto.stop()
    assert "takes no connection" in broker(mosquitto)["broker"].says


@asynccontextmanager
async def tls_server(certificate: trustme.LeafCert) -> AsyncGenerator[int]:
    """A CRM that shows this certificate; its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)  # pyright: ignore[reportUnknownMemberType]

    async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()
        await asyncio.sleep(0)

    async with serving(hang_up, context) as port:
        yield port


async def crm(port: int, ca_file: str = "", scheme: str = "https") -> dict[str, Finding]:
    endpoint = EndpointSettings.model_validate(
        {
            "name": "helpdesk",
            "url": f"{scheme}://localhost:{port}/hook",
            "secret": SECRET,
            "ca_file": ca_file,
            "allow_http": True,
            "allow_networks": ["127.0.0.0/8"],
            "ports": [port],
        }
    )
    return by_name(await examine_crm(endpoint, 0, datetime.now(UTC).timestamp()))


async def test_a_crm_whose_certificate_ends_soon_or_is_not_trusted_or_that_is_away_is_told(tmp_path: Path) -> None:
    ca = trustme.CA()
    ca_file = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(str(ca_file))
    soon = ca.issue_cert("localhost", not_after=datetime.now(UTC) + timedelta(days=3))
    async with tls_server(soon) as port:
        found = await crm(port, str(ca_file))
        assert found["crm helpdesk"].ok
        assert not found["certificate crm helpdesk"].ok
        assert "for 3 days" in found["certificate crm helpdesk"].says
        stranger = await crm(port)
        assert not stranger["crm helpdesk"].ok
        assert "ca_file" in stranger["crm helpdesk"].fix
    async with tls_server(ca.issue_cert("localhost")) as port:
        assert all(finding.ok for finding in (await crm(port, str(ca_file))).values())
    away = await crm(find_free_port(), scheme="http")
    assert "takes no connection" in away["crm helpdesk"].says


async def test_a_crm_that_the_guard_does_not_let_us_reach_is_told() -> None:
    endpoint = EndpointSettings.model_validate(
        {"name": "helpdesk", "url": "https://crm.invalid/hook", "secret": SECRET}
    )
    found = by_name(await examine_crm(endpoint, 0, 0.0))
    assert not found["crm helpdesk"].ok
    assert "allow_networks" in found["crm helpdesk"].fix


async def test_who_has_a_port_of_the_gateways_is_told_of_each_of_them(tmp_path: Path) -> None:
    """It looked at the port of the devices only, and `careloop run` then ended for that of the API."""
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        taken, free = stranger.getsockname()[1], find_free_port()
        for door, fix in (("LISTEN", "listen.port"), ("API", "api.port")):
            ports = {
                "CARELOOP_LISTEN__PORT": str(free),
                "CARELOOP_API__PORT": "0",
                f"CARELOOP_{door}__PORT": str(taken),
            }
            settings = load_settings(None, {"CARELOOP_STATE__FOLDER": str(tmp_path), **ports})
            (gateway,) = [finding for finding in await examine(settings) if finding.what == "gateway"]
            assert not gateway.ok
            assert f"127.0.0.1:{taken}" in gateway.says
            assert fix in gateway.fix
