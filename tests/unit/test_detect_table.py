"""The state of many series: growth, undoing, and slots that are given back."""

import mmap
import resource
from pathlib import Path

import numpy as np
import pytest

from gateway.detect import memory
from gateway.detect.groups import rarely
from gateway.detect.table import Field, Journal, Table
from gateway.detect.waves import waves

FIELDS = (
    Field("level"),
    Field("count", "f4", 2.0),
    Field("low", "f4", np.inf, lanes=3),
    Field("cold", initial=np.nan, group="cold"),
    Field("hours", "f4", np.nan, lanes=24, apart=True),
)


def filled(count: int) -> tuple[Table, Journal]:
    journal = Journal()
    table = Table(FIELDS, journal)
    index = table.allocate(count)
    state = table.rows(index)
    state["level"] = np.arange(count, dtype=np.float64)
    state.flush()
    return table, journal


def everything(table: Table) -> bytes:
    return b"".join(np.ascontiguousarray(table.column(field.name)).tobytes() for field in FIELDS)


def test_slots_begin_in_their_initial_state_and_survive_growth() -> None:
    table, _ = filled(10)
    more = table.allocate(5000)
    assert table.column("level")[:10].tolist() == list(range(10))
    state = table.rows(more)
    assert set(state["count"]) == {2.0}
    assert np.isnan(state["cold"]).all()
    assert np.isinf(state.lanes("low")).all()
    assert np.isnan(state.vector("hours")).all()


def test_large_tables_grow_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def yes() -> bool:
        return True

    monkeypatch.setattr(memory, "are_addresses_free", yes)
    table, _ = filled(50_000)
    hours = table.groups["hours, apart"]
    before = hours.address
    more = table.allocate(50_000)
    assert hours.address == before
    assert len(hours.slots) < 110_000  # and little is written to that nobody uses
    assert table.column("level")[:50_000].tolist() == list(range(50_000))
    assert set(table.rows(more)["count"]) == {2.0}


@pytest.mark.parametrize(
    ("limit", "overcommit", "most"),
    [
        (1 << 33, "0\n", 1 << 22),
        (resource.RLIM_INFINITY, "2\n", 1 << 22),
        (resource.RLIM_INFINITY, "0\n", memory.LEAST_ROOM),
    ],
)
def test_no_more_addresses_than_are_needed_are_taken_where_they_are_few_or_count_as_memory(
    limit: int, overcommit: str, most: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def getrlimit(_: int) -> tuple[int, int]:
        return limit, limit

    told = tmp_path / "overcommit_memory"
    told.write_text(overcommit, "ascii")
    monkeypatch.setattr(memory, "OVERCOMMIT", told)
    monkeypatch.setattr(resource, "getrlimit", getrlimit)
    assert len(memory.memory_of(1 << 22)) == most


def test_where_addresses_are_short_tables_grow_by_moving(monkeypatch: pytest.MonkeyPatch) -> None:
    pages = memory.pages_of
    most = 1 << 25

    def short(size: int) -> mmap.mmap:
        if size > most:
            raise OSError(12, "Cannot allocate memory")
        return pages(size)

    monkeypatch.setattr(memory, "pages_of", short)
    table, _ = filled(20_000)
    more = table.allocate(40_000)
    assert table.column("level")[:20_000].tolist() == list(range(20_000))
    assert set(table.rows(more)["count"]) == {2.0}


def test_what_was_read_stays_what_it_was_and_what_is_read_again_is_what_was_written() -> None:
    table, _ = filled(10)
    state = table.rows(np.array([7, 2]))
    before = state["level"]
    state["level"] = 100.0
    assert before.tolist() == [7, 2]
    assert state["level"].tolist() == [100, 100]
    state.flush()
    assert before.tolist() == [7, 2]
    assert table.column("level")[[7, 2, 3]].tolist() == [100, 100, 3]
    assert table.column("count")[7] == 2


def test_cells_and_lanes_reach_their_own_slot_only() -> None:
    table, _ = filled(4)
    state = table.rows(np.array([3, 1]))
    state.set_cell("hours", np.array([5, 6]), np.array([1.0, 2.0]))
    state.set_lanes("low", np.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]]))
    state.flush()
    hours = table.column("hours")
    assert (hours[3, 5], hours[1, 6]) == (1, 2)
    assert np.isfinite(hours).sum() == 2
    assert table.column("low")[1].tolist() == [10, 20, 30]
    assert np.isinf(table.column("low")[2]).all()


def test_a_turn_undone_leaves_every_byte_as_it_was() -> None:
    table, journal = filled(50)
    before = everything(table)
    journal.begin()
    for part in (np.arange(0, 50, 2), np.arange(10), np.array([49])):
        state = table.rows(part)
        state["level"] = state["level"] + 1
        state["cold"] = 7.0
        state.set_cell("hours", part % 24, part.astype(np.float64))
        state.set_lanes("low", np.zeros((3, len(part))))
        state.flush()
        state.set_vector("hours", np.ones((len(part), 24)))
    table.allocate(3000)  # moves the memory in between
    assert everything(table)[: len(before)] != before
    journal.rollback()
    table.count = 50
    assert everything(table) == before


def test_slots_that_were_given_back_are_as_new() -> None:
    table, _ = filled(5)
    table.release(np.array([1, 3]))
    again = table.allocate(3)
    assert sorted(again.tolist()) == [1, 3, 5]
    assert table.rows(again)["level"].tolist() == [0, 0, 0]


def test_waves_hold_each_key_once_and_keep_its_order() -> None:
    key = np.array([3, 1, 3, 3, 0, 1, 2, 3])
    seen = [at.tolist() for at in waves(key, 4)]
    assert seen == [[0, 1, 4, 6], [2, 5], [3], [7]]
    assert [at.tolist() for at in waves(np.array([2, 0, 1]), 3)] == [[0, 1, 2]]
    assert list(waves(np.array([], np.int32), 0)) == []
    many = np.random.default_rng(1).integers(0, 50_000, 60_000)
    waved = list(waves(many, 50_000))
    assert sorted(np.concatenate(waved).tolist()) == list(range(60_000))
    assert all(len(set(many[at].tolist())) == len(at) for at in waved)


RARE = (
    Field("level"),
    *rarely("alarm", (Field("since", initial=np.nan, group="alarm"), Field("why", group="alarm"))),
    *rarely("habit", (Field("mean", group="habit"), Field("hours", "f4", np.nan, lanes=24, apart=True))),
)


def alarms_of(table: Table, count: int) -> list[float]:
    return table.rows(np.arange(count))["since"].tolist()


def test_rare_fields_take_memory_only_for_slots_that_ever_used_them() -> None:
    journal = Journal()
    table = Table(RARE, journal)
    index = table.allocate(4000)
    plain = table.bytes_per_slot
    state = table.rows(index)
    state["since"], state["why"] = np.nan, 0.0  # what they begin with: nothing to keep
    state.flush()
    assert table.bytes_per_slot == plain
    some = table.rows(np.array([3000, 7]))
    some["since"] = np.array([1.0, 2.0])
    some.flush()
    assert alarms_of(table, 4000).count(2.0) == 1
    assert table.rows(np.array([7, 3000, 8]))["since"].tolist()[:2] == [2.0, 1.0]
    assert np.isnan(alarms_of(table, 4000)[8])
    assert table.copy(np.array([3000]))["why"].tolist() == [0.0]
    assert table.bytes_per_slot == plain + 1  # shared by all


def test_rare_fields_are_undone_and_their_slots_given_back() -> None:
    journal = Journal()
    table = Table(RARE, journal)
    table.allocate(300)
    journal.begin()
    for value in (5.0, 6.0):
        state = table.rows(np.arange(300))
        state["since"] = value
        state.flush()
    journal.rollback()
    assert np.isnan(alarms_of(table, 300)).all()
    state = table.rows(np.array([4]))
    state["since"] = 9.0
    state.flush()
    table.release(np.array([4]))
    assert table.allocate(1).tolist() == [4]
    assert np.isnan(table.rows(np.array([4]))["since"]).all()


def test_rare_groups_give_their_rows_together_and_take_them_back() -> None:
    journal = Journal()
    table = Table(RARE, journal)
    index = table.allocate(3000)
    plain = table.bytes_per_slot
    journal.begin()
    state = table.rows(index)
    state.set_cell("hours", index % 24, index.astype(np.float64))  # before anything else is known of them
    state["mean"] = index.astype(np.float64) + 1.0
    state.flush()
    assert table.rows(index).cell("hours", index % 24).tolist() == index.tolist()
    journal.rollback()
    assert np.isnan(table.rows(index).cell("hours", index % 24)).all()
    table.tidy()
    assert table.bytes_per_slot == plain  # what was undone needs no row
    some = np.array([2999, 5, 100])
    state = table.rows(some)
    state.set_cell("hours", np.array([1, 2, 3]), np.array([1.0, 2.0, 3.0]))
    state["mean"] = 7.0
    state.flush()
    others = table.rows(np.arange(1000, 2000))
    others["mean"] = 8.0
    others.flush()
    others["mean"] = 0.0  # as they began
    others.flush()
    table.tidy()
    assert table.indexes["habit"].used == 3
    assert table.rows(some)["mean"].tolist() == [7, 7, 7]
    assert table.rows(some).cell("hours", np.array([1, 2, 3])).tolist() == [1, 2, 3]
    assert table.rows(np.array([1500]))["mean"].tolist() == [0]
    assert np.isnan(table.rows(some).vector("hours")).sum() == 3 * 23
