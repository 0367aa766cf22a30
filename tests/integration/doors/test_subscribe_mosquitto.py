"""The subscription on a real Mosquitto, by either engine."""

import asyncio
import gc
import subprocess
import threading
from pathlib import Path

import aiomqtt
import pytest
import trustme

from devices.errors import ConfigError
from gateway.intake import Kept, Route
from tests.doors import raw
from tests.doors.intake import HeldIntake, eventually
from tests.doors.proxy import proxied
from tests.doors.subscription import TELEMETRY, new_subscription, publish, subscribed
from tests.services.mosquitto import Mosquitto
from tests.services.streams import serving

PROTOCOLS = pytest.mark.parametrize("protocol", ["5", "3.1.1"])


@pytest.fixture(params=["paho", "fast"])
def engine(request: pytest.FixtureRequest) -> str:
    """Each engine of the door, under the same laws."""
    return request.param


@pytest.fixture
def intake() -> HeldIntake:
    return HeldIntake()


@PROTOCOLS
async def test_every_route_is_subscribed(mosquitto: Mosquitto, protocol: str, engine: str) -> None:
    intake = HeldIntake(at_once=True)
    async with (
        subscribed(intake, mosquitto.port, engine=engine, protocol=protocol) as subscription,
        aiomqtt.Client(mosquitto.host, mosquitto.port) as device,
    ):
        await device.publish(TELEMETRY, b"1", qos=1)
        await device.publish("devices/d2/events", b"2", qos=1)
        await device.publish("devices/d3/status", b"3", qos=0)
        await device.publish("devices/d4/commands/c-1/ack", b"4", qos=2)
        await device.publish("devices/d4/commands/c-1", b"not ours", qos=1)
        await eventually(lambda: len(intake.packets) == 4)
        found = [(packet.route, packet.device_id, packet.payload) for packet in intake.packets]
        assert found == [
            (Route.TELEMETRY, "d1", b"1"),
            (Route.EVENTS, "d2", b"2"),
            (Route.STATUS, "d3", b"3"),
            (Route.COMMAND_ACK, "d4", b"4"),
        ]
        await eventually(lambda: subscription.stats.acknowledged == 3)
        assert subscription.stats.unsettled == 0


@PROTOCOLS
async def test_what_was_published_while_we_were_away_is_there_when_we_come_back(
    mosquitto: Mosquitto, protocol: str, engine: str
) -> None:
    async with subscribed(HeldIntake(), mosquitto.port, engine=engine, protocol=protocol):
        pass
    publish(mosquitto, *(str(number) for number in range(300)))
    intake = HeldIntake(at_once=True)
    async with subscribed(intake, mosquitto.port, engine=engine, protocol=protocol):
        await eventually(lambda: len(intake.packets) == 300)
    assert intake.payloads == [b"%d" % number for number in range(300)]


@PROTOCOLS
async def test_what_is_not_settled_is_not_acknowledged_and_comes_again(
    mosquitto: Mosquitto, intake: HeldIntake, protocol: str, engine: str
) -> None:
    async with (
        proxied(mosquitto.port) as proxy,
        subscribed(intake, proxy.port, engine=engine, protocol=protocol) as subscription,
    ):
        publish(mosquitto, "1", "2", "3", "4")
        await eventually(lambda: len(intake.packets) == 4)
        intake.settle(2)
        await eventually(lambda: subscription.stats.acknowledged == 2)
        await eventually(lambda: mosquitto.log.count("Received PUBACK from careloop-gateway") == 2)
        proxy.cut()
        await eventually(lambda: len(intake.packets) == 6)
        assert intake.payloads == [b"1", b"2", b"3", b"4", b"3", b"4"]
        intake.settle()
        await eventually(lambda: subscription.stats.redelivered == 2)


async def test_an_acknowledgement_never_leaves_on_another_connection(
    mosquitto: Mosquitto, intake: HeldIntake, engine: str
) -> None:
    async with (
        proxied(mosquitto.port) as proxy,
        subscribed(intake, proxy.port, engine=engine) as subscription,
    ):
        publish(mosquitto, "1", "2", "3")
        await eventually(lambda: len(intake.packets) == 3)
        proxy.cut()
        await eventually(lambda: len(intake.packets) == 6)
        old, new = intake.packets[:3], intake.packets[3:]
        assert [packet.token for packet in old] == [packet.token for packet in new]  # the same identifiers again
        intake.settle(3)  # those of the old connection
        publish(mosquitto, "4")
        await eventually(lambda: len(intake.packets) == 7)
        assert mosquitto.log.count("Received PUBACK from careloop-gateway") == 0
        assert (subscription.stats.acknowledged, subscription.stats.too_late) == (0, 3)
        intake.settle()
        await eventually(lambda: mosquitto.log.count("Received PUBACK from careloop-gateway") == 4)


async def test_receive_maximum_bounds_what_is_under_way(mosquitto: Mosquitto, intake: HeldIntake, engine: str) -> None:
    async with subscribed(intake, mosquitto.port, engine=engine, receive_maximum=7) as subscription:
        publish(mosquitto, *(str(number) for number in range(40)))
        most = 0
        while len(intake.packets) < 40:
            await eventually(lambda: intake.held)
            most = max(most, subscription.stats.unsettled)
            intake.settle(1)
        assert most <= 7
        intake.settle()
    assert intake.payloads == [b"%d" % number for number in range(40)]


async def test_a_full_pipeline_stops_the_reading_until_there_is_room(
    mosquitto: Mosquitto, intake: HeldIntake, engine: str
) -> None:
    async with subscribed(intake, mosquitto.port, engine=engine) as subscription:
        intake.is_full = True
        publish(mosquitto, "1")
        await eventually(lambda: intake.payloads == [b"1"])
        publish(mosquitto, *(str(number) for number in range(2, 102)))
        intake.settle()
        await eventually(lambda: subscription.stats.acknowledged == 1)  # acknowledgements leave all the same
        assert len(intake.packets) == 1
        intake.make_room()
        await eventually(lambda: len(intake.packets) == 101)
        intake.settle()


async def test_what_a_broker_gave_up_while_we_did_not_read_comes_once_there_is_room_again(
    mosquitto: Mosquitto, intake: HeldIntake, engine: str
) -> None:
    mosquitto.stop()
    # Its default of 1,000: what fits neither in them nor in our socket it gives up. Saving so much takes it too long.
    mosquitto.start("max_queued_messages 1000", "autosave_on_changes false", "autosave_interval 3600")
    large = "x" * 20_000
    async with subscribed(intake, mosquitto.port, engine=engine, protocol="5", receive_maximum=60_000) as subscription:
        intake.is_full = True
        publish(mosquitto, "1")
        await eventually(lambda: intake.held)
        await asyncio.to_thread(publish, mosquitto, *(f"{number} {large}" for number in range(2, 3002)))
        assert "Outgoing messages are being dropped" in mosquitto.log
        intake.make_room()
        intake.settle()

        def is_all_there() -> bool:
            intake.settle()
            return len({payload[:5] for payload in intake.payloads}) == 3001

        await eventually(is_all_there)
        await eventually(lambda: subscription.stats.acknowledged >= 3001)
        # It gives up a part of that once more, and its answer to SUBSCRIBE, too, if we read slowly.
        await eventually(lambda: subscription.stats.connected >= 2)


async def test_while_the_pipeline_is_full_for_long_the_connection_stays(
    mosquitto: Mosquitto, intake: HeldIntake, engine: str
) -> None:
    async with subscribed(intake, mosquitto.port, engine=engine, keep_alive=3) as subscription:
        intake.is_full = True
        publish(mosquitto, "1")
        await eventually(lambda: intake.held)
        pings = mosquitto.log.count("Received PINGREQ from careloop-gateway")
        await eventually(lambda: mosquitto.log.count("Received PINGREQ from careloop-gateway") >= pings + 2)
        assert (subscription.healthy, subscription.stats.lost) == (True, 0)
        intake.make_room()
        intake.settle()


async def test_a_broker_that_dies_while_the_pipeline_is_full_is_noticed(
    mosquitto: Mosquitto, intake: HeldIntake, engine: str
) -> None:
    async with (
        proxied(mosquitto.port) as proxy,
        subscribed(intake, proxy.port, engine=engine, keep_alive=3) as subscription,
    ):
        intake.is_full = True
        publish(mosquitto, "1")
        await eventually(lambda: intake.held)
        proxy.cut()
        await eventually(lambda: subscription.stats.lost == 1)
        intake.make_room()
        await eventually(lambda: intake.payloads == [b"1", b"1"])
        intake.settle()
        await eventually(lambda: subscription.stats.acknowledged == 1)
        assert subscription.stats.too_late == 1


async def test_retained_messages_come_once(mosquitto: Mosquitto, engine: str) -> None:
    publish(mosquitto, "online", topic="devices/d1/status", more=("-r",))
    for protocol in ("5", "3.1.1"):
        intake = HeldIntake(at_once=True)
        client_id = f"gateway-{protocol}"
        async with subscribed(
            intake, mosquitto.port, engine=engine, protocol=protocol, client_id=client_id
        ) as subscription:
            await eventually(lambda: intake.payloads == [b"online"])  # noqa: B023 - awaited within the turn
            await eventually(lambda: subscription.stats.unsettled == 0)
            mosquitto.stop()
            await eventually(lambda: not subscription.healthy)
            mosquitto.start()
            await eventually(lambda: subscription.healthy)
            publish(mosquitto, "{}")
            await eventually(lambda: b"{}" in intake.payloads)  # noqa: B023
            again = subscription.stats.redelivered  # by a broker that was stopped before it read our acknowledgement
            assert intake.payloads == [b"online"] * (1 + again) + [b"{}"]


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_what_the_broker_had_kept_is_told_from_what_is_of_now(
    mosquitto: Mosquitto, engine: str, protocol: str
) -> None:
    intake = HeldIntake(at_once=True)
    for qos in ("0", "1"):
        publish(mosquitto, "kept", topic=f"devices/d{qos}/telemetry", more=("-r", "-q", qos))
    async with subscribed(intake, mosquitto.port, engine=engine, protocol=protocol) as subscription:
        await eventually(lambda: len(intake.packets) == 2)
        publish(mosquitto, "now", topic="devices/d1/telemetry", more=("-r",))
        await eventually(lambda: len(intake.packets) == 3)
        await eventually(lambda: subscription.stats.unsettled == 0)
        await eventually(lambda: subscription.stats.acknowledged == 2)
    assert subscription.stats.acknowledged == 2
    found = sorted((packet.device_id, packet.payload, isinstance(packet.origin, Kept)) for packet in intake.packets)
    assert found == [("d0", b"kept", True), ("d1", b"kept", True), ("d1", b"now", False)]


async def test_an_older_broker_is_spoken_to_in_3_1_1(mosquitto: Mosquitto, engine: str) -> None:
    intake = HeldIntake(at_once=True)
    async with proxied(mosquitto.port, is_old=True) as proxy, subscribed(intake, proxy.port, engine=engine):
        publish(mosquitto, "1")
        await eventually(lambda: intake.payloads == [b"1"])
        proxy.cut()
        await eventually(lambda: len(proxy.versions) == 3)
    assert proxy.versions == [5, 4, 4]


async def test_a_broker_that_is_not_there_is_waited_for(mosquitto: Mosquitto, engine: str) -> None:
    mosquitto.stop()
    intake = HeldIntake(at_once=True)
    subscription = new_subscription(intake, mosquitto.port, engine=engine)
    await subscription.start()
    await eventually(lambda: subscription.stats.lost >= 2)
    assert not subscription.healthy
    mosquitto.start()
    await eventually(lambda: subscription.healthy)
    publish(mosquitto, "1")
    await eventually(lambda: intake.payloads == [b"1"])
    await subscription.stop()


async def test_topics_that_the_broker_refuses_are_not_healthy(intake: HeldIntake, engine: str) -> None:
    async def refuse_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(raw.packet(0x20, b"\0\0\0"))  # CONNACK
        subscribe = await reader.read(4096)
        writer.write(raw.packet(0x90, subscribe[2:4] + b"\0" + b"\x01\x01\x87\x01"))  # SUBACK
        await reader.read(4096)

    async with serving(refuse_one) as port:
        subscription = new_subscription(intake, port, engine=engine)
        await subscription.start()
        await eventually(lambda: subscription.stats.lost >= 1)
        assert subscription.stats.connected == 0
        await subscription.stop()


async def test_user_name_and_password(mosquitto: Mosquitto, tmp_path: Path, engine: str) -> None:
    mosquitto.stop()
    passwords = mosquitto.folder / "passwords"
    command = [mosquitto.binaries.mosquitto_passwd, "-c", "-b", passwords, "gateway", "secret"]
    await asyncio.to_thread(subprocess.run, command, check=True)
    passwords.chmod(0o644)
    mosquitto.start(f"password_file {passwords}", "allow_anonymous false")
    secret = tmp_path / "secret"
    secret.write_text("secret\n")
    intake = HeldIntake(at_once=True)
    async with subscribed(intake, mosquitto.port, engine=engine, username="gateway", password_file=str(secret)):
        publish(mosquitto, "1", more=("-u", "gateway", "-P", "secret"))
        await eventually(lambda: intake.payloads == [b"1"])
    refused = new_subscription(intake, mosquitto.port, engine=engine, username="gateway", password="wrong")
    await refused.start()
    await eventually(lambda: refused.stats.lost >= 1)
    assert not refused.healthy
    await refused.stop()


@pytest.fixture
def secured(mosquitto: Mosquitto) -> tuple[Mosquitto, trustme.CA]:
    """A broker that asks its clients for certificates."""
    authority = trustme.CA()
    server = authority.issue_cert("127.0.0.1")
    folder = mosquitto.folder
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    server.cert_chain_pems[0].write_to_path(str(folder / "server.pem"))
    server.private_key_pem.write_to_path(str(folder / "server.key"))
    mosquitto.stop()
    mosquitto.start(
        f"cafile {folder}/ca.pem",
        f"certfile {folder}/server.pem",
        f"keyfile {folder}/server.key",
        "require_certificate true",
    )
    return mosquitto, authority


async def test_tls_with_a_client_certificate(
    secured: tuple[Mosquitto, trustme.CA], intake: HeldIntake, tmp_path: Path, engine: str
) -> None:
    broker, authority = secured
    client = authority.issue_cert("gateway.example")
    certificate, key = str(tmp_path / "client.pem"), str(tmp_path / "client.key")
    client.cert_chain_pems[0].write_to_path(certificate)
    client.private_key_pem.write_to_path(key)
    ca = str(broker.folder / "ca.pem")
    tls = {"enabled": True, "ca": ca, "certificate": certificate, "key": key}
    async with subscribed(intake, broker.port, engine=engine, tls=tls):
        large = "x" * 200_000
        await asyncio.to_thread(
            publish,
            broker,
            large,
            *("y" * 3000 for _ in range(50)),
            more=("--cafile", ca, "--cert", certificate, "--key", key),
        )
        await eventually(lambda: len(intake.packets) == 51)
        assert intake.payloads[0] == large.encode()
        intake.settle()


@pytest.mark.filterwarnings("ignore:.*ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning")  # paho leaves it open
async def test_a_broker_with_a_certificate_of_another_authority_is_not_trusted(
    secured: tuple[Mosquitto, trustme.CA], intake: HeldIntake, engine: str
) -> None:
    broker, _ = secured
    subscription = new_subscription(intake, broker.port, engine=engine, tls={"enabled": True})
    await subscription.start()
    await eventually(lambda: subscription.stats.lost >= 1)
    assert not subscription.healthy
    await subscription.stop()
    gc.collect()  # what it leaves open is found now, and not in a test that allows nothing


async def test_websockets(mosquitto: Mosquitto) -> None:
    mosquitto.stop()
    mosquitto.start("protocol websockets")
    intake = HeldIntake(at_once=True)
    async with (
        subscribed(intake, mosquitto.port, transport="websockets", websocket_path="/"),
        aiomqtt.Client(mosquitto.host, mosquitto.port, transport="websockets", websocket_path="/") as device,
    ):
        for number in range(200):
            await device.publish(TELEMETRY, b"%d" % number, qos=1)
        await eventually(lambda: len(intake.packets) == 200)


def test_files_that_cannot_be_used_are_named_all_at_once(intake: HeldIntake, tmp_path: Path, engine: str) -> None:
    missing = str(tmp_path / "missing")
    tls = {"enabled": True, "ca": missing, "certificate": missing, "key": missing}
    with pytest.raises(ConfigError) as caught:
        new_subscription(intake, 1883, engine=engine, tls=tls, password_file=missing)
    assert [fault.setting for fault in caught.value.faults] == [
        "subscribe.password_file",
        "subscribe.tls.ca",
        "subscribe.tls.certificate",
    ]


async def test_stopping_leaves_no_thread_and_keeps_the_session(
    mosquitto: Mosquitto, intake: HeldIntake, engine: str
) -> None:
    async with subscribed(intake, mosquitto.port, engine=engine):
        publish(mosquitto, "1")
        await eventually(lambda: intake.held)
        asyncio.get_running_loop().call_later(0.05, intake.settle)  # stop waits for it
    assert not any(thread.name == "careloop-subscribe" for thread in threading.enumerate())
    publish(mosquitto, "2")
    again = HeldIntake(at_once=True)
    async with subscribed(again, mosquitto.port, engine=engine):
        await eventually(lambda: again.payloads == [b"2"])
