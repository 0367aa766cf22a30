"""A metric that has gone while its company goes on: nothing comes of it any more, or zeros, where others are in use.

Once an hour each metric of a device is *alive* or not: it was heard of, is not zero, not at the value at which it
rests, and no count that stands still. Which others are alive at such times tells how likely it is that it is not, or
not even heard of; those that hardly ever rest tell nothing, and neither do hours in whose company it is often missing.
So a device in a drawer, where all of them rest, says nothing of any; and a heart that is missing from hour to hour,
while steps are made as ever, says much.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from gateway.detect.arrays import Floats, Indices, Mask
from gateway.detect.detector import Batch, Findings, Moment, Part, Parts, Words
from gateway.detect.exact import log_of
from gateway.detect.groups import COMPANY
from gateway.detect.table import Bytes, Field, Rows
from gateway.detect.words import say_instant, say_metric, say_number, say_span

HOUR_S: Final = 3600.0
COMPANIES: Final = 4  # quarters of the others that are alive
FEW_FALLS: Final = 0.05  # of its changes: it counts up
FEWEST_HOURS: Final = 12.0  # in such company, before it says anything
KNOWN_HOURS: Final = 100.0  # in any
MOST_HOURS: Final = 255  # that are counted; then both counts are halved
MOST_NATS: Final = 2.5  # that an hour can say
RESTING: Final = 0.15  # of its hours that a metric rests, at least…
LIVING: Final = 0.05  # …and is alive: else it tells nothing of others
MOST_LACKED: Final = 0.25  # of the hours in such company: where it is missing more often, its absence says nothing
MARGIN: Final = 1.6  # over the longest absence so far
HIGHEST: Final = 1.2  # bars: what one absence can make of the record
FADED: Final = 0.97  # what remains of the record when another absence ends
TELLING: Final = 4.0  # nats that make an absence one
DOUBTFUL: Final = 0.5  # bars: nothing is learnt from an absence beyond
NAMED: Final = 3
LATELY_S: Final = 2 * HOUR_S
LASTING_S: Final = 9 * HOUR_S  # where nobody said how long
TALLIES: Final = ("lacked", "unheard", "counted")

SETTLED: Final = 4.0  # repetitions more than at all other values together: the series rests at this one

COMPANY_FIELDS: Final[Sequence[Field]] = (
    Field("gone", "f4", group=COMPANY),  # nats of the present absence, of hours in which it was heard of…
    Field("mute", "f4", group=COMPANY),  # …and of those since it was
    Field("gone_hour", "f4", np.nan, group=COMPANY),  # its first hour, since 1970
    Field("longest", "f4", group=COMPANY),  # nats of the largest absence before, fading
    Field("lacked", "u1", lanes=COMPANIES, group=COMPANY),  # hours in such company in which it was not alive
    Field("unheard", "u1", lanes=COMPANIES, group=COMPANY),  # of these, those in which it was not heard of at all
    Field("counted", "u1", lanes=COMPANIES, group=COMPANY),  # all hours in such company
)


@dataclass(frozen=True, slots=True)
class _Hour:
    """What an hour shows of some parts."""

    alive: Mask
    heard: Mask
    company: Indices  # the quarter of the others that are alive
    met: Mask  # whether any of those that tell something is


def judge_company(state: Rows, parts: Parts, batch: Batch) -> Findings:
    """Judge devices by the metrics that are missed, at the first reading of an hour."""
    count, since_s = len(state), state["last"]
    steps = ~batch.late & (np.floor(batch.ts_s / HOUR_S) != np.floor(since_s / HOUR_S))  # NaN: at the first as well
    chosen = np.flatnonzero((steps & np.isfinite(since_s))[parts.owner] & (parts.rows["newest_s"] > -np.inf))
    nats, began_s = np.zeros(count), batch.ts_s.copy()
    most = np.broadcast_to(batch.parameter("unlikely"), count)
    missed = np.zeros(count, np.bool_)
    if len(chosen):
        rows, owner = parts.rows.at(chosen), parts.owner[chosen]
        hour = np.floor(batch.ts_s / HOUR_S)[owner]
        ratio, gone_s, met = _follow(rows, owner, (since_s, hour, most[owner]))
        told_s = np.broadcast_to(batch.parameter("lasting"), count)[owner]
        lasts = batch.ts_s[owner] - gone_s >= np.where(np.isnan(told_s), LASTING_S, told_s)
        np.maximum.at(nats, owner, ratio)
        wrong = (ratio > 1.0) & lasts & met
        missed[owner[wrong]] = True  # told at an hour in which it is missed, not in the night after
        np.minimum.at(began_s, owner[wrong], gone_s[wrong])
    state["last"] = np.where(steps, batch.ts_s, since_s)
    calm = steps & (nats <= DOUBTFUL)
    return Findings(missed, calm & ~missed, nats / (nats + 1.0), judged=steps, began_s=began_s)


def _follow(rows: Rows, owner: Indices, of_devices: tuple[Floats, Floats, Floats]) -> tuple[Floats, Floats, Mask]:
    """Take an hour into every part; gives their absences in bars, since when, and whether others are there."""
    since_s, hour, unlikely = of_devices
    lanes = [rows.lanes(name).view(np.uint8) for name in TALLIES]
    now = _look(rows, owner, since_s, (lanes[0], lanes[-1]))
    each = np.arange(len(owner))
    lacked, unheard, hours = tallies = [its[now.company, each].astype(np.float64) for its in lanes]
    chance = (np.where(now.heard, lacked, unheard) + 0.5) / (hours + 1.0)
    nats = np.where(chance <= MOST_LACKED, np.minimum(-log_of(chance), MOST_NATS), 0.0)
    known = lanes_sum(lanes[-1]) >= KNOWN_HOURS
    nats = np.where(now.met & known & (hours >= FEWEST_HOURS), nats, 0.0)
    before, longest = absence(rows), rows["longest"].astype(np.float64)
    zeros, mute = rows["gone"].astype(np.float64), rows["mute"].astype(np.float64)
    zeros = np.where(now.alive, 0.0, np.where(now.heard, zeros + nats, zeros))
    mute = np.where(now.heard, 0.0, mute + nats)
    gone, bar = zeros + mute, _bar_of(longest, unlikely)
    ends = before - gone >= TELLING
    rows["longest"] = np.where(ends, np.maximum(FADED * longest, np.minimum(before, HIGHEST * bar)), longest)
    began = np.where((gone > 0) & (before == 0), hour, rows["gone_hour"])
    rows["gone"], rows["mute"], rows["gone_hour"] = zeros, mute, began
    learns = now.alive | (gone <= DOUBTFUL * bar)
    for name, its, tally, more in zip(TALLIES, lanes, tallies, (~now.alive, ~now.heard, learns), strict=True):
        kept = its.copy()
        fresh = np.where(hours >= MOST_HOURS, np.floor(tally / 2.0), tally) + more
        kept[now.company, each] = np.where(learns, fresh, tally).astype(np.uint8)
        rows.set_lanes(name, kept)
    rows.flush()
    return gone / bar, began * HOUR_S, now.met


def _look(rows: Rows, owner: Indices, since_s: Floats, tallies: tuple[Bytes, Bytes]) -> _Hour:
    """Which parts are alive, and in which company."""
    count = len(since_s)
    rests = (rows["falls"] < FEW_FALLS) & (rows["run"] > 0)
    rests |= (rows["last"].astype(np.float32) == rows["rest"]) & (rows["rested"] >= SETTLED)
    heard = rows["newest_s"] > since_s[owner]
    alive = heard & (rows["last"] != 0) & ~rests
    lacked, counted = (lanes_sum(lanes) for lanes in tallies)
    telling = (lacked >= RESTING * counted) & (counted - lacked >= LIVING * counted)
    there = np.bincount(owner, telling & alive, minlength=count)[owner] - (telling & alive)
    others = np.bincount(owner, telling, minlength=count)[owner] - telling
    quarter = np.floor(COMPANIES * there / np.maximum(others, 1.0))
    return _Hour(alive, heard, np.minimum(quarter, COMPANIES - 1.0).astype(np.int64), there > 0)


def absence(rows: Rows) -> Floats:
    """What the present absences have come to, in nats."""
    return rows["gone"].astype(np.float64) + rows["mute"].astype(np.float64)


def lanes_sum(lanes: Bytes) -> Floats:
    """Counts in any company, [n]."""
    return lanes.astype(np.float64).sum(axis=0)


def _bar_of(longest: Floats, unlikely: Floats) -> Floats:
    return np.maximum(unlikely, MARGIN * longest)


def explain_company(state: Rows, moment: Moment, parts: Sequence[Part]) -> Words:
    """Name the metrics that are missed, and those that go on."""
    del state
    unlikely = np.array([moment.parameters["unlikely"]])
    bars = {part.metric: float(_bar_of(part.state["longest"].astype(np.float64), unlikely)[0]) for part in parts}
    nats = {part.metric: float(absence(part.state)[0]) for part in parts}
    missed = [part for part in parts if nats[part.metric] > DOUBTFUL * bars[part.metric]]
    missed.sort(key=lambda part: (-nats[part.metric] / bars[part.metric], part.metric))
    gone = {part.metric for part in missed}
    rest = [part for part in parts if part.metric not in gone and _is_heard(part, moment)]
    here = sorted(part.metric for part in rest if part.state["last"][0] != 0)
    window_s, since = moment.ts_s - moment.began_s, say_instant(moment.began_s, moment.ts_s)
    others = "1 other metric of the device goes" if len(here) == 1 else f"{len(here)} other metrics of the device go"
    if moment.event == "cleared" or not missed:
        text = f"All metrics of the device go together again; some had been missing since {since}"
        return Words(text, "metrics that go together", "all of them", window_s)
    names = ", ".join(say_metric(part.metric) for part in missed[:NAMED])
    text = f"{names}: {_how_gone(missed, moment)} since {since} ({say_span(window_s)})"
    if here:
        text += f", while {others} on: {', '.join(say_metric(name) for name in here[:NAMED])}"
    if (share := _usual_share(missed[0])) is not None:
        text += f"; otherwise {say_metric(missed[0].metric)} rests or is missing in {say_number(share)} % of such hours"
    evidence = ((moment.began_s, 0.0), (moment.ts_s, nats[missed[0].metric]))
    return Words(text, f"{names} where others go on", f"none of {names}", window_s, evidence)


def _how_gone(missed: Sequence[Part], moment: Moment) -> str:
    heard = [part for part in missed if _is_heard(part, moment)]
    if not heard:
        return "nothing"
    if len(heard) < len(missed):
        return "nothing, or nothing new"
    return "zeros only" if all(part.state["last"][0] == 0 for part in heard) else "nothing new"


def _is_heard(part: Part, moment: Moment) -> bool:
    return float(part.state["newest_s"][0]) >= moment.ts_s - LATELY_S


def _usual_share(part: Part) -> float | None:
    """In how many of 100 hours in company a metric is not alive, where there were any."""
    lacked, counted = (float(lanes_sum(part.state.lanes(name)[1:].view(np.uint8))[0]) for name in ("lacked", "counted"))
    return 100.0 * lacked / counted if counted > 0 else None
