"""A sensor that says the same thing over and over, and never did so before.

How likely a run of identical values is, is told by how often this series repeats itself: what is measured finely hardly
ever does, a coarse gauge often. A run must be unlikelier than chance, last, and be longer than every run before it, by
a margin. It lasts when hours have passed; of what is read each second or minute, when it has come to many readings.
Zeros are no run (a thing that is not used), and neither is what hardly ever falls (a counter at rest) or repeats itself
most of the time (a state).

Many series have a value at which they rest: the calories of a body that lies still, sixty minutes of sitting in an
hour. It is found as the value that has most of the repetitions. A run at it says little, and is judged by the runs at
it before; what is said of all other values is learnt without it. Where it has not shown that value yet, the device's
other metrics tell: while one of them is at zero and others change, the device lies somewhere, and is not stuck.

A watch without a metric tells of metrics that have gone while the device's others go on (``company.py``).
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from devices.profiles.model import Metric
from gateway.detect.arrays import Floats, Indices, Mask
from gateway.detect.company import COMPANY_FIELDS, LASTING_S, SETTLED, explain_company, judge_company
from gateway.detect.detector import Batch, Findings, Moment, Parameter, Part, Parts, Words
from gateway.detect.episodes import Phase
from gateway.detect.exact import exp2_of, log_of
from gateway.detect.groups import rarely
from gateway.detect.kinds import LearntKind, tell_kind
from gateway.detect.model import Kind
from gateway.detect.settings import DetectSettings
from gateway.detect.table import Field, Numeric, Rows
from gateway.detect.words import say_instant, say_metric, say_number, say_quantity, say_span

RATE: Final = 0.01  # of what is learnt, per sample
LOG2_REST: Final = -0.014499569695115089  # log2(1 - RATE)
UNKNOWN: Final = 0.9  # share of repetitions that is assumed before anything is seen: nothing is judged at first
LEAST_SHARE: Final = 0.01  # of repetitions: what never repeats itself may yet
MOST_SHARE: Final = 0.6
FEW_FALLS: Final = 0.05
MARGIN: Final = 1.5  # over the longest run so far
FADED: Final = 0.97  # what remains of the longest run when another ends
MOST_RECORD: Final = 1.5  # times the run that would have raised an alarm
TELLING: Final = 2.0  # repetitions that make a run one
MOST_RESTED: Final = 500.0  # that are counted, so that another value can take its place
PATIENCE: Final = 10.0  # times as long a run at that value
AS_LONG: Final = 0.5  # of a run: another that is not as long is none
MANY: Final = 60.0  # repetitions that are as good as hours, where they come fast,…
MANY_BARS: Final = 3.0  # …and are so much unlikelier
LATELY_S: Final = 3 * 3600.0  # metrics that were heard of within this time tell how a device is
REST_MARGIN: Final = 2.0  # over the longest run at it so far


class Stuck:
    """The likelihood of a run of identical values, by the series' own habit of repeating itself."""

    name: Final = "stuck"
    version: Final = 3
    kind: Final = Kind.STUCK
    fields: Sequence[Field] = (
        Field("last", initial=np.nan),  # value
        Field("run", "f4"),  # how often it has been repeated by now
        Field("repeats", "f4", UNKNOWN),  # share of samples that repeat the one before
        Field("falls", "f4"),  # share of samples that are lower than the one before
        *rarely(
            "run",
            (
                Field("since_s", initial=np.nan, group="run"),  # first repetition of the present run
                Field("rest", "f4", np.nan, group="run"),  # value that has most of the repetitions
                Field("rested", "f4", group="run"),  # how many more than all others
                Field("rests", "f4", group="run"),  # longest run at it, fading
                Field("record", "f4", group="run"),  # longest other run so far, fading
            ),
        ),
        *COMPANY_FIELDS,
    )
    parameters: Sequence[Parameter] = (
        Parameter("unlikely", default=20.0, minimum=1.0),  # nats
        Parameter("times", default=10.0, minimum=2.0),  # least repetitions
        Parameter("lasting", minimum=0.0, span=True),  # else nine hours, or many readings
        Parameter("kind", minimum=0.0, maximum=4.0),  # a LearntKind; else it is learnt
    )
    evidence_points: Final = 0
    looks_around: Final = True
    fewest_parts: int = 3

    def defaults(self, metric: Metric | None, settings: DetectSettings) -> Mapping[str, float]:
        """A profile tells counters and states, which are never stuck."""
        del settings
        return {"kind": tell_kind(metric)}

    def check(self, parameters: Mapping[str, float]) -> str | None:
        """Any combination is fine."""
        del parameters
        return None

    def migrate(self, version: int, saved: Mapping[str, Numeric]) -> Mapping[str, Numeric] | None:
        """Version 1 had one record for all values, and no more than a guess at where the series rests; 2 no company."""
        if version == 1:
            return {name: field for name, field in saved.items() if name != "rest"}
        return saved if version == 2 else None  # noqa: PLR2004 - the version

    def judge(self, state: Rows, batch: Batch) -> Findings:
        """Count repetitions. Late samples, and zeros after zeros, say nothing."""
        last, run = state["last"], state["run"].astype(np.float64)
        idle = (batch.value == 0) & (last == 0)
        told = np.broadcast_to(batch.parameter("kind"), len(state))
        resting = (told == LearntKind.COUNTER) | (told == LearntKind.STATE)
        counts = ~batch.late & ~idle & ~np.isnan(last) & ~resting
        same = counts & (batch.value == last) & (batch.value != 0)
        changed = counts & ~same
        falls = state["falls"].astype(np.float64)
        falls = np.where(counts, falls + RATE * ((batch.value < last) - falls), falls)
        state["falls"] = falls
        state["last"] = np.where(batch.late, last, batch.value)
        state["run"] = np.where(same, run + 1.0, np.where(changed, 0.0, run))
        touched = np.flatnonzero(same | (changed & (run > 0)))
        repeats = state["repeats"].astype(np.float64)
        breach, score, began_s = np.zeros(len(state), bool), np.zeros(len(state)), batch.ts_s.copy()
        rests = np.zeros(len(state), bool)
        if len(touched):
            some = state.at(touched)
            rests[touched] = (last[touched].astype(np.float32) == some["rest"]) & (some["rested"] >= SETTLED)
            told_of = _at(batch, "unlikely", touched), _at(batch, "times", touched)
            bar = _bar(some, repeats[touched], told_of, rests[touched])
            ended = run[touched], last[touched], rests[touched]
            began_s[touched] = _follow(some, batch.ts_s[touched], ended, bar)
            usual = (repeats[touched] > MOST_SHARE) | (falls[touched] < FEW_FALLS)
            length = some["run"].astype(np.float64)
            lasts = _lasts(_at(batch, "lasting", touched), batch.ts_s[touched] - began_s[touched], length, bar)
            wrong = (length >= bar) & lasts & ~usual
            is_up = some["phase"] >= Phase.ACTIVE  # its own alarm, not the device's
            new = np.flatnonzero(wrong & ~is_up)
            wrong[new[_others_rest(batch, some.index[new], touched[new], length[new])]] = False
            breach[touched] = wrong
            score[touched] = length / (length + bar)
        # A run counts once it is over: while it lasts, it must not become what is usual.
        repeats = np.where(changed & ~rests, 1.0 - (1.0 - repeats) * exp2_of(run * LOG2_REST), repeats)
        state["repeats"] = np.where(changed, repeats + RATE * (0.0 - repeats), repeats)
        return Findings(breach, changed, score, judged=counts, began_s=began_s, dismissed=resting)

    def combine(self, state: Rows, parts: Parts, batch: Batch) -> Findings:
        """Judge devices by the metrics that are missed in the company of the others, once an hour."""
        return judge_company(state, parts, batch)

    def explain_device(self, state: Rows, moment: Moment, parts: Sequence[Part]) -> Words:
        """Say which metrics are missed, and which go on."""
        return explain_company(state, moment, parts)

    def explain(self, state: Rows, moment: Moment) -> Words:
        """Compare the run with how often the series repeats itself."""
        name, unit, window_s = say_metric(moment.metric), moment.unit, moment.ts_s - moment.began_s
        since, value = say_instant(moment.began_s, moment.ts_s), say_quantity(moment.value, unit)
        evidence = ((moment.began_s, moment.value), (moment.ts_s, moment.value))
        if moment.event == "cleared":
            text = f"{name} changes again, to {value}; it had stood still since {since}"
            return Words(text, "values that change", value, window_s, evidence[1:])
        if not float(state["since_s"][0]) <= moment.began_s:  # that run is over, and perhaps the alarm, too
            return Words(
                f"{name} had stood still since {since}; now it is {value}", "values that change", value, window_s
            )
        run, share = int(state["run"][0]), 100 * float(state["repeats"][0])
        text = (
            f"{name} has been {value} in {run + 1} readings on end since {since} ({say_span(window_s)}); otherwise it "
            f"repeats itself in {say_number(share)} % of its readings, and never for so long"
        )
        return Words(text, "values that change", f"{value}, {run + 1} times on end", window_s, evidence)


def _at(batch: Batch, name: str, chosen: Indices) -> Floats:
    return np.broadcast_to(batch.parameter(name), len(batch.ts_s))[chosen]


def _lasts(told_s: Floats, span_s: Floats, length: Floats, bar: Floats) -> Mask:
    """Which runs have gone on for long enough: for as long as was told, else for hours, or for many readings."""
    many: Mask = np.isnan(told_s) & (length >= MANY) & (length >= MANY_BARS * bar)
    return many | (span_s >= np.where(np.isnan(told_s), LASTING_S, told_s))


def _bar(state: Rows, repeats: Floats, told: tuple[Floats, Floats], rests: Mask) -> Floats:
    """How many repetitions are too many; `told` are the parameters `unlikely` and `times`."""
    unlikely, times = told
    per_repetition = -log_of(np.maximum(np.minimum(repeats, 0.99), LEAST_SHARE))
    chance = np.maximum(unlikely / per_repetition, times)
    longest, record = state["rests"].astype(np.float64), state["record"].astype(np.float64)
    least = np.where(rests, REST_MARGIN * longest, MARGIN * record)
    return np.maximum(np.where(rests, PATIENCE * chance, chance), least)


def _others_rest(batch: Batch, own: Indices, chosen: Indices, length: Floats) -> Mask:
    """Whether a device's other metrics are mostly at zero, and not all the rest of them is stuck as well, [chosen]."""
    if batch.peers is None or not len(chosen):
        return np.zeros(len(chosen), np.bool_)
    slots = batch.peers.slots[chosen]
    others = (slots >= 0) & (slots != own[:, None])
    row, column = np.nonzero(others)
    its = batch.peers.rows(slots[row, column])
    zero, runs = its["last"] == 0, its["run"] >= AS_LONG * length[row]
    here = its["newest_s"] >= batch.ts_s[chosen][row] - LATELY_S
    kinds = here & zero, here & ~zero & ~runs, here & ~zero & runs
    idle, change, stand = (np.bincount(row, weights=each, minlength=len(chosen)) for each in kinds)
    held: Mask = (idle > 0) & (idle >= change) & ((change > 0) | (stand == 0))
    return held


def _follow(state: Rows, ts_s: Floats, ended: tuple[Floats, Floats, Mask], bar: Floats) -> Floats:
    """When each run began. What has ended, so many repetitions of a value, becomes the record, and may be its rest."""
    run, value, rests = ended
    runs = (state["run"] > 0) | (run < 1.0)
    same = value.astype(np.float32) == state["rest"]
    rested = state["rested"].astype(np.float64)
    rested = np.where(same, np.minimum(rested + run, MOST_RESTED), rested - run)
    other = ~runs & (rested < 0)
    state["rest"] = np.where(other, value, state["rest"])
    state["rested"] = np.where(runs, state["rested"], np.abs(rested))
    since_s = np.fmin(state["since_s"], ts_s)
    for name, its in (("rests", rests), ("record", ~rests)):
        record = state[name].astype(np.float64)
        closed = np.maximum(FADED * record, np.minimum(run, MOST_RECORD * bar))
        state[name] = np.where(~runs & its & (run >= TELLING), closed, record)
    state["rests"] = np.where(other, 0.0, state["rests"])
    state["since_s"] = np.where(state["run"] > 0, since_s, np.nan)
    state.flush()
    return since_s
