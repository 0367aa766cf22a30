"""The parts of the pipeline that need no database."""

import asyncio
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, replace

import numpy as np
import pytest

from devices.errors import QuarantineReason
from devices.profiles import AUTOMATIC
from gateway.alarms import alarm_id_of
from gateway.intake import Alike, Bunch, Mixed, Route, Verdict
from gateway.pipeline.answering import settle
from gateway.pipeline.clockless import ReceiptTimes
from gateway.pipeline.columns import Columns
from gateway.pipeline.health import HealthyClock
from gateway.pipeline.packets import Packets
from gateway.pipeline.promotion import Promotion
from gateway.pipeline.samples import samples_of
from gateway.pipeline.settings import BatchSettings
from gateway.pipeline.stats import PipelineStats
from gateway.pipeline.taps import Taps
from gateway.pipeline.told import Told, Unreadable, read_acknowledgement, read_status
from gateway.store.rows import NO_SEQ, Fill, Readings, ReadingTable
from gateway.store.spans import spans_of
from gateway.store.tables import add_metrics
from tests.ingest.rig import KETTLE, Door


def readings(table: ReadingTable, told: list[tuple[str, int, Mapping[str, float]]]) -> Readings:
    columns = Columns(table)
    for row, (device_id, ts_us, metrics) in enumerate(told):
        columns.put_values(metrics)
        columns.device.append(columns.index_of.setdefault(device_id, len(columns.index_of)))
        for column, value in ((columns.ts_us, ts_us), (columns.received_us, ts_us), (columns.seq, NO_SEQ)):
            column.append(value)
        for column, value in ((columns.packet, row), (columns.element, 0)):
            column.append(value)
    found, _ = columns.finish()
    return replace(found, row=2 * found.row)


def test_the_healthy_clock_goes_with_the_gateways_clock_after_the_grace() -> None:
    clock = HealthyClock(grace_s=10, healthy_s=100)
    assert clock.advance(1000, is_healthy=True) == 100
    assert clock.advance(1009, is_healthy=True) == 100
    assert clock.advance(1015, is_healthy=True) == 105
    assert clock.advance(1100, is_healthy=True) == 190


def test_an_outage_does_not_count_and_is_followed_by_a_grace() -> None:
    clock = HealthyClock(grace_s=10)
    clock.advance(0, is_healthy=True)
    assert clock.advance(20, is_healthy=True) == 10
    clock.advance(30, is_healthy=False)
    clock.advance(500, is_healthy=False)
    assert clock.advance(505, is_healthy=True) == 10
    assert clock.advance(512, is_healthy=True) == 12


def test_the_healthy_clock_never_goes_back() -> None:
    clock = HealthyClock(grace_s=0)
    clock.advance(0, is_healthy=True)
    clock.advance(50, is_healthy=True)
    assert clock.advance(20, is_healthy=True) == 50
    assert clock.advance(60, is_healthy=True) == 60


TABLE = ReadingTable("kettle", "reading_kettle", ("celsius", "boils"), ("celsius", "boils"))


def test_fills_stand_where_they_arrived_with_what_they_added() -> None:
    new = readings(TABLE, [("b", 2_000_000, {"celsius": 1}), ("a", 3_000_000, {"boils": 2, "ph": 7})])
    samples = samples_of(KETTLE, new, [Fill("c", 1_000_000, 1, {"boils": 5.0, "ph": 6.0})], 9.0)
    assert samples is not None
    assert [samples.device_ids[index] for index in samples.device.tolist()] == ["b", "c", "a"]
    assert samples.ts_s.tolist() == [2.0, 1.0, 3.0]
    assert samples.metrics == ("celsius", "boils")
    np.testing.assert_array_equal(samples.values, [[1, np.nan], [np.nan, 5], [np.nan, 2]])


def test_devices_that_have_no_row_do_not_occur() -> None:
    new = readings(TABLE, [("a", 1, {"celsius": 1}), ("b", 2, {"celsius": 2}), ("c", 3, {"celsius": 3})])
    samples = samples_of(KETTLE, new.take(np.array([False, False, True])), (), 0.0)
    assert samples is not None
    assert (samples.device_ids, samples.device.tolist()) == (("c",), [0])


def test_the_automatic_profile_judges_what_has_no_column_too() -> None:
    table = ReadingTable("automatic", "reading_automatic", ("volts", "amps"), ("volts", "amps"))
    new = readings(table, [("a", 1, {"volts": 1, "watts": 2}), ("a", 2, {"hertz": 3})])
    samples = samples_of(AUTOMATIC, new, (), 0.0)
    assert samples is not None
    assert samples.metrics == ("hertz", "volts", "watts")
    np.testing.assert_array_equal(samples.values, [[np.nan, 1, 2], [3, np.nan, np.nan]])


def test_nothing_gives_no_samples() -> None:
    assert samples_of(KETTLE, readings(TABLE, []), (), 0.0) is None


def test_receipt_times_of_a_device_are_unique_and_rise() -> None:
    times = ReceiptTimes()
    assert [times.next_us("a", 5), times.next_us("a", 5), times.next_us("b", 5), times.next_us("a", 3)] == [5, 6, 5, 7]
    assert times.next_us("a", 100) == 100


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        (b"online", Told(None, None, "online", None)),
        (b" Offline\n", Told(None, None, "offline", None)),
        (b'{"status": "online", "ts": 1000}', Told(1_000_000, None, "online", None)),
        (b'{"status": "offline", "more": 1}', Told(None, None, "offline", None)),
    ],
)
def test_births_and_wills(payload: bytes, told: Told) -> None:
    assert read_status(payload) == told


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", QuarantineReason.MALFORMED),
        (b"asleep", QuarantineReason.MALFORMED),
        (b'{"status": "asleep"}', QuarantineReason.WRONG_TYPE),
        (b'{"status": "online", "ts": "now"}', QuarantineReason.BAD_TIMESTAMP),
        (b"\xff", QuarantineReason.MALFORMED),
    ],
)
def test_what_is_no_status(payload: bytes, reason: QuarantineReason) -> None:
    told = read_status(payload)
    assert isinstance(told, Unreadable)
    assert told.reason is reason


def test_answers_to_commands_are_kept_with_the_commands_id() -> None:
    told = read_acknowledgement("devices/d/commands/c-7/ack", b'{"ok": true}')
    assert told == Told(None, None, "command.ack", '{"command_id":"c-7","answer":{"ok":true}}')
    assert read_acknowledgement("devices/d/commands/c/ack", b"done\xff") == Told(
        None, None, "command.ack", '{"command_id":"c","answer":"done\N{REPLACEMENT CHARACTER}"}'
    )
    assert isinstance(read_acknowledgement("devices/d/commands/c/ack", b'"\\u0000"'), Unreadable)


@pytest.mark.parametrize(
    ("moment", "suffix"),
    [
        ("1970-01-01", "1970s"),
        ("2009-12-31T23:59:59.999999", "2000s"),
        ("2010-01-01", "2010"),
        ("2020-01-01", "2020_01"),
        ("2024-02-29", "2024_02"),
        ("2049-12-31T23:59:59.999999", "2049_12"),
        ("2099-12-31T23:59:59.999999", "2099"),
        ("2100-01-01", "2100s"),
        ("9999-12-31T23:59:59.999999", "9900s"),
    ],
)
def test_every_moment_has_a_partition(moment: str, suffix: str) -> None:
    (span,) = spans_of(np.array([np.datetime64(moment, "us").astype(np.int64)]))
    assert span.suffix == suffix


def test_metrics_whose_names_cannot_be_columns_get_others() -> None:
    table = add_metrics(ReadingTable("x", "reading_x", (), ()), ["ok", "ts", "ctid", "Water °C", "x" * 80])
    assert table.columns[0] == "ok"
    assert len(set(table.columns)) == 5
    assert not {"ts", "ctid"} & set(table.columns)
    assert all(len(column) < 60 and column.isascii() for column in table.columns)


def test_frequent_metrics_are_promoted_once_and_up_to_a_cap() -> None:
    promotion, table = Promotion(), ReadingTable("automatic", "reading_automatic", ("a",), ("a",))
    promotion.note([{"b": 1.0, "rare": 1.0}])
    promotion.note([{"b": 1.0}] * 999)
    assert promotion.take(table) == ["b"]
    assert promotion.take(table) == []
    full = ReadingTable("automatic", "reading_automatic", tuple(map(str, range(64))), tuple(map(str, range(64))))
    promotion.note([{"c": 1.0}] * 2000)
    assert promotion.take(full) == []


def test_verdicts_go_to_their_origins_in_order() -> None:
    first, second = Door(), Door()
    sent = [
        Bunch(door, Route.TELEMETRY, "d", "t", "json", 0.0, tokens, [b""] * len(tokens))
        for tokens, door in (([0, 1], first), ([2], second), ([3], first))
    ]
    settle(sent, [Verdict(stored=number) for number in range(4)])
    assert first.settled == [(0, Verdict(stored=0)), (1, Verdict(stored=1)), (3, Verdict(stored=3))]
    assert second.settled == [(2, Verdict(stored=2))]
    settle(sent, Alike(Verdict(stored=7), 4))
    assert first.settled[3:] == [(token, Verdict(stored=7)) for token in (0, 1, 3)]


async def test_taps_tell_watchers_of_their_device_only() -> None:
    taps = Taps()
    fates = taps.watch("d1")
    waiting = asyncio.ensure_future(anext(fates))
    await asyncio.sleep(0)
    sent = Packets([Bunch(Door(), Route.TELEMETRY, device, "t", "json", 1.0, [0], [b"xyz"]) for device in ("d2", "d1")])
    taps.tell(sent, [Verdict(stored=1), Verdict(quarantined=1, reason=QuarantineReason.MALFORMED, detail="no")])
    fate = await asyncio.wait_for(waiting, 120)
    assert (fate.device_id, fate.payload_bytes, fate.quarantined, fate.reason) == ("d1", 3, 1, "malformed")
    await fates.aclose()
    taps.tell(sent, [Verdict(), Verdict()])  # nobody watches any more


async def test_taps_find_a_device_among_others() -> None:
    taps = Taps()
    fates = taps.watch("d1")
    waiting = asyncio.ensure_future(anext(fates))
    await asyncio.sleep(0)
    mixed = Mixed(Door(), Route.TELEMETRY, ["d2", "d1"], ["t2", "t1"], "json", 1.0, [7, 8], [b"", b"xyz"])
    taps.tell(Packets([mixed]), [Verdict(), Verdict(stored=1)])
    fate = await asyncio.wait_for(waiting, 120)
    assert (fate.topic, fate.payload_bytes, fate.stored) == ("t1", 3, 1)
    await fates.aclose()


class Wanted(Collection[str]):
    """Devices that are too many to be gone through with every batch."""

    def __init__(self, device_ids: set[str]) -> None:
        self._device_ids = device_ids

    def __contains__(self, device_id: object) -> bool:
        return device_id in self._device_ids

    def __len__(self) -> int:
        return len(self._device_ids)

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("all of them are gone through")


def test_taps_say_who_of_the_sought_is_heard_and_look_at_nobody_else() -> None:
    taps, heard = Taps(), list[str]()
    taps.seek(Wanted({"d1", "d3"}), heard.append)
    sent = Packets([Bunch(Door(), Route.TELEMETRY, device, "t", "json", 1.0, [0], [b"xyz"]) for device in ("d2", "d1")])
    taps.tell(sent, [Verdict(), Verdict()])
    assert heard == ["d1"]


def test_alarm_ids_name_the_episode() -> None:
    assert alarm_id_of("d", "w", 1.0) == alarm_id_of("d", "w", 1.0)
    assert len({alarm_id_of("d", "w", 1.0), alarm_id_of("d", "w", 2.0), alarm_id_of("d", "v", 1.0)}) == 3
    assert len(alarm_id_of("d", "w", 1.0)) == 26


def test_spans_of_milliseconds_are_settings_too() -> None:
    assert BatchSettings.model_validate({"max_age": "25ms"}).max_age == 0.025
    assert BatchSettings.model_validate({"max_age": "2s"}).max_age == 2.0


def test_stats_can_be_told_as_json() -> None:
    stats = PipelineStats(quarantined={"malformed": 2})
    assert json.loads(json.dumps(asdict(stats)))["quarantined"] == {"malformed": 2}
