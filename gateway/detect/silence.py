"""A device that is expected to be heard from, and is not."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from devices.profiles.model import Metric
from gateway.detect.arrays import Floats, Indices
from gateway.detect.detector import Moment, Parameter, Parameters, Words
from gateway.detect.exact import exp2_of
from gateway.detect.model import Kind
from gateway.detect.settings import DetectSettings
from gateway.detect.table import Field, Rows
from gateway.detect.words import say_instant, say_span

MEMORY_S: Final = 60 * 86_400.0  # a gap counts half after two months
FEWEST_GAPS: Final = 20.0
SILENT_BEFORE: Final = 1.3  # times the largest gap, beyond which patience ends at `longest`
CAUTION_S: Final = 3 * 86_400.0  # after listening for so long, a learnt silence is still twice what it will be
STEP_S: Final = 3600.0  # a span is reckoned anew after so long, or…
STEP: Final = 1 / 256  # …this part of the time listened, by which it changes by less than that part
SMALL: Final = 0.999  # of the largest gap: one that is smaller cannot become the largest within a step


class Silence:
    """A deadline after each sign of life: `after`, or `factor` times the device's own largest gap.

    A device that is put away for a weekend now and then has not shown that in its first weeks: `typical` says how many
    of its mean gaps a silence must last at least, and `longest` where more patience is of no use, unless the device
    has been silent for longer before.
    """

    name: Final = "silence"
    version: Final = 1
    kind: Final = Kind.SILENCE
    fields: Sequence[Field] = (
        Field("heard_s", initial=float("nan")),  # last sign of life, healthy time
        Field("first_s", initial=float("nan")),  # first one
        Field("gaps"),  # how many gaps were seen
        Field("largest_s"),  # the largest of them, fading
        Field("deadline_s", initial=float("inf")),  # healthy time
        Field("since_s", "f4"),  # healthy time heard since the span to the deadline was last reckoned
    )
    parameters: Sequence[Parameter] = (
        Parameter("after", minimum=1.0, span=True),
        Parameter("factor", default=2.0, minimum=1.0),
        Parameter("shortest", minimum=1.0, span=True),
        Parameter("warm_up", minimum=0.0, span=True),
        Parameter("grace", minimum=0.0, span=True),
        Parameter("typical", default=0.0, minimum=0.0),
        Parameter("longest", default=float("inf"), minimum=1.0, span=True),
    )

    def defaults(self, metric: Metric | None, settings: DetectSettings) -> Mapping[str, float]:
        """Grace, warm-up and the shortest silence are settings."""
        del metric
        return {
            "shortest": settings.silence_shortest,
            "warm_up": settings.silence_warm_up,
            "grace": settings.silence_grace,
        }

    def check(self, parameters: Mapping[str, float]) -> str | None:
        """Any combination is fine."""
        del parameters
        return None

    def heard(self, state: Rows, alive_s: Floats, watch: Indices, parameters: Parameters) -> Floats:
        """Learn from the gap that this sign of life ends, and set the next deadline.

        Most signs only move it: how far it lies ahead is reckoned once in a while.
        """
        heard_s, deadline_s, largest_s = state["heard_s"], state["deadline_s"], state["largest_s"]
        first_s = np.fmin(state["first_s"], alive_s)
        gap_s = alive_s - heard_s
        real = gap_s > 0  # what arrives together is one sign of life
        since_s = state["since_s"].astype(np.float64)
        lately_s = np.where(real, since_s + gap_s, since_s)
        in_time = (gap_s >= 0) & (alive_s <= deadline_s) & np.isfinite(state["queued_s"]) & (gap_s < SMALL * largest_s)
        as_before = in_time & (lately_s <= np.fmin(STEP_S, STEP * (heard_s - first_s)))
        # A silence teaches too, but only so much: one long outage must not make the next one invisible.
        overdue = alive_s > deadline_s
        lesson_s = np.where(overdue, np.minimum(gap_s, 1.5 * (deadline_s - heard_s)), gap_s)
        faded_s = largest_s * exp2_of(-np.where(real, lately_s, 0.0) / MEMORY_S)
        largest_s = np.where(real & ~as_before, np.fmax(faded_s, lesson_s), largest_s)
        gaps = state["gaps"] + real
        heard_s = np.fmax(heard_s, alive_s)

        after_s = parameters.of("after", watch)
        # What was listened to for days only has not yet shown its largest gap.
        listened_s = np.fmax(heard_s - first_s, 1.0)
        caution = 1.0 + CAUTION_S / listened_s
        learnt_s = np.maximum(
            largest_s * parameters.of("factor", watch) * caution,
            listened_s / np.fmax(gaps, 1.0) * parameters.of("typical", watch),
        )
        learnt_s = np.minimum(learnt_s, np.maximum(largest_s * SILENT_BEFORE, parameters.of("longest", watch)))
        learnt_s = np.maximum(learnt_s, parameters.of("shortest", watch))
        known = (gaps >= FEWEST_GAPS) & (listened_s >= parameters.of("warm_up", watch))
        span_s = np.where(np.isnan(after_s), np.where(known, learnt_s, np.inf), after_s)
        moved_s = np.where(as_before, deadline_s + gap_s, heard_s + span_s + parameters.of("grace", watch))
        state["since_s"] = np.where(as_before | ~real, lately_s, 0.0)
        state["heard_s"], state["first_s"], state["gaps"] = heard_s, first_s, gaps
        state["largest_s"], state["deadline_s"] = largest_s, moved_s
        return moved_s

    def soonest_s(self, parameters: Mapping[str, float]) -> float:
        """What was told, or the shortest that may be learnt."""
        return parameters["shortest"] if np.isnan(parameters["after"]) else parameters["after"]

    def explain(self, state: Rows, moment: Moment) -> Words:
        """Say since when, and what is usual."""
        after_s = moment.parameters["after"]
        learnt = bool(np.isnan(after_s))
        span_s = moment.ts_s - moment.began_s
        since = say_instant(moment.began_s, moment.ts_s)
        if moment.event == "cleared":
            return Words(
                text=f"Heard again after {say_span(span_s)} of silence since {since}",
                expected="a sign of life",
                observed=f"one after {say_span(span_s)}",
                window_s=span_s,
            )
        if learnt:
            usual = f"its longest usual silence is {say_span(float(state['largest_s'][0]))}"
            limit_s = float(state["deadline_s"][0] - state["heard_s"][0])
        else:
            usual = f"its limit is {say_span(after_s)}"
            limit_s = after_s
        return Words(
            text=f"No sign of life for {say_span(span_s)}, since {since}; {usual}",
            expected=f"a sign of life every {say_span(limit_s)}",
            observed=f"none for {say_span(span_s)}",
            window_s=span_s,
        )
