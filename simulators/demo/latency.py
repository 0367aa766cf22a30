"""From alarm to CRM in real time, seen from outside."""

from collections.abc import Collection, Mapping

import numpy as np

from simulators.crm.records import Book
from simulators.fleet.clocks import ClockHand
from simulators.fleet.ledger import Ledger
from simulators.scorecard import SeenAlarm


def alarm_to_crm_s(alarms: Mapping[str, SeenAlarm], book: Book, ledger: Ledger, hand: ClockHand) -> dict[str, float]:
    """Seconds from the alarm that opened a case to the first request about the case, by case.

    When exactly an alarm is recorded cannot be seen from outside, so it counts from a little earlier: from the moment
    at which the device sent the deciding reading; for a silence, from that at which the gateway's clock was moved on.
    """
    waits: dict[str, float] = {}
    for message in book.messages.values():
        if message.kind != "case.opened" or message.case_id is None:
            continue
        known = [at for name in message.alarm_ids if (at := _known_at(alarms.get(name), ledger, hand)) is not None]
        if known:
            waits[message.case_id] = max(0.0, book.first_heard[message.case_id] - min(known))
    return waits


def _known_at(alarm: SeenAlarm | None, ledger: Ledger, hand: ClockHand) -> float | None:
    if alarm is None:
        return None
    sent_at = ledger.sent_at(alarm.device_id, alarm.decided_at_s)
    return hand.told_at(alarm.known_at_s) if sent_at is None else sent_at


def percentile(values: Collection[float], share: float) -> float | None:
    """The value below which `share` percent lie; None of nothing."""
    return float(np.percentile(list(values), share)) if values else None
