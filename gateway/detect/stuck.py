"""A sensor that says the same thing over and over, and never did so before.

How likely a run of identical values is, is told by how often this series repeats itself: what is measured finely hardly
ever does, a coarse gauge often. A run must be unlikelier than chance, last, and be longer than every run before it, by
a margin; much longer where it is at the value at which this series rests. Zeros are no run (a thing that is not used),
and neither is what hardly ever falls (a counter at rest) or repeats itself most of the time (a state).
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from devices.profiles.model import Metric
from gateway.detect.arrays import Floats, Indices
from gateway.detect.detector import Batch, Findings, Moment, Parameter, Words
from gateway.detect.exact import exp2_of, log_of
from gateway.detect.groups import rarely
from gateway.detect.kinds import LearntKind, tell_kind
from gateway.detect.model import Kind
from gateway.detect.settings import DetectSettings
from gateway.detect.table import Field, Rows
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
LONG: Final = 0.5  # of the longest run: its value is one at which the series rests
PATIENCE: Final = 4.0  # times as long a run at that value


class Stuck:
    """The likelihood of a run of identical values, by the series' own habit of repeating itself."""

    name: Final = "stuck"
    version: Final = 1
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
                Field("rest", initial=np.nan, group="run"),  # value at which it stood still for about as long as ever
                Field("record", "f4", group="run"),  # longest run so far, fading
            ),
        ),
    )
    parameters: Sequence[Parameter] = (
        Parameter("unlikely", default=20.0, minimum=1.0),  # nats
        Parameter("times", default=10.0, minimum=2.0),  # least repetitions
        Parameter("lasting", default=9 * 3600.0, minimum=0.0, span=True),
        Parameter("kind", minimum=0.0, maximum=4.0),  # a LearntKind; else it is learnt
    )
    evidence_points: Final = 0

    def defaults(self, metric: Metric | None, settings: DetectSettings) -> Mapping[str, float]:
        """A profile tells counters and states, which are never stuck."""
        del settings
        return {"kind": tell_kind(metric)}

    def check(self, parameters: Mapping[str, float]) -> str | None:
        """Any combination is fine."""
        del parameters
        return None

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
        if len(touched):
            some = state.at(touched)
            bar = _bar(some, repeats[touched], _at(batch, "unlikely", touched), _at(batch, "times", touched))
            bar = np.where(last[touched] == some["rest"], PATIENCE * bar, bar)
            began_s[touched] = _follow(some, batch.ts_s[touched], (run[touched], last[touched]), bar)
            lasts = batch.ts_s[touched] - began_s[touched] >= _at(batch, "lasting", touched)
            usual = (repeats[touched] > MOST_SHARE) | (falls[touched] < FEW_FALLS)
            length = some["run"].astype(np.float64)
            breach[touched] = (length >= bar) & lasts & ~usual
            score[touched] = length / (length + bar)
        # A run counts once it is over: while it lasts, it must not become what is usual.
        repeats = np.where(changed, 1.0 - (1.0 - repeats) * exp2_of(run * LOG2_REST), repeats)
        state["repeats"] = np.where(changed, repeats + RATE * (0.0 - repeats), repeats)
        return Findings(breach, changed, score, judged=counts, began_s=began_s, dismissed=resting)

    def explain(self, state: Rows, moment: Moment) -> Words:
        """Compare the run with how often the series repeats itself."""
        name, unit, window_s = say_metric(moment.metric), moment.unit, moment.ts_s - moment.began_s
        since, value = say_instant(moment.began_s, moment.ts_s), say_quantity(moment.value, unit)
        evidence = ((moment.began_s, moment.value), (moment.ts_s, moment.value))
        if moment.event == "cleared":
            text = f"{name} changes again, to {value}; it had stood still since {since}"
            return Words(text, "values that change", value, window_s, evidence[1:])
        run, share = int(state["run"][0]), 100 * float(state["repeats"][0])
        text = (
            f"{name} has been {value} in {run + 1} readings on end since {since} ({say_span(window_s)}); otherwise it "
            f"repeats itself in {say_number(share)} % of its readings, and never for so long"
        )
        return Words(text, "values that change", f"{value}, {run + 1} times on end", window_s, evidence)


def _at(batch: Batch, name: str, chosen: Indices) -> Floats:
    return np.broadcast_to(batch.parameter(name), len(batch.ts_s))[chosen]


def _bar(state: Rows, repeats: Floats, unlikely: Floats, times: Floats) -> Floats:
    """How many repetitions are too many."""
    per_repetition = -log_of(np.maximum(np.minimum(repeats, 0.99), LEAST_SHARE))
    return np.maximum(np.maximum(unlikely / per_repetition, times), MARGIN * state["record"].astype(np.float64))


def _follow(state: Rows, ts_s: Floats, ended: tuple[Floats, Floats], bar: Floats) -> Floats:
    """When each run began. What has ended, so many repetitions of a value, becomes the record."""
    (run, value), record = ended, state["record"].astype(np.float64)
    runs = (state["run"] > 0) | (run < TELLING)
    state["rest"] = np.where(~runs & (run >= LONG * record), value, state["rest"])
    since_s = np.fmin(state["since_s"], ts_s)
    closed = np.maximum(FADED * record, np.minimum(run, MOST_RECORD * bar))
    state["record"] = np.where(runs, record, closed)
    state["since_s"] = np.where(state["run"] > 0, since_s, np.nan)
    state.flush()
    return since_s
