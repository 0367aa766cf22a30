"""A product that is used much less than its owner uses it otherwise.

Hour by covered hour, use that falls short of half the habit adds to a deficit, in days without use; use above it pays
back.
The alarm comes when the deficit passes every deficit that this device had before, by a margin: who often skips two
days is left alone for longer. Against chance, for products used a few times a week, the missing use must also amount
to several typical uses. Where there is no use at all, it comes as soon as that lull is too unlikely (``lull.py``).
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from devices.profiles.model import Metric, MetricKind
from gateway.detect.arrays import Floats, Indices, Mask
from gateway.detect.detector import Batch, Findings, Moment, Parameter, Words
from gateway.detect.episodes import Phase
from gateway.detect.exact import exp2_of, exp_of, log_of
from gateway.detect.groups import rarely
from gateway.detect.habit import HABIT_FIELDS, HOUR_S, RIPE_DAYS, Hours, add_late, expect, learn, likeness, recent_days
from gateway.detect.kinds import KIND_FIELDS, LearntKind, difference, learn_kind
from gateway.detect.lull import LULL_FIELDS, bar_of, end_lull, follow, nats_of_lull
from gateway.detect.model import Kind
from gateway.detect.settings import DetectSettings
from gateway.detect.table import Field, Numeric, Rows
from gateway.detect.words import say_instant, say_metric, say_quantity, say_span

DAY_S: Final = 86_400.0
LEARN_FROM_DAY: Final = 2.0  # deficits before that say more of the habit's youth than of the device
RECENT_DAYS: Final = 0.75  # how much usual use the judgement on recovery looks back over
FORGET_S: Final = 30 * 86_400.0  # an old deficit counts half after this
SLOW: Final = 0.1  # pace of the habit while the alarm is up: or the fault becomes the habit
DOUBTFUL: Final = 0.3  # pace while a deficit is well on its way
ECHO_H: Final = 48.0  # so long after one metric's drop is over, another's is still the same trouble
LATE_HOURS: Final = 48  # older readings than that no longer change the judgement
ALONE: Final = 2.0  # times the bar, where most other amounts of the device go on as ever…
UNLIKE: Final = 8.0  # …and none of those has a habit like this one's: who does not sleep with it still wears it;…
FEW: Final = 2  # …or none of so many others has, unless each of them…
GONE: Final = 1.5  # …has not been used for so many days, or is missed as much as a drop asks for: then the device is
ALIKE: Final = 0.4  # least square of the correlation of two habits over the day
GOES_ON: Final = 0.5  # of a day without use: a lull that is shorter is none
KNOWN_DAYS: Final = 4.0
LITTLE: Final = 0.4  # of the least deficit
YOUNG_DAYS: Final = 21.0  # until then it is said what a habit leans on besides its own days
HIGHEST: Final = 9.0  # a deficit stops to grow at so many times the bar


class UsageDrop:
    """Deficit of use against the device's own habit, per hour of day and day of week."""

    name: Final = "usage_drop"
    version: Final = 3
    kind: Final = Kind.USAGE_DROP
    fields: Sequence[Field] = (
        Field("hour", "f4", np.nan),  # the hour that is being added up, since 1970: exact in single precision
        Field("use", "f4"),  # in it
        Field("last", initial=np.nan),  # value
        *KIND_FIELDS,
        # Only what is used has a habit.
        *rarely(
            "habit",
            (
                *HABIT_FIELDS,
                Field("deficit", group="run"),  # in days without any use
                Field("peak", "f4", group="run"),  # of this run
                Field("record", "f4", group="run"),  # highest peak of earlier runs, fading
                Field("run_s", initial=np.nan, group="run"),  # when the deficit began
                Field("run_use", group="run"),
                Field("run_usual", group="run"),
                Field("recent_use", group="run"),
                Field("recent_usual", group="run"),
                *LULL_FIELDS,
                # In which the drop of another metric was seen to be up.
                Field("told_hour", "f4", -np.inf, group="lull"),
            ),
        ),
        # What a new series was given: days of habit, and how many others that is known from.
        *rarely("cohort", (Field("borrowed", "f4", group="cohort"), Field("peers", "f4", group="cohort"))),
    )
    parameters: Sequence[Parameter] = (
        Parameter(
            "drop", default=0.5, minimum=0.05, maximum=0.95
        ),  # of the habit: use is missing once it falls by more
        Parameter("days", default=1.8, minimum=0.1),  # least deficit, in days without any use
        Parameter("margin", default=1.3, minimum=1.0),  # over the device's own record
        Parameter("uses", default=6.0, minimum=1.0),  # least missing use, in typical uses
        Parameter("habit", default=RIPE_DAYS, minimum=2.0, maximum=60.0),  # days to learn before judging
        Parameter("lull", default=1.25, minimum=0.1),  # least time without any use, in days of the habit
        Parameter("alone", default=0.0, minimum=0.0, maximum=1.0),  # 1: one metric of a device at a time
        Parameter("kind", minimum=0.0, maximum=1.0),  # 0: amounts; 1: the metric counts up; else it is learnt
        Parameter("complete", default=1.0, minimum=1.0),  # times `lull`, of what tells of every hour, used or not
    )
    evidence_points: Final = 0
    looks_around: Final = True

    def migrate(self, version: int, saved: Mapping[str, Numeric]) -> Mapping[str, Numeric] | None:
        """Version 1 had no lull, and both kept the use of an hour in double precision; all else is as today."""
        return saved if version in {1, 2} else None

    def defaults(self, metric: Metric | None, settings: DetectSettings) -> Mapping[str, float]:
        """A profiled metric's kind need not be learnt."""
        del settings
        if metric is None:
            return {}
        # Whoever watches the use of a level or a state means the sum of its values.
        return {"kind": float(LearntKind.COUNTER if metric.kind is MetricKind.COUNTER else LearntKind.DELTA)}

    def check(self, parameters: Mapping[str, float]) -> str | None:
        """Any combination is fine."""
        del parameters
        return None

    def judge(self, state: Rows, batch: Batch) -> Findings:
        """Add samples to their hours; judge the hours that they complete."""
        kind = learn_kind(state, batch.ts_s, batch.value, state["last"], batch.parameter("kind"))
        amount, counts = _amount(state, batch, kind)
        hour = np.floor(batch.ts_s / HOUR_S).astype(np.float32).astype(np.float64)
        current, use = state["hour"].astype(np.float64), state["use"].astype(np.float64)
        same = counts & (hour == current)
        later = counts & ~batch.late & (hour != current)
        complete = later & np.isfinite(current)
        missed = np.flatnonzero(counts & batch.late & (hour < current) & (current - hour <= LATE_HOURS))
        state["hour"] = np.where(later, hour, current)
        state["use"] = np.where(same, use + amount, np.where(later, amount, use))
        breach, calm, score = np.zeros(len(state), bool), np.zeros(len(state), bool), np.zeros(len(state))
        began_s = batch.ts_s.copy()
        useless = (kind == LearntKind.LEVEL) | (kind == LearntKind.STATE)
        if len(missed):
            _repair(state.at(missed), Hours(hour[missed].astype(np.int64), amount[missed]))
        done = np.flatnonzero(complete)
        if len(done):
            hours = Hours(current[done].astype(np.int64), use[done])
            run = _Run(state.at(done), _pick(batch, done), hours, amount[done])
            breach[done], calm[done], score[done], began_s[done] = run.judge()
        return Findings(breach, calm, score, judged=complete, began_s=began_s, dismissed=useless)

    def explain(self, state: Rows, moment: Moment) -> Words:
        """Compare use with the habit, since the deficit began."""
        name, since = say_metric(moment.metric), say_instant(moment.began_s, moment.ts_s)
        window_s = moment.ts_s - moment.began_s
        evidence = recent_days(state)
        if moment.event == "cleared":
            use, usual = float(state["recent_use"][0]), float(state["recent_usual"][0])
            share = f"{100 * use / usual:.0f} %" if usual > 0 else "again as much"
            text = f"{name}: use is back, lately {share} of the habit; it was missing since {since}"
            return Words(text, "use as usual", f"{share} of it", window_s, evidence)
        known_days = float(state["day"][0] - state["first_day"][0])
        sure = _how_sure(state, known_days)
        if state["lull"][0] > 0 and float(state["lull_hour"][0]) * HOUR_S == moment.began_s:
            longest = say_span(_longest_lull_s(state, known_days, moment.parameters, window_s))
            text = (
                f"{name}: no use since {since} ({say_span(window_s)}), where some is expected within {longest}; {sure}"
            )
            return Words(text, f"some use within {longest}", f"none in {say_span(window_s)}", window_s, evidence)
        use, usual = float(state["run_use"][0]), float(state["run_usual"][0])
        shown, wanted = say_quantity(use, moment.unit), say_quantity(usual, moment.unit)
        text = f"{name}: {shown} since {since} ({say_span(window_s)}), where {wanted} is usual; {sure}"
        return Words(text, f"about {wanted} in {say_span(window_s)}", shown, window_s, evidence)


def _how_sure(state: Rows, known_days: float) -> str:
    """For how long the habit is known, and what a young one leans on besides."""
    own_days, leans = max(known_days - float(state["borrowed"][0]), 0.0), float(state["peers"][0]) > 0
    sure = f"a habit known for {say_span(own_days * DAY_S)}"
    if not leans or own_days >= YOUNG_DAYS:
        return sure
    return (
        f"{sure}, and from others of its model"
        if state["borrowed"][0] > 0
        else f"{sure}, with pauses as others of its model make them"
    )


def _longest_lull_s(state: Rows, known_days: float, told: Mapping[str, float], window_s: float) -> float:
    """The longest time without use that the habit makes plausible, from when this lull began, as hours are covered.

    A lull that spans three mornings and two nights says more than its length: it is measured in what it says.
    """
    longest, a_day, coverage = (state[name].astype(np.float64) for name in ("longest", "daily_nats", "coverage"))
    nats = float(bar_of(longest, (a_day, coverage), np.array([known_days]), (told["lull"], told["complete"]))[0])
    return window_s * min(nats / float(nats_of_lull(state)[0]), 1.0)


def _amount(state: Rows, batch: Batch, kind: Floats) -> tuple[Floats, Mask]:
    """Use that each sample stands for, and whether it stands for any."""
    last, value = state["last"], batch.value
    counter = kind == LearntKind.COUNTER
    amount = np.where(counter, difference(value, last), value)
    state["last"] = np.where(batch.late, last, value)
    # A counter's late value says nothing that its later values did not; negative amounts are no use.
    counts = (kind <= LearntKind.COUNTER) & np.isfinite(amount) & (amount >= 0) & ~(counter & batch.late)
    return np.where(counts, amount, 0.0), counts


def _pick(batch: Batch, chosen: Indices) -> Batch:
    return Batch(
        batch.ts_s[chosen],
        batch.value[chosen],
        batch.late[chosen],
        batch.firing[chosen],
        batch.watch[chosen],
        batch.parameters,
        None if batch.peers is None else batch.peers.some(chosen),
    )


def _repair(state: Rows, hours: Hours) -> None:
    """Use that came late for hours already judged pays back deficits."""
    per_day = state["per_day"]
    paid = np.where(per_day > 0, hours.use / np.where(per_day > 0, per_day, 1.0), 0.0)
    state["deficit"] = np.fmax(state["deficit"] - paid, 0.0)
    state["run_use"] = state["run_use"] + hours.use
    state["recent_use"] = state["recent_use"] + hours.use
    end_lull(state, hours.use > 0)
    add_late(state, hours)
    state.flush()


class _Run:
    """The judgement of completed hours: one step of each series' deficit."""

    def __init__(self, state: Rows, batch: Batch, hours: Hours, after: Floats) -> None:
        self._state = state
        self._batch = batch
        self._hours = hours
        self._after = after  # use that the next hours begin with
        self._usual = expect(state, hours)

    def judge(self) -> tuple[Mask, Mask, Floats, Floats]:
        """Breach, calm, score and beginning, [n] each."""
        state, batch, hours = self._state, self._batch, self._hours
        per_day, days = state["per_day"], state["days"]
        known = np.isfinite(self._usual) & (per_day > 0) & (days >= LEARN_FROM_DAY)
        usual = np.where(known, self._usual, 0.0)
        use = np.where(known, hours.use, 0.0)
        scale = np.where(known, per_day, 1.0)
        # In double precision, or the numbers would depend on whether other products' watches have the same parameters.
        bar = np.fmax(batch.parameter("days"), state["record"].astype(np.float64) * batch.parameter("margin"))

        before = state["deficit"]
        expected = 1.0 - np.asarray(batch.parameter("drop"))  # share of the habit, less than which is missing use
        deficit = np.fmax(before + (usual - use / expected) / scale, 0.0)
        deficit = np.fmin(deficit, HIGHEST * bar)
        began = (before == 0) & (deficit > 0)
        run_s = np.where(began, hours.hour * HOUR_S, state["run_s"])
        run_use = np.where(began, 0.0, state["run_use"]) + use
        run_usual = np.where(began, 0.0, state["run_usual"]) + usual
        recent_use, recent_usual = self._recent(use, usual, scale)

        age = np.floor(hours.hour / 24.0) - state["first_day"]
        least = batch.parameter("lull"), batch.parameter("complete")
        lull = follow(state, hours, age, least, batch.firing)
        habit = batch.parameter("habit")
        # Ripe when the deficit began: what came before it is what it is compared with.
        ripe = known & (days >= habit) & (run_s / DAY_S - state["first_day"] >= habit)
        short = ripe & (deficit > bar) & (self._chance(run_use, run_usual) >= batch.parameter("uses"))
        share = np.subtract(1.0, 0.8 * np.asarray(batch.parameter("drop")))  # 0.6 of the habit for half of it
        back = (hours.use > 0) & (recent_use >= share * recent_usual)
        none = lull.breach & (self._after == 0)  # what completes an hour may show that the lull is over
        some = np.flatnonzero((short | none) & ~batch.firing)
        times = self._times(some)
        short[some] &= deficit[some] > times * bar[some]
        none[some] &= lull.nats[some] > times * lull.bar[some]
        told_of = self._is_told_of()
        calm = batch.firing & back
        wrong = (short | none) & ~back
        state["run_s"], state["run_use"], state["run_usual"] = run_s, run_use, run_usual
        state["recent_use"], state["recent_usual"] = recent_use, recent_usual
        self._close_runs(np.where(back & (batch.firing | told_of), 0.0, deficit), bar)
        doubtful = (deficit > 0.5 * bar) | (lull.nats > 0.5 * lull.bar)
        learn(state, hours, np.where(batch.firing | wrong, SLOW, np.where(doubtful, DOUBTFUL, 1.0)))
        state.flush()
        score = np.fmax(deficit / (deficit + bar), lull.nats / (lull.nats + lull.bar))
        began_s = np.where(none & ~short, lull.began_s, run_s)
        breach = wrong & (batch.firing | ~told_of)
        return breach, calm, np.where(breach | (batch.firing & ~calm), score, 0.0), began_s

    def _is_told_of(self) -> Mask:
        """Whether another metric's drop is up or was lately, where a device's drops are one alarm."""
        batch, hour = self._batch, self._hours.hour.astype(np.float64)
        told_hour = self._state["told_hour"].astype(np.float64)
        alone = np.broadcast_to(np.equal(batch.parameter("alone"), 1.0), hour.shape)
        if batch.peers is not None and alone.any():
            slots = batch.peers.slots
            up: Mask = batch.peers.table.column("phase")[np.maximum(slots, 0)] >= Phase.ACTIVE
            others = (slots >= 0) & (slots != self._state.index[:, None])
            told_hour = np.where(alone & (up & others).any(axis=1), hour, told_hour)
            self._state["told_hour"] = told_hour
        return alone & (hour - told_hour < ECHO_H)

    def _times(self, chosen: Indices) -> Floats:
        """How many times the bar is asked for: more where most other amounts go on as ever, or none is like it."""
        peers, told = self._batch.peers, np.broadcast_to(self._batch.parameter("alone"), len(self._usual))[chosen]
        if peers is None or not len(chosen):
            return np.ones(len(chosen))
        slots = peers.slots[chosen]
        others = (slots >= 0) & (slots != self._state.index[chosen][:, None])
        row, column = np.nonzero(others)
        its = peers.rows(slots[row, column])
        counts = (its["kind"] <= LearntKind.COUNTER) & (its["days"] >= KNOWN_DAYS) & (its["per_day"] > 0)
        days = np.broadcast_to(self._batch.parameter("days"), len(self._usual))[chosen][row]
        little = LITTLE * days
        nats, daily = nats_of_lull(its), its["daily_nats"].astype(np.float64)
        goes_on = (nats < GOES_ON * daily) & (its["deficit"] < little)
        stays = counts & (nats < GONE * daily) & (its["deficit"] < days)
        vote = np.where(counts, np.where(goes_on, 1.0, -1.0), 0.0)
        alike = likeness(self._state.at(chosen[row]).vector("usual"), its.vector("usual")) >= ALIKE
        known = np.bincount(row, weights=counts & goes_on & alike, minlength=len(chosen)) > 0
        alone = (told == 1.0) & (np.bincount(row, weights=vote, minlength=len(chosen)) > 0)
        unlike = np.bincount(row, weights=counts & alike, minlength=len(chosen)) == 0
        unlike &= (told == 1.0) & (np.bincount(row, weights=counts, minlength=len(chosen)) >= FEW)
        unlike &= np.bincount(row, weights=stays, minlength=len(chosen)) > 0
        return np.where(unlike, UNLIKE, np.where(alone, np.where(known, ALONE, UNLIKE), 1.0))

    def _recent(self, use: Floats, usual: Floats, scale: Floats) -> tuple[Floats, Floats]:
        """Use and usual use of late, fading with usual use: a night does not make anything forgotten."""
        fade = exp_of(-usual / scale / RECENT_DAYS)
        return self._state["recent_use"] * fade + use, self._state["recent_usual"] * fade + usual

    def _chance(self, use: Floats, usual: Floats) -> Floats:
        """How unlikely so little use is, in nats, were it made of independent uses of the typical size."""
        mean, square = self._state["hour_use"], self._state["hour_square"]
        typical = square / np.where(mean > 0, mean, 1.0)
        short = (use < usual) & (typical > 0)
        ratio = np.where(short & (use > 0), use / np.where(short, usual, 1.0), 1.0)
        nats = (usual - use + use * log_of(ratio)) / np.where(short, typical, 1.0)
        return np.where(short, nats, 0.0)

    def _close_runs(self, deficit: Floats, bar: Floats) -> None:
        """Where a deficit is made up, its peak becomes the record to pass next time."""
        state = self._state
        elapsed_s = (self._batch.ts_s - self._hours.hour * HOUR_S).clip(0.0)
        record = state["record"] * exp2_of(-elapsed_s / FORGET_S)
        peak = np.fmax(state["peak"], deficit)
        over = deficit == 0
        # One long illness must not make the next one invisible.
        state["record"] = np.where(over, np.fmax(record, np.fmin(peak, 1.5 * bar)), record)
        state["peak"] = np.where(over, 0.0, peak)
        state["deficit"] = deficit
