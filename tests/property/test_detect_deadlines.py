"""The timer wheel against a list of all deadlines, whatever is set, passes and is asked for in between."""

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.detect.deadlines import QUEUED, Deadlines
from gateway.detect.table import Field, Journal, Table

SLOTS = 12


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1 << 32), steps=st.integers(1, 60))
def test_the_next_deadline_and_those_that_are_over_are_the_right_ones(seed: int, steps: int) -> None:
    rng = random.Random(seed)
    table = Table([Field("deadline_s", initial=float("inf")), QUEUED], Journal())
    slots = table.allocate(SLOTS)
    wheel = Deadlines(table)
    waiting: dict[int, float] = {}
    now_s = 0.0
    for _ in range(steps):
        match rng.choice(("set", "set", "set", "next", "pass", "forget")):
            case "set":
                chosen = rng.sample(range(SLOTS), rng.randint(1, 5))
                deadlines = [now_s + rng.choice((1.0, 7.9, 8.0, 60.0, 3600.0)) * rng.random() for _ in chosen]
                state = table.rows(slots[chosen])
                state["deadline_s"] = np.array(deadlines)
                wheel.set(state, np.array(deadlines))
                state.flush()
                waiting.update(zip(chosen, deadlines, strict=True))
            case "next":
                assert wheel.next_s() == min(waiting.values(), default=float("inf"))
            case "pass":
                now_s += rng.choice((0.5, 5.0, 100.0, 5000.0)) * rng.random()
                over = sorted((deadline_s, slot) for slot, deadline_s in waiting.items() if deadline_s < now_s)
                found = wheel.overdue(now_s)
                assert found.tolist() == [int(slots[slot]) for _, slot in over]
                for _, slot in over:
                    del waiting[slot]
            case _:
                wheel.forget_all()
