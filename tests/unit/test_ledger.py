"""The ledger sees what it is there to see: a proof that cannot fail proves nothing."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.ledger.audit import Findings, Row, compare
from tests.ledger.book import Book, Key, State
from tests.ledger.plan import IMPOSSIBLE, DevicePlan, keys_in, payload_of
from tests.ledger.witness import Frames, Witness

PLAN = DevicePlan("d1", 1_760_000_000_000, 1000, bad_each=10)
COUNT = 30


def page_of(acknowledged: int = COUNT, given_up: int = 0) -> Book:
    book = Book()
    told = [PLAN.told(number, 0, "listen") for number in range(COUNT)]
    book.publish(told)
    book.acknowledge(each.key for each in told[:acknowledged])
    book.give_up(each.key for each in told[acknowledged : acknowledged + given_up])
    return book


def good_rows() -> list[Row]:
    told = [PLAN.told(number, 0, "listen") for number in range(COUNT)]
    return [Row(each.key, each.ts_ms, each.metrics, (1, each.key.number)) for each in told if not each.is_bad]


def quarantined() -> set[Key]:
    return {Key("d1", number) for number in range(COUNT) if PLAN.is_bad(number)}


def judge(book: Book, rows: Sequence[Row]) -> Findings:
    return compare(book.page(0), rows, quarantined(), set())


def test_what_is_stored_as_it_was_told_is_right() -> None:
    found = judge(page_of(), good_rows())
    assert found.faults == {}
    assert (found.published, found.acknowledged, found.stored, found.quarantined) == (30, 30, 27, 3)


def lose(rows: list[Row]) -> None:
    del rows[4]


def double(rows: list[Row]) -> None:
    rows.append(rows[4]._replace(ts_ms=rows[-1].ts_ms + 1000, batch=(2, 0)))


def change(rows: list[Row]) -> None:
    rows[4] = rows[4]._replace(metrics={**rows[4].metrics, "celsius": 21.5})


def move(rows: list[Row]) -> None:
    rows[4] = rows[4]._replace(ts_ms=rows[4].ts_ms + 1)


def store_the_impossible(rows: list[Row]) -> None:
    rows.append(Row(Key("d1", 9), PLAN.told(9, 0, "listen").ts_ms, PLAN.metrics_of(9), (1, 9)))


def invent(rows: list[Row]) -> None:
    rows.append(rows[-1]._replace(key=Key("d1", 99), ts_ms=rows[-1].ts_ms + 1000, batch=(2, 0)))


def swap(rows: list[Row]) -> None:
    rows[4], rows[5] = rows[4]._replace(batch=rows[5].batch), rows[5]._replace(batch=rows[4].batch)


@pytest.mark.parametrize(
    ("harm", "name"),
    [
        (lose, "lost"),
        (double, "doubled"),
        (change, "wrong"),
        (move, "wrong"),
        (store_the_impossible, "wrong"),
        (invent, "never published"),
        (swap, "out of order"),
    ],
)
def test_every_harm_is_found(harm: Callable[[list[Row]], None], name: str) -> None:
    rows = good_rows()
    harm(rows)
    assert name in judge(page_of(), rows).faults


def test_a_reading_without_an_answer_is_found_and_one_that_was_given_up_may_be_there_or_not() -> None:
    assert list(judge(page_of(acknowledged=28), good_rows()).faults) == ["not answered"]
    found = judge(page_of(acknowledged=20, given_up=10), good_rows()[:-4])
    assert found.faults == {}
    assert (found.given_up, found.given_up_stored) == (10, 6)


def test_what_a_killed_broker_has_not_handed_over_is_the_brokers_loss() -> None:
    rows = good_rows()
    lost = rows.pop(4).key
    found = compare(page_of().page(0), rows, quarantined(), {lost})
    assert found.faults == {}
    assert found.lost_by_broker == [lost]


def test_no_two_readings_of_a_device_are_equal_and_the_impossible_ones_are() -> None:
    values = [tuple(PLAN.metrics_of(number).items()) for number in range(2000)]
    assert len(set(values)) == 2000
    assert [number for number in range(COUNT) if PLAN.metrics_of(number)["celsius"] > IMPOSSIBLE] == [9, 19, 29]


def test_a_book_counts_an_acknowledgement_once_and_forgets_none() -> None:
    book = page_of()
    keys = [told.key for told, _ in book.page(0)]
    book.acknowledge(keys)
    book.give_up(keys)
    assert book.acknowledged_by("listen") == COUNT
    assert {state for _, state in book.pages()} == {State.ACKNOWLEDGED}


def packet(first: int, body: bytes) -> bytes:
    size = len(body)
    return bytes([first]) + (bytes([size]) if size < 128 else bytes([size % 128 | 0x80, size // 128])) + body


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("step", [1, 7, 4096])
def test_the_witness_knows_what_careloop_has_acknowledged(version: int, step: int) -> None:
    witness = Witness()
    tap = witness.new_tap()
    topic = b"devices/d1/telemetry"
    payloads = [payload_of([PLAN.told(number, 0, "broker") for number in numbers]) for numbers in ((0, 1), (2,))]
    props = b"\0" if version == 5 else b""
    down = b"".join(
        packet(0x32, len(topic).to_bytes(2, "big") + topic + number.to_bytes(2, "big") + props + payload)
        for number, payload in enumerate(payloads, 1)
    )
    up = packet(0x10, b"\0\4MQTT" + bytes([version]) + b"\2\0\0") + packet(0x40, b"\0\1")
    for data, hear in ((up[:12], tap.up), (down, tap.down), (up[12:], tap.up)):
        for at in range(0, len(data), step):
            hear(data[at : at + step])
    assert witness.acknowledged == {Key("d1", 0), Key("d1", 1)}


def test_frames_are_cut_where_they_end() -> None:
    body = bytes(300)
    frames = Frames()
    whole = packet(0x30, body) + packet(0xD0, b"")
    found = [frame for at in range(len(whole)) for frame in frames.feed(whole[at : at + 1])]
    assert found == [(0x30, body), (0xD0, b"")]


def test_the_number_of_a_reading_is_found_in_an_array_and_in_its_bytes_alone() -> None:
    told = [PLAN.told(number, 0, "listen") for number in (3, 4)]
    assert keys_in("d1", payload_of(told)) == [Key("d1", 3), Key("d1", 4)]
    assert keys_in("d1", json.dumps({"seq": 4}).encode()) == [Key("d1", 4)]


def test_the_ledger_shares_no_code_with_careloop() -> None:
    folder = Path(__file__).parents[1] / "ledger"
    ours = ("gateway", "devices", "crm_sync", "simulators")
    imports = [line for path in folder.glob("*.py") for line in path.read_text().splitlines() if "import " in line]
    assert len(imports) > 10
    assert [
        line
        for line in imports
        if line.startswith(tuple(f"{word} {room}" for word in ("from", "import") for room in ours))
    ] == []
