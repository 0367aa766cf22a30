"""The simulator knows what was acknowledged, and compares it with what is held."""

import numpy as np

from simulators.fleet.ledger import Ledger
from simulators.fleet.packets import broken, telemetry
from simulators.fleet.world import again
from simulators.reckoning import Held, compare

READINGS = [b'{"ts":1000,"metrics":{"a":1}}', b'{"ts":2000,"metrics":{"a":2}}']
TIMES = np.array([1000, 2000], dtype=np.int64)
NOTHING = np.empty(0, dtype=np.uint64)


def ledger_of(*more: bytes) -> Ledger:
    ledger = Ledger()
    packet = telemetry("d", READINGS, TIMES)
    for each in (packet, again(packet), *(broken("d", payload) for payload in more)):
        ledger.sent(each)
        ledger.came_back(each)
    return ledger


def test_a_redelivery_counts_as_nothing_new() -> None:
    ledger = ledger_of()
    assert (ledger.published, ledger.acknowledged, ledger.record_of("d").distinct) == (2, 2, 2)


def test_what_was_sent_but_not_acknowledged_is_not_in_the_record() -> None:
    ledger = Ledger()
    ledger.sent(telemetry("d", READINGS, TIMES))
    assert ledger.published == 2
    assert ledger.record_of("d").distinct == 0


def test_stored_and_quarantined_readings_are_accounted_for() -> None:
    record = ledger_of(b"rubbish").record_of("d")
    assert record.distinct == 3
    assert compare(record, Held(TIMES, record.unstorable)) == (2, 0, 1, 0)


def test_a_reading_that_is_neither_stored_nor_in_quarantine_is_lost() -> None:
    record = ledger_of(b"rubbish").record_of("d")
    assert compare(record, Held(TIMES[:1], record.unstorable)) == (1, 0, 1, 1)
    assert compare(record, Held(TIMES, NOTHING)) == (2, 0, 0, 1)


def test_a_reading_in_quarantine_for_a_reason_of_the_gateway_is_not_lost() -> None:
    record = ledger_of().record_of("d")
    second = record.digests[record.ts_ms == 2000]
    assert compare(record, Held(TIMES[:1], second)) == (1, 0, 1, 0)


def test_a_row_stored_twice_is_seen() -> None:
    record = ledger_of().record_of("d")
    assert compare(record, Held(np.array([1000, 2000, 2000]), NOTHING)) == (2, 1, 0, 0)


def test_of_two_readings_that_contradict_each_other_one_must_be_in_quarantine() -> None:
    ledger = ledger_of()
    other = telemetry("d", [b'{"ts":1000,"metrics":{"a":9}}'], TIMES[:1])
    ledger.sent(other)
    ledger.came_back(other)
    record = ledger.record_of("d")
    assert record.distinct == 3
    assert compare(record, Held(TIMES, NOTHING)) == (2, 0, 0, 1)
    assert compare(record, Held(TIMES, other.digests)) == (2, 0, 1, 0)


def test_the_moment_at_which_a_reading_was_sent_is_kept() -> None:
    ledger = ledger_of()
    assert ledger.sent_at("d", 1.0) is not None
    assert ledger.sent_at("d", 3.0) is None
    assert ledger.sent_at("other", 1.0) is None
