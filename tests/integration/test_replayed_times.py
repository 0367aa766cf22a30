"""A replay from quarantine gives readings without a time the one that they had: none twice, none at another time."""

from psycopg.rows import TupleRow

from devices.ids import partition_of
from devices.registry.model import Device
from devices.registry.queries import register_device
from gateway.authority import Authority, Grant
from gateway.intake import Bunch, Kept, Route
from gateway.pipeline.settings import PipelineSettings
from gateway.store.quarantine import Wanted, request_replay
from tests.ingest.rig import NOW_S, PROFILES, Rig

ROWS = "SELECT celsius FROM reading_kettle WHERE device_id = %s ORDER BY ts"
OUTCOMES = "SELECT outcome FROM quarantine WHERE replay_requested_at IS NULL ORDER BY quarantine_id"


async def replay(rig: Rig, *outcomes: str) -> None:
    """Take everything through the pipeline again, and wait for what it comes to."""
    async with await rig.connect() as conn:
        await request_replay(conn, Wanted())
    expected: list[TupleRow] = [(outcome,) for outcome in outcomes]
    await rig.until_rows(OUTCOMES, expected)


async def register(rig: Rig, device_id: str) -> None:
    """Make a stranger known."""
    async with await rig.connect() as conn:
        await register_device(conn, "default", device_id, "kettle", "add")
    rig.directory.put(Device(device_id, "default", "kettle", None, partition_of(device_id)))


def dialect(rig: Rig, device_id: str, codec: str, topic: str, said: object) -> Bunch:
    """A message in another codec."""
    return rig.packet(device_id, said)._replace(topic=topic, codec=codec)


async def test_a_replayed_reading_without_a_time_has_that_of_its_receipt_however_often(plain_database_url: str) -> None:
    async with Rig(plain_database_url, devices={"k1": "kettle"}).running() as rig:
        await rig.tell("k2", {"metrics": {"celsius": 1}}, [{"metrics": {"celsius": 2}}, {"metrics": {"celsius": 3}}])
        await register(rig, "k2")
        rig.clock.at_s += 3600
        await rig.tell("k2", {"metrics": {"celsius": 4}})
        for outcome in ("stored", "duplicate"):
            await replay(rig, outcome, outcome)
            assert await rig.rows(ROWS, "k2") in ([(1,), (2,), (3,), (4,)], [(2,), (3,), (1,), (4,)])
        when = "SELECT extract(epoch FROM ts), ts = received_at FROM reading_kettle WHERE celsius < 4"
        moments = await rig.rows(when)
    assert all(0 <= float(at_s) - NOW_S < 1 and marked for at_s, marked in moments)


async def test_what_was_stored_of_a_message_is_not_stored_again_by_its_replay(plain_database_url: str) -> None:
    settings = PipelineSettings(authority=Authority([Grant("a1", ("k1",))]))
    both = {"k1": [{"celsius": 1}, {"celsius": 2}], "k2": [{"celsius": 3}]}
    async with Rig(plain_database_url, settings=settings).running() as rig:
        verdicts = await rig.send(
            dialect(rig, "a1", "thingsboard", "v1/gateway/telemetry", both),
            dialect(rig, "k1", "senml", "plant/k1", [{"n": "celsius", "v": 4}, {"n": "boils", "v": "x"}]),
        )
        assert [(verdict.stored, verdict.quarantined) for verdict in verdicts] == [(2, 1), (1, 1)]
        before = sorted(await rig.rows(ROWS, "k1"))
        await replay(rig, "quarantined", "quarantined")
        assert sorted(await rig.rows(ROWS, "k1")) == before
    settings = PipelineSettings(authority=Authority([Grant("a1", ("k1", "k2"))]))
    async with Rig(plain_database_url, settings=settings).running() as rig:
        await replay(rig, "stored", "quarantined")
        assert sorted(await rig.rows(ROWS, "k1")) == before
        assert await rig.rows(ROWS, "k2") == [(3,)]


async def test_an_array_without_times_of_which_one_was_out_of_range_is_whole_after_a_replay(
    plain_database_url: str,
) -> None:
    async with Rig(plain_database_url).running() as rig:
        await rig.send(
            dialect(rig, "k1", "flat", "tele/k1", [{"celsius": 20}, {"celsius": 500}, {"celsius": 21}]),
            rig.packet(
                "k2", [{"metrics": {"celsius": 20}}, {"metrics": {"celsius": 500}}, {"metrics": {"celsius": 21}}]
            ),
        )
    celsius = PROFILES["kettle"].metrics["celsius"].model_copy(update={"maximum": 1000})
    kettle = PROFILES["kettle"].model_copy(update={"metrics": {**PROFILES["kettle"].metrics, "celsius": celsius}})
    async with Rig(plain_database_url, profiles={**PROFILES, "kettle": kettle}).running() as rig:
        await replay(rig, "stored", "stored")
        for device_id in ("k1", "k2"):
            assert await rig.rows(ROWS, device_id) == [(20,), (500,), (21,)]


async def test_what_a_broker_had_kept_without_a_time_gets_none_by_a_replay(plain_database_url: str) -> None:
    async with Rig(plain_database_url).running() as rig:
        packets = [
            rig.packet("k1", {"metrics": {"boils": 3}}),
            rig.packet("k1", {"code": "boiled_dry"}, Route.EVENTS),
            rig.packet("k9", {"metrics": {"boils": 4}}),
        ]
        await rig.send(*(packet._replace(origin=Kept(packet.origin)) for packet in packets))
        await register(rig, "k9")
        await replay(rig, "quarantined", "quarantined", "quarantined")
        assert await rig.rows("SELECT count(*) FROM reading_kettle") == [(0,)]
        assert await rig.rows("SELECT count(*) FROM device_event") == [(0,)]
        reasons = await rig.rows("SELECT DISTINCT reason FROM quarantine")
    assert reasons == [("bad_timestamp",)]
