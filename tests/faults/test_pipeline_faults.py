"""The database breaks in the middle of things: nothing acknowledged is lost, nothing is stored or judged twice."""

import asyncio
import os
import random
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from gateway.database.embedded import EmbeddedPostgres
from gateway.database.migrate import migrate
from gateway.database.postmaster import wait_until
from gateway.intake import NO_ANSWER
from gateway.pipeline.settings import BatchSettings, IngestSettings, PipelineSettings
from gateway.store import checkpoints
from gateway.store.ownership import OwnershipLostError
from gateway.store.rows import EventRow
from gateway.store.store import Connection
from tests.ingest.proxy import Break, Proxy
from tests.ingest.recorder import RecordingEngine
from tests.ingest.rig import NOW_S, Rig, crash, reading


def settings() -> PipelineSettings:
    return PipelineSettings(
        batch=BatchSettings(max_readings=3, max_age=0.0), ingest=IngestSettings(outage_grace=0.0, checkpoint_every=3600)
    )


BREAKS: list[list[Break | None]] = [
    ["after_commit"],
    ["before_commit"],
    ["after_commit", "before_commit", None, "after_commit", None, "before_commit", "after_commit"],
]


@pytest.mark.parametrize("breaks", BREAKS, ids=["answer-lost", "commit-lost", "many"])
async def test_a_commit_that_nobody_answers_counts_once(plain_database_url: str, breaks: list[Break | None]) -> None:
    async with Proxy(plain_database_url).running() as proxy:
        rig = Rig(plain_database_url, settings=settings(), via=proxy.url)
        async with rig.running():
            proxy.at_commits(*breaks)
            sent = [reading(at_s, celsius=95 if at_s == 4 else 20) for at_s in range(30)]
            verdicts = await rig.tell("k1", *sent)
            again = await rig.tell("k1", *sent)
            rows = await rig.rows("SELECT extract(epoch FROM ts)::bigint FROM reading_kettle ORDER BY ts")
            alarms = await rig.rows("SELECT (SELECT count(*) FROM alarm_event), (SELECT count(*) FROM inbox)")
            totals = dict(await rig.rows("SELECT name, value FROM pipeline_counter"))
    assert proxy.broken == [one for one in breaks if one]
    assert [verdict.stored for verdict in verdicts] == [1] * 30
    assert [verdict.duplicates for verdict in again] == [1] * 30
    assert rows == [(int(NOW_S) + at_s,) for at_s in range(30)]
    assert alarms == [(1, 1)]
    assert (totals["stored"], totals["duplicates"]) == (30, 30)
    assert [entry[1] for entry in rig.recorder.told()["k1"]] == [NOW_S + at_s for at_s in range(30)]


@pytest.fixture
def own_postgres(service_folder: Path) -> Iterator[EmbeddedPostgres]:
    """A server that a test may kill."""
    server = EmbeddedPostgres(service_folder / "ingest-killed")
    server.start()
    yield server
    server.remove()


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def kill(postgres: EmbeddedPostgres) -> None:
    """Kill the server; a process that serves a connection may answer for a moment longer, and is waited for."""
    with psycopg.connect(postgres.url) as conn:
        serving = [int(pid) for (pid,) in conn.execute("SELECT pid FROM pg_stat_activity").fetchall()]
    assert postgres.pid is not None
    os.kill(postgres.pid, signal.SIGKILL)
    assert wait_until(lambda: postgres.pid is None and not any(map(is_running, serving)), 120.0)


async def test_a_database_killed_in_the_flow_loses_and_doubles_nothing(own_postgres: EmbeddedPostgres) -> None:
    await migrate(own_postgres.url)
    rng = random.Random(7)
    rig = Rig(own_postgres.url, settings=settings())
    async with rig.running():
        at_s = 0
        for _ in range(3):
            before = len(rig.door.settled)
            for _ in range(rng.randint(5, 15)):
                rig.pipeline.submit([rig.packet("k1", reading(at_s := at_s + 1, celsius=20))])
            await rig.until(lambda before=before: len(rig.door.settled) > before)
            await asyncio.to_thread(kill, own_postgres)
            rig.pipeline.submit([rig.packet("k1", reading(at_s := at_s + 1, celsius=20))])
            await rig.until(lambda: not rig.pipeline.healthy)
            await asyncio.to_thread(own_postgres.start)
            await rig.until(lambda at_s=at_s: len(rig.door.settled) == at_s)
        rows = await rig.rows("SELECT extract(epoch FROM ts)::bigint FROM reading_kettle ORDER BY ts")
    assert [token for token, _ in rig.door.settled] == list(range(1, at_s + 1))
    assert all(verdict.stored == 1 for verdict in rig.door.verdicts)
    assert rows == [(int(NOW_S) + second,) for second in range(1, at_s + 1)]
    assert [entry[1] for entry in rig.recorder.told()["k1"]] == [NOW_S + second for second in range(1, at_s + 1)]


async def test_a_database_that_goes_away_while_the_detectors_recover_ends_no_gateway(
    plain_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that was full then ended the process with a traceback; what had been judged is judged once in the end."""
    sent = [reading(at_s, celsius=20) for at_s in range(12)]
    first = Rig(plain_database_url, settings=settings())
    await first.prepare()
    task = asyncio.create_task(first.pipeline.run())
    await first.until(lambda: first.pipeline.healthy, task)
    await first.tell("k1", *sent)
    await crash(first, task)

    engines = [RecordingEngine()]
    breaks = [None, None, psycopg.errors.DiskFull("No space left on device"), None, psycopg.OperationalError("gone")]

    async def read_events(conn: Connection, after: int, until: int) -> Mapping[int, Sequence[EventRow]]:
        if breaks and (error := breaks.pop(0)) is not None:
            raise error
        return await checkpoints.read_events(conn, after, until)

    def make_engine() -> RecordingEngine:
        engines.append(RecordingEngine())
        return engines[-1]

    monkeypatch.setattr("gateway.pipeline.recovery._WINDOW", 1)
    monkeypatch.setattr("gateway.pipeline.recovery.read_events", read_events)
    async with Rig(plain_database_url, engines[0], settings(), make_engine=make_engine).running() as rig:
        await rig.tell("k1", reading(12, celsius=20))
    assert [len(engine.told().get("k1", ())) > 0 for engine in engines] == [True, True, True]
    assert [entry[1] for entry in engines[-1].told()["k1"]] == [NOW_S + at_s for at_s in range(13)]


async def test_what_a_stop_without_a_database_loses_is_counted_and_said(
    own_postgres: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gateway.pipeline.pipeline._FLUSH_TIMEOUT_S", 0.3)
    await migrate(own_postgres.url)
    rig = Rig(own_postgres.url, settings=settings())
    async with rig.running():
        await rig.tell("k1", reading(1, celsius=20))
        await asyncio.to_thread(kill, own_postgres)
        for at_s in range(2, 40):
            answered = rig.packet("k1", reading(at_s, celsius=20))
            rig.pipeline.submit([answered, answered._replace(tokens=[NO_ANSWER])])
        await rig.until(lambda: not rig.pipeline.healthy)
    assert rig.pipeline.stats.given_up == 38
    assert len(rig.door.settled) == 1
    (said,) = [line for line in capsys.readouterr().err.splitlines() if "pipeline.given_up" in line]
    assert "lost_at_qos_0=38" in said
    assert "sent_again=38" in said


async def test_a_stop_in_good_order_gives_nothing_up(
    plain_database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with Rig(plain_database_url, settings=settings()).running() as rig:
        for at_s in range(30):
            rig.pipeline.submit([rig.packet("k1", reading(at_s, celsius=20))._replace(tokens=[NO_ANSWER])])
    assert await rig.rows("SELECT count(*) FROM reading_kettle") == [(30,)]
    assert rig.pipeline.stats.given_up == 0
    assert "given_up" not in capsys.readouterr().err


async def test_a_second_gateway_waits_and_takes_over(plain_database_url: str) -> None:
    first, second = Rig(plain_database_url), Rig(plain_database_url)
    async with first.running():
        await first.tell("k1", reading(0, celsius=20))
        task = asyncio.create_task(second.pipeline.run())
        second.pipeline.submit([second.packet("k1", reading(1, celsius=21))])
        await first.tell("k1", reading(2, celsius=22))
        assert not second.pipeline.healthy
        assert second.door.settled == []
    await second.until(lambda: len(second.door.settled) == 1, task)
    assert len(second.recorder.told()["k1"]) == 3
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_a_gateway_that_lost_ownership_commits_nothing(plain_database_url: str) -> None:
    rig = Rig(plain_database_url)
    await rig.prepare()
    task = asyncio.create_task(rig.pipeline.run())
    await rig.until(lambda: rig.pipeline.healthy, task)
    await rig.tell("k1", reading(0, celsius=20))
    await rig.rows("UPDATE ingest_fence SET fence = fence + 1 RETURNING fence")
    rig.pipeline.submit([rig.packet("k1", reading(1, celsius=21))])
    with pytest.raises(OwnershipLostError):
        await asyncio.wait_for(task, 120)
    assert await rig.rows("SELECT count(*) FROM reading_kettle") == [(1,)]
    assert len(rig.door.settled) == 1
    assert not rig.pipeline.healthy


async def test_a_gateway_that_lost_ownership_writes_no_order_either(
    plain_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.order.keeper.FLUSH_EVERY_S", 3600.0)
    rig = Rig(plain_database_url)
    await rig.prepare()
    task = asyncio.create_task(rig.pipeline.run())
    await rig.until(lambda: rig.pipeline.healthy, task)
    await rig.tell("k1", reading(0, celsius=20) | {"seq": 1})
    await rig.until_rows("SELECT missing FROM device_order", [(0,)])
    await rig.tell("k1", reading(9, celsius=20) | {"seq": 10})
    await rig.rows("UPDATE ingest_fence SET fence = fence + 1 RETURNING fence")
    monkeypatch.setattr(rig.pipeline.order, "_flush_at_s", 0.0)
    with pytest.raises(OwnershipLostError):
        await asyncio.wait_for(task, 120)
    assert await rig.rows("SELECT missing FROM device_order") == [(0,)]


async def test_a_partition_dropped_under_way_is_made_again(plain_database_url: str) -> None:
    async with Rig(plain_database_url).running() as rig:
        await rig.tell("k1", reading(0, celsius=20))
        async with await rig.connect() as conn:
            await conn.execute("DROP TABLE reading_kettle_2025_10")
        verdicts = await rig.tell("k1", reading(1, celsius=20))
    assert verdicts[0].stored == 1


async def test_broken_sessions_of_our_own_are_ended(plain_database_url: str) -> None:
    async with Rig(plain_database_url).running() as rig:
        await rig.tell("k1", reading(0, celsius=20))
        async with await rig.connect() as conn:
            # The lock's session first: a gateway that misses the other one's opens both again, and not one in between.
            cut = await conn.execute(
                "SELECT pg_terminate_backend(pid, 60000) FROM (SELECT pid FROM pg_stat_activity "
                "WHERE application_name LIKE 'careloop ingest%' ORDER BY application_name DESC) AS session"
            )
            assert await cut.fetchall() == [(True,), (True,)]
        verdicts = await rig.tell("k1", reading(1, celsius=20))
        sessions = await rig.rows(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'careloop ingest%'"
        )
    assert verdicts[0].stored == 1
    assert sessions == [(2,)]


async def test_doors_hold_back_while_the_database_is_away_and_nothing_is_lost(plain_database_url: str) -> None:
    bounded = PipelineSettings(batch=BatchSettings(max_readings=5, max_age=0.0, queue_packets=10))
    async with Proxy(plain_database_url).running() as proxy:
        rig = Rig(plain_database_url, settings=bounded, via=proxy.url)
        async with rig.running():
            await rig.tell("k1", reading(0, celsius=20))
            proxy.block()
            sent, has_room = 1, True
            while has_room:
                has_room = rig.pipeline.submit([rig.packet("k1", reading(sent, celsius=20))])
                sent += 1
                await asyncio.sleep(0)
            await rig.until(lambda: not rig.pipeline.healthy)
            resumed = asyncio.Event()
            rig.pipeline.when_ready(resumed.set)
            assert not resumed.is_set()
            assert len(rig.door.settled) == 1
            proxy.unblock()
            await asyncio.wait_for(resumed.wait(), 120)
            await rig.until(lambda: len(rig.door.settled) == sent)
    assert await rig.rows("SELECT count(*) FROM reading_kettle") == [(sent,)]
    assert [token for token, _ in rig.door.settled] == list(range(1, sent + 1))
