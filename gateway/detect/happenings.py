"""Events among readings, in the order of their arrival, as samples for the detectors that count events.

An event is a sample of 1 of its code's series. A reading, and an event of another code, is one of 0: it tells that time
has passed in which the device could have sent one. Of these a series is shown one in three hours, and none before its
first event. Until then the roster knows when the device was first heard, and nothing else is kept: devices that send no
events cost next to nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from gateway.detect.arrays import Floats, Indices, Mask
from gateway.detect.episodes import Phase
from gateway.detect.fleet import Fleet
from gateway.detect.lanes import ALL_CODES, EventLane, Lane
from gateway.detect.model import Events, Samples
from gateway.detect.roster import UNSEEN, Roster
from gateway.detect.waves import waves

TICK_S: Final = 3 * 3600.0  # device time between two samples of 0…
TICK_UP_S: Final = 900.0  # …and while an alarm is up, or waits for its `for`
READING: Final = -1  # in place of a code
NONE: Final = -2  # a code of which nothing has come
ANY: Final = -3


@dataclass(frozen=True, slots=True)
class Signs:
    """Readings and events of devices of one roster, in the order of their arrival."""

    place: Floats  # [n], among all readings of the call: events stand between them
    seats: Indices  # [n]
    ts_s: Floats  # [n], device time
    code: Indices  # [n], into the call's codes, or READING
    row: Floats  # [n]

    def at(self, chosen: Indices | Mask) -> "Signs":
        """Some of them."""
        return Signs(self.place[chosen], self.seats[chosen], self.ts_s[chosen], self.code[chosen], self.row[chosen])


Chosen = tuple[Indices, Indices, Indices, Floats]
"""Of which sign, which watch of the lane, in which slot, which value."""

Show = Callable[[Roster, Lane, Signs, Chosen], None]
"""Judges values by watches of a lane."""


def seat_events(fleet: Fleet, events: Events) -> Indices:
    """The numbers of the devices that events came of; those that have no place yet get one, the others keep theirs."""
    devices = fleet.enrol(events.device_ids)
    for place in np.flatnonzero(fleet.roster_of[devices] < 0).tolist():  # rare: it never sent a reading
        profile = events.profiles[place]
        if profile is not None:
            fleet.settle(devices[[place]], fleet.roster(profile))
    return devices


def judge_events(fleet: Fleet, samples: Sequence[Samples], events: Events | None, show: Show) -> None:
    """Bring readings and events before the detectors that count events; the readings have been judged otherwise."""
    if events is None and not any([_may_be_due(fleet, some) for some in samples]):  # noqa: C419 - each is to be met
        return
    devices = None if events is None else fleet.find(events.device_ids)
    for number, roster in enumerate(fleet.rosters):
        parts = _readings(fleet, samples, number)
        codes: Sequence[str] = ()
        if events is not None and devices is not None:
            mine = np.flatnonzero(fleet.roster_of[devices[events.device]] == number)
            codes = events.codes if len(mine) else ()
            parts.append(_happenings(fleet, events, devices, mine, parts))
        if sum(len(part.ts_s) for part in parts):
            lanes = roster.event_lanes(codes)
            if lanes and events is not None:
                _meet(fleet, roster, parts)
            for lane in lanes:
                _judge(roster, lane, _in_order(roster, lane, parts), codes, show)


def _may_be_due(fleet: Fleet, samples: Samples) -> bool:
    """Whether readings that came without any event may tell more than that their devices are there."""
    roster = fleet.rosters[fleet.roster(samples.profile)]
    lanes = roster.event_lanes()
    if lanes and roster.unmet:
        roster.meet(_seats(fleet, samples), samples.ts_s, fleet.journal)
    return any(lane.lane.station.has_begun for lane in lanes)


def _meet(fleet: Fleet, roster: Roster, parts: Sequence[Signs]) -> None:
    """Note when devices were first heard, whether by a reading or by an event."""
    order = np.argsort(np.concatenate([part.row for part in parts]), kind="stable")
    seats, ts_s = (np.concatenate([getattr(part, name) for part in parts])[order] for name in ("seats", "ts_s"))
    roster.meet(seats, ts_s, fleet.journal)


def _readings(fleet: Fleet, samples: Sequence[Samples], roster: int) -> list[Signs]:
    parts: list[Signs] = []
    first = 0
    for some in samples:
        count = len(some.ts_s)
        if fleet.roster(some.profile) == roster:
            place = first + np.arange(count, dtype=np.float64)
            row = place if some.row is None else some.row.astype(np.float64)
            parts.append(Signs(place, _seats(fleet, some), some.ts_s, np.full(count, READING), row))
        first += count
    return parts


def _seats(fleet: Fleet, samples: Samples) -> Indices:
    """Those of readings, [n]."""
    devices = fleet.find(samples.device_ids) if samples.numbers is None else samples.numbers
    return fleet.seats_of(devices).take(samples.device)


def _happenings(fleet: Fleet, events: Events, devices: Indices, mine: Indices, readings: Sequence[Signs]) -> Signs:
    """Events of devices of a roster; each stands before the reading of it that came next."""
    row = events.row[mine].astype(np.float64)
    place = ((mine + 1.0) / (len(events.row) + 1.0) - 1.0).astype(np.float64)
    for part in readings:
        if len(part.row):
            place = place + np.searchsorted(part.row, row) + part.place[0]
    seats = fleet.seats_of(devices[events.device[mine]])
    return Signs(place, seats, events.ts_s[mine], events.code[mine].astype(np.int64), row)


def _in_order(roster: Roster, lane: EventLane, parts: Sequence[Signs]) -> Signs:
    """What has to be looked at, in the order of its arrival: events, and readings that may be the next to be shown."""
    eventful = np.concatenate([part.seats[part.code != READING] for part in parts])
    kept = [
        _due_of(roster, lane, part, eventful) if len(part.code) and part.code[0] == READING else part for part in parts
    ]
    order = np.argsort(np.concatenate([part.row for part in kept]), kind="stable")
    return Signs(*(np.concatenate([getattr(part, name) for part in kept])[order] for name in Signs.__slots__))


def _due_of(roster: Roster, lane: EventLane, part: Signs, eventful: Indices) -> Signs:
    """Those readings that tell something: after a device's first event one in three hours."""
    slots = _slots(roster, lane.lane, part.seats)
    chosen: Mask = np.isin(part.seats, eventful) if len(eventful) else np.zeros(len(slots), np.bool_)
    if lane.lane.station.has_begun:
        chosen |= np.any(_due(lane.lane, slots, part.ts_s), axis=1)
    return part.at(np.flatnonzero(chosen))


def _slots(roster: Roster, lane: Lane, seats: Indices) -> Indices:
    """The slots of seats, [n, watches]."""
    return roster.slots[seats[:, None], lane.columns].astype(np.int64)


def _is_always(roster: Roster, lane: EventLane) -> Mask:
    """Which series begin with the device: those of a profile, and where it is automatic that of all events together."""
    return np.array([not roster.profile.automatic or code == ALL_CODES for code in lane.codes], np.bool_)


def _begin(roster: Roster, lane: Lane, seats: Indices, slots: Indices) -> None:
    """Let series of which nothing has been judged know when their devices were first heard."""
    station = lane.station
    new = np.flatnonzero(station.table.column("newest_s")[slots] == -np.inf)
    if len(new):
        state, first_s = station.table.rows(slots[new]), roster.first_s[seats[new]]
        state["first_s"] = first_s
        state["newest_s"] = first_s
        state.flush()


def _due(lane: Lane, slots: Indices, ts_s: Floats) -> Mask:
    """Series that had an event, and are to be told that time has passed, [n, watches]."""
    wait_s = np.where(_kept(lane, "phase", slots) > Phase.IDLE, TICK_UP_S, TICK_S)
    return (_kept(lane, "seen", slots) > 0) & (ts_s[:, None] - _kept(lane, "newest_s", slots) >= wait_s)


def _kept(lane: Lane, name: str, slots: Indices) -> Floats:
    """A field of slots, [n, watches]; NaN where there is no slot."""
    there = slots >= 0
    if there.all():
        return lane.station.table.column(name)[slots].astype(np.float64)
    kept = np.full(slots.shape, np.nan)
    kept[there] = lane.station.table.column(name)[slots[there]]
    return kept


def _judge(roster: Roster, lane: EventLane, signs: Signs, codes: Sequence[str], show: Show) -> None:
    if not len(signs.ts_s):
        return
    number_of = {code: number for number, code in enumerate(codes)}
    wanted = np.array([ANY if code == ALL_CODES else number_of.get(code, NONE) for code in lane.codes])
    always = _is_always(roster, lane)
    distinct, key = np.unique(signs.seats, return_inverse=True)
    for at in waves(key, len(distinct)):
        wave = signs.at(at)
        is_event = (wave.code != READING)[:, None]
        came: Mask = is_event & ((wave.code[:, None] == wanted) | (wanted == ANY))
        slots = _slots(roster, lane.lane, wave.seats)
        new = (slots == UNSEEN) & came
        if new.any():
            sign, which = np.nonzero(new)
            roster.open_events(lane.lane, wave.seats[sign], which)
            slots = _slots(roster, lane.lane, wave.seats)
        sign, which = np.nonzero((slots >= 0) & came & always)
        _begin(roster, lane.lane, wave.seats[sign], slots[sign, which])
        sign, which = np.nonzero((slots >= 0) & (came | _due(lane.lane, slots, wave.ts_s)))
        if len(sign):
            lane.lane.station.has_begun |= bool(came.any())
            values = came[sign, which].astype(np.float64)
            show(roster, lane.lane, wave, (sign, which, slots[sign, which], values))
