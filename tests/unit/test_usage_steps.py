"""Rows of a rollup as the API writes them: only what was told, means, and rises from one bucket to the next."""

from datetime import UTC, datetime, timedelta

import msgspec

from gateway.api.rollups import UsageBucket
from gateway.maintenance.usage import Usage, UsageTable, add_steps, usages

TABLE = UsageTable("kettle", "reading_kettle", "hour", "day", [("celsius", "c_1"), ("boils", "b_2")])
START = datetime(2025, 10, 8, tzinfo=UTC)


def hours() -> list[Usage]:
    """Four hours; boils are a counter that is reset in the last, and was not told in the second."""
    told = [(1.0, 4.0, 3.0), None, (6.0, 9.0, 3.0), (2.0, 3.0, 1.0)]
    rows: list[tuple[object, ...]] = []
    for number, boils in enumerate(told):
        start = START + timedelta(hours=number)
        counted = (0, *[None] * 6) if boils is None else (2, sum(boils[:2]), *boils[:2], *boils)
        rows.append((start, 3, start, start, 3, 60.0, 10.0, 30.0, 10.0, 30.0, None, *counted))
    return usages(TABLE, rows)


def test_what_was_not_told_is_left_out_and_names_are_in_order() -> None:
    found = hours()
    assert [list(one.metrics) for one in found] == [["boils", "celsius"], ["celsius"]] + 2 * [["boils", "celsius"]]
    assert found[0].metrics["celsius"].mean == 20.0


def test_a_counter_rises_from_one_bucket_to_the_next() -> None:
    found = hours()
    add_steps(found, "boils", 0.5)
    assert [one.metrics["boils"].rise for one in found if "boils" in one.metrics] == [3.5, 5.0, 3.0]
    found = hours()
    add_steps(found, "boils", None)
    assert found[0].metrics["boils"].rise == 3.0


def test_it_is_written_as_the_document_says() -> None:
    for one in hours():
        written = msgspec.json.encode(one)
        assert UsageBucket.model_validate_json(written, strict=True).model_dump(mode="json").keys() == set(
            msgspec.json.decode(written)
        )
