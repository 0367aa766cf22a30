"""The benchmark of labelled records: what its machines and faults are, and how alarms and scores are counted."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from simulators.cli import simulate
from simulators.records.baseline import WINDOW, rolling_z
from simulators.records.faults import LONGEST, SHORTEST, Fault, FaultKind
from simulators.records.machine import Floats, Health, Timing, make_healthy
from simulators.records.record import EVERY_S, Cadence, Record, make_records, write_table
from simulators.records.run import HELD_OUT, TUNING
from simulators.records.score import (
    TAIL,
    Span,
    alarms_above,
    area_under_curve,
    limit_for,
    score_alarms,
    spans_above,
)


def record(*faults: tuple[int, int], name: str = "m", rows: int = 1000) -> Record:
    values = np.zeros((rows, 1))
    return Record(name, Health.STEADY, 0, 10, values, [Fault(FaultKind.STEP, first, end) for first, end in faults])


@pytest.mark.parametrize("cadence", Cadence)
def test_a_seed_is_always_the_same_records_however_many_are_drawn(cadence: Cadence) -> None:
    first, again, other = make_records(cadence, [1], 2), make_records(cadence, [1], 3), make_records(cadence, [2], 2)
    for one, same, another in zip(first, again, other, strict=False):
        assert np.array_equal(one.values, same.values, equal_nan=True)
        assert one.faults == same.faults
        assert one.values.shape != another.values.shape


def test_faults_lie_apart_and_late_enough_to_be_learnt_before() -> None:
    drawn = make_records(Cadence.TEN_SECONDS, [1, 2], 6)
    assert any(one.faults for one in drawn)
    for one in drawn:
        rows, end = len(one.values), 0
        for fault in one.faults:
            assert fault.first >= max(end, int(0.15 * rows))
            assert fault.first < fault.end < rows
            assert fault.end - fault.first <= LONGEST
            end = fault.end
        assert int(one.wrong.sum()) == sum(fault.end - fault.first for fault in one.faults)
    assert {fault.end - fault.first >= SHORTEST for one in drawn for fault in one.faults} == {True}


def test_only_faulty_rows_differ_from_those_of_the_healthy_machine() -> None:
    rng = np.random.default_rng(3)
    values = make_healthy(Health.STEADY, Timing(600, 10.0), 6, rng).values
    spread = values.std(axis=0)
    assert (np.abs(values[:300].mean(axis=0) - values[300:].mean(axis=0)) < 4 * spread).all()
    for one in make_records(Cadence.MINUTE, [1], 6):
        step = [fault for fault in one.faults if fault.kind in {FaultKind.STEP, FaultKind.STEPS}]
        for fault in step:
            inside = np.nanmean(one.values[fault.first : fault.end], axis=0)
            healthy = one.values[~one.wrong]
            away = np.abs(inside - np.nanmean(healthy, axis=0)) / np.maximum(np.nanstd(healthy, axis=0), 1e-9)
            assert away.max() > 0.5


def test_servers_have_idle_columns_and_missing_cells() -> None:
    rng = np.random.default_rng(1)
    server = make_healthy(Health.SERVER, Timing(2000, 60.0), 40, rng)
    assert 0.005 < np.isnan(server.values).mean() < 0.02
    assert (np.nanstd(server.values, axis=0) == 0).any()
    assert not server.can_fail.all()
    assert server.can_fail.any()


def test_a_table_has_every_record_in_the_order_of_time(tmp_path: Path) -> None:
    drawn = make_records(Cadence.SECOND, [1, 2], 1)
    write_table(drawn, tmp_path / "table.csv")
    with (tmp_path / "table.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    told = [int(row["timestamp"]) for row in rows]
    assert told == sorted(told)
    assert len(rows) == sum(len(one.values) for one in drawn)
    assert rows[0]["device"] == "1-000"
    assert float(rows[0]["sensor_01"]) == drawn[0].values[0, 0]
    assert {one.every_s for one in drawn} == {EVERY_S[Cadence.SECOND]}


def test_an_alarm_tells_of_the_fault_in_which_it_was_raised() -> None:
    one = record((100, 200), (400, 500), (700, 800))
    spans = [Span(150, 190, "row"), Span(300, 450, "row"), Span(799 + TAIL, 900, "stuck"), Span(950, 960, "row")]
    found = score_alarms([one], {"m": spans})
    assert [fault.delay_s for fault in found.faults] == [500, None, 1090]
    assert found.false_by == {"row": 2}
    assert (found.recall, found.precision) == (pytest.approx(2 / 3), 0.5)
    assert found.median_delay_s == 795
    assert found.of_kind(FaultKind.STEP) == (2, 3)
    assert found.of_kind(FaultKind.RAMP) == (0, 0)


def test_rows_count_one_by_one() -> None:
    found = score_alarms([record((100, 200))], {"m": [Span(150, 250)]})
    assert (found.both, found.only_alarm, found.only_fault) == (50, 50, 50)
    assert found.point_f1 == 0.5
    assert score_alarms([record((100, 200))], {}).point_f1 == 0


def test_false_alarms_are_counted_by_the_month() -> None:
    found = score_alarms([record(rows=8640 * 3)], {"m": [Span(5, 6), Span(50, 60)]})
    assert found.false_rate == pytest.approx(20)  # two in three days


def test_short_pauses_end_no_alarm_of_a_limit() -> None:
    scores = np.zeros(100)
    scores[[10, 11, 15, 60]] = 1.0
    assert spans_above(scores, 0.5) == [Span(10, 16), Span(60, 61)]


def test_the_baseline_gets_the_lowest_limit_that_costs_no_more_false_alarms() -> None:
    one, scores = record((500, 600)), np.zeros(1000)
    scores[550], scores[100], scores[800] = 3.0, 2.0, 1.0

    def judge(limit: int) -> tuple[float, int]:
        found = limit_for({"m": scores}, lambda some: score_alarms([one], some), limit)
        return found.recall, found.false

    assert judge(0) == (1, 0)
    assert judge(1) == (1, 1)
    assert judge(2) == (1, 2)


def test_the_area_is_one_where_faulty_rows_have_the_highest_scores_and_a_half_where_all_are_alike() -> None:
    one, calm = record((500, 600)), record(name="calm")
    scores = one.wrong.astype(np.float64)
    assert area_under_curve([one, calm], {"m": scores, "calm": scores}) == 1
    assert area_under_curve([one], {"m": -scores}) == 0
    assert area_under_curve([one], {"m": np.zeros(1000)}) == 0.5


def test_the_rolling_score_rises_in_the_column_that_leaves_its_window() -> None:
    values: Floats = np.random.default_rng(1).normal(size=(800, 3))
    values[5, 1] = np.nan
    values[600:650, 2] += 8.0
    scores = rolling_z(values)
    assert (scores[:WINDOW] == 0).all()
    assert scores[605:640].min() > scores[WINDOW:600].max()
    assert alarms_above({"m": scores}, 5.0)["m"][0].first in range(600, 610)
    assert np.array_equal(rolling_z(values[:620])[:500] > 3, scores[:500] > 3)  # what comes later changes nothing


def test_nothing_is_tuned_on_what_is_held_out() -> None:
    assert not set(TUNING) & set(HELD_OUT)


def test_the_command_scores_what_the_detectors_say_of_the_records(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        simulate, ["records", "--records", "1", "--seed", "6", "--cadence", "1 s", "--json", "--keep", str(tmp_path)]
    )
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)["cadences"][0]
    faults = json.loads((tmp_path / "1-s.faults.json").read_text(encoding="utf-8"))
    assert found["alarms"]["faults"] == len(faults["6-000"]["faults"])
    assert 0 <= found["alarms"]["point_f1"] <= 1
    assert found["rolling_z"]["false_alarms_per_record"] <= found["alarms"]["false_alarms_per_record"]
    assert (tmp_path / "1-s.scores.csv").stat().st_size > (tmp_path / "1-s.csv").stat().st_size
