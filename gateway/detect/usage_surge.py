"""A product that is used, or a battery that is drained, far more than its owner uses it otherwise.

Use of the latest day or so is compared with the device's own habit by hour of the day, as the logarithm of their ratio;
hours without a reading say nothing. What one metric cannot tell from a busy week, two can: where a companion metric is
known, the part of the ratio that the companion shares is taken off, by as much as the two have gone together so far.
So a count that doubles while everything else is as usual stands out, and a marathon does not.

What remains is measured by how far it has swung with this device so far, and adds up hour by hour beyond a
normal swing (Page's cumulative sum). So somebody whose days differ is left alone for longer, one unusual day counts as
two and a half such swings at most, and the alarm comes when it lasts.

Where it is asked for (`falls`), use that falls while the companion goes on is told of as well, as a drop (``lag.py``).
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from devices.profiles.model import Metric
from gateway.detect.arrays import Floats
from gateway.detect.detector import Batch, Findings, Moment, Parameter, Words
from gateway.detect.drain import DRAIN, settle, tell_use, use_of
from gateway.detect.excess import BINS, HOUR_S, PRIOR_ALONE, PRIOR_ALONG, PRIOR_SPREAD, RIPE_DAYS, Step, whole_day, wide
from gateway.detect.groups import rarely
from gateway.detect.kinds import LearntKind
from gateway.detect.model import Kind
from gateway.detect.settings import DetectSettings
from gateway.detect.table import Field, Numeric, Rows
from gateway.detect.words import say_instant, say_metric, say_number, say_quantity, say_span


class UsageSurge:
    """Excess of use or drain over the device's own habit, and over what a companion metric explains."""

    name: Final = "usage_surge"
    version: Final = 3
    kind: Final = Kind.USAGE_SURGE
    fields: Sequence[Field] = (
        Field("last", initial=np.nan),  # value
        Field("hour", "f4", np.nan),  # that is being added up, since 1970
        Field("use", "f4"),  # in it; NaN where it is not known
        Field("kind", "f4", LearntKind.UNSETTLED),  # a LearntKind, or DRAIN
        *rarely(
            "surge",
            (
                # Use in an hour of each part of the day; tallies until the kind is settled.
                Field("usual", "f4", np.nan, lanes=BINS, group="surge"),
                Field("weekend", "f4", 1.0, group="surge"),  # use on a day of it, over that of a mean day
                Field("done", "f4", np.nan, group="surge"),  # the last hour that was completed
                Field("done_use", "f4", np.nan, group="surge"),  # in it; NaN where it was not an hour's
                Field("days", "f4", group="surge"),
                Field("recent_use", "f4", group="surge"),  # fading with usual use
                Field("recent_usual", "f4", group="surge"),
                Field("recent_beside", "f4", group="surge"),  # what the companion's use makes expect
                Field("spread", "f4", PRIOR_SPREAD, group="surge"),  # square of a swing
                Field("surge", "f4", group="surge"),  # evidence so far; that of a fall is below 0
                Field("run", "f4", np.nan, group="surge"),  # the hour in which it began
                Field("typical", "f4", group="surge"),  # use in an hour with any
                Field("per", "i4", group="surge"),  # names the companion; 0 for none
                Field("lost", "f4", group="surge"),  # hours since it was last there
                Field("own", "f4", group="surge"),  # use in hours that the companion covers too, fading
                Field("beside", "f4", group="surge"),  # the companion's use in them
                Field("along", "f4", PRIOR_ALONG, group="surge"),  # how much the two ratios have gone together
                Field("alone", "f4", PRIOR_ALONE, group="surge"),  # and how much the companion's has gone at all
                # In which the surge of another amount was seen to be up.
                Field("told_hour", "f4", -np.inf, group="surge"),
            ),
        ),
    )
    parameters: Sequence[Parameter] = (
        Parameter("rise", minimum=0.05, maximum=20.0),  # least excess, as a share; 0.3, for drains 0.6
        Parameter("evidence", minimum=0.05),  # swings times days; 1.7 (3.4 without a companion), for drains 0.6
        Parameter("swings", minimum=0.0, maximum=2.4),  # that are normal; 1.1, for drains 1.5
        Parameter("habit", default=RIPE_DAYS, minimum=2.0, maximum=60.0),  # days to learn before judging
        Parameter("kind", minimum=0.0, maximum=DRAIN),  # 0: amounts; 1: it counts up; 5: a battery; else it is learnt
        Parameter("pairs", default=0.0, minimum=0.0, maximum=1.0),  # 1: a companion is looked for
        Parameter("per", minimum=1.0),  # names the companion; the watch's `per` tells it
        Parameter("alone", default=0.0, minimum=0.0, maximum=1.0),  # 1: one amount of a device at a time
        Parameter("falls", default=0.0, minimum=0.0, maximum=1.0),  # 1: what falls while its companion goes on, too
    )
    evidence_points: Final = 0
    companion: Final = "per"

    def migrate(self, version: int, saved: Mapping[str, Numeric]) -> Mapping[str, Numeric] | None:
        """Version 1 did not know of other amounts' surges, and neither it nor 2 of falls."""
        return saved if version in {1, 2} else None

    def defaults(self, metric: Metric | None, settings: DetectSettings) -> Mapping[str, float]:
        """A profiled metric's kind need not be learnt."""
        del settings
        return {"kind": tell_use(metric)}

    def check(self, parameters: Mapping[str, float]) -> str | None:
        """Any combination is fine."""
        del parameters
        return None

    def judge(self, state: Rows, batch: Batch) -> Findings:
        """Add samples to their hours; judge the hours that they complete."""
        count, last = len(state), state["last"]
        hour = np.floor(batch.ts_s / HOUR_S).astype(np.float32).astype(np.float64)
        kind = self._learn_kind(state, batch, hour)
        amount, counts = use_of(kind, batch.value, last, batch.late)
        state["last"] = np.where(batch.late, last, batch.value)
        current, use = wide(state, "hour"), wide(state, "use")
        later = counts & ~batch.late & (hour != current)
        state["hour"] = np.where(later, hour, current)
        state["use"] = np.where(counts & (hour == current), use + amount, np.where(later, amount, use))
        breach, calm, score = np.zeros(count, bool), np.zeros(count, bool), np.zeros(count)
        began_s = batch.ts_s.copy()
        complete = later & np.isfinite(current)
        done = np.flatnonzero(complete)
        if len(done):
            some = Step(state.at(done), batch, done, (current[done], use[done], kind[done]))
            breach[done], calm[done], score[done], began_s[done] = some.judge()
        useless = (kind == LearntKind.LEVEL) | (kind == LearntKind.STATE)
        return Findings(breach, calm, score, judged=complete, began_s=began_s, dismissed=useless)

    @staticmethod
    def _learn_kind(state: Rows, batch: Batch, hour: Floats) -> Floats:
        told = np.broadcast_to(batch.parameter("kind"), len(state))
        kind = np.where(np.isnan(told), wide(state, "kind"), told)
        open_ = np.flatnonzero(kind == LearntKind.UNSETTLED)
        if len(open_):
            tallies, last = state.lanes("usual"), state["last"]
            learnt, kept = settle(tallies[:, open_], hour[open_], batch.value[open_], last[open_])
            kind[open_] = learnt
            lanes = tallies.copy()
            lanes[:, open_] = np.where(learnt == LearntKind.UNSETTLED, kept, np.float32(np.nan))
            state.set_lanes("usual", lanes)
        state["kind"] = kind
        return kind

    def kind_of(self, state: Rows) -> Kind:
        """A fall is no surge."""
        return Kind.USAGE_DROP if state["surge"][0] < 0 else Kind.USAGE_SURGE

    def explain(self, state: Rows, moment: Moment) -> Words:
        """Compare lately with the habit, and with the companion."""
        name, since = say_metric(moment.metric), say_instant(moment.began_s, moment.ts_s)
        window_s = moment.ts_s - moment.began_s
        per_day = float(whole_day(state.lanes("usual"))[0])
        use, usual, beside = (float(state[field][0]) for field in ("recent_use", "recent_usual", "recent_beside"))
        times = use / usual if usual > 0 else 1.0
        a_day = f"{say_quantity(per_day, moment.unit)} a day"
        now = f"{say_quantity(per_day * times, moment.unit)} a day"
        evidence = ((moment.began_s, per_day), (moment.ts_s, per_day * times))
        what = "its drain" if float(state["kind"][0]) == DRAIN else "its use"
        which = "less" if state["surge"][0] < 0 else "more"
        if moment.event == "cleared":
            text = (
                f"{name}: {what} is as usual again, {say_number(times)} times the habit; it was {which} since {since}"
            )
            return Words(text, f"about {a_day}", now, window_s, evidence)
        text = (
            f"{name}: {what} has lately been {say_number(times)} times this device's habit of {a_day}; "
            f"it has been {which} since {since} ({say_span(window_s)})"
        )
        if moment.beside and usual > 0:
            other = say_number(beside / usual)
            text += f"; going by {say_metric(moment.beside)}, {other} times the habit was to be expected"
        return Words(text, f"about {a_day}", now, window_s, evidence)
