"""Missing messages are counted exactly, in whatever order, however often, and with whatever losses numbers come in."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.order.tracker import Arrivals, Tracker
from gateway.store.rows import NO_SEQ

START_US = 1_760_000_000_000_000
STEP_US = 60_000_000


@dataclass(frozen=True)
class Message:
    """One message of the device."""

    seq: int
    ts_us: int
    is_event: bool = False


def arrivals(messages: Sequence[Message]) -> Arrivals:
    ts_us = np.array([message.ts_us for message in messages], np.int64)
    return Arrivals(
        ("d",),
        np.zeros(len(messages), np.int32),
        np.array([message.seq for message in messages], np.int64),
        ts_us,
        np.maximum.accumulate(ts_us) + 1_000_000,
    )


def tell(messages: Sequence[Message], sizes: Sequence[int]) -> Tracker:
    """Bring messages before a tracker in batches of these sizes; those that came before are duplicates."""
    tracker, known, place = Tracker(), set[Message](), 0
    while place < len(messages):
        size = sizes[place % len(sizes)]
        batch, place = messages[place : place + size], place + size
        fresh = [message for n, message in enumerate(batch) if message not in known and message not in batch[:n]]
        again = [message for message in batch if message in known or batch.count(message) > 1]
        tracker.take_readings(arrivals([message for message in fresh if not message.is_event]))
        tracker.take_aside(arrivals(again), np.zeros(len(again), np.bool_))
        tracker.take_events(arrivals([message for message in fresh if message.is_event]))
        known.update(batch)
    return tracker


def missing(tracker: Tracker) -> int:
    slot = tracker.slot_of("d")
    return 0 if slot is None else tracker.view(slot).missing


@st.composite
def runs(draw: st.DrawFn, count: int) -> tuple[list[list[Message]], int]:
    """Runs of a counter, each with losses, in any order and with duplicates; and how many numbers were lost inside."""
    told: list[list[Message]] = []
    lost, at_us = 0, START_US
    for _ in range(count):
        # A run that ends just before 256 could as well have wrapped around.
        first = 0 if told else draw(st.integers(300, 1000))
        length = draw(st.integers(2, 150))
        # A number that is still missing would be taken for the one that never came.
        kept = sorted(draw(st.sets(st.integers(0, length - 1), min_size=1)) | ({0, 1} if told else set()))
        lost += kept[-1] - kept[0] + 1 - len(kept)
        messages = [Message(first + n, at_us + n * STEP_US) for n in kept]
        again = draw(st.lists(st.sampled_from(messages), max_size=10))
        told.append(draw(st.permutations(messages + again)))
        at_us += length * STEP_US
    return told, lost


@settings(deadline=None)
@given(runs(1), st.lists(st.integers(1, 60), min_size=1, max_size=4))
def test_any_order_and_any_loss_counts_what_never_came(told: tuple[list[list[Message]], int], sizes: list[int]) -> None:
    (messages,), lost = told
    assert missing(tell(messages, sizes)) == lost


@settings(deadline=None)
@given(runs(3), st.lists(st.integers(1, 60), min_size=1, max_size=4), st.data())
def test_a_counter_that_starts_over_is_no_gap(
    told: tuple[list[list[Message]], int], sizes: list[int], data: st.DataObject
) -> None:
    """Late messages of the run before may come while the next one is told."""
    one, two, three = told[0]
    # A restart shows itself in its first message.
    two.sort(key=lambda message: message.ts_us)
    three.sort(key=lambda message: message.ts_us)
    late = [message for message in one if message.ts_us != max(each.ts_us for each in one)]
    late = late[: data.draw(st.integers(0, 10))]
    if min(one, key=lambda message: message.ts_us) in late:
        late = []
    prompt = [message for message in one if message not in late]
    place = data.draw(st.integers(1, len(two)))
    tracker = tell([*prompt, *two[:place], *late, *two[place:], *three], sizes)
    assert missing(tracker) == told[1]
    assert tracker.view(0).restarts <= 2


@settings(deadline=None)
@given(
    st.sampled_from([256, 65_536]),
    st.sets(st.integers(0, 298), max_size=20),
    st.lists(st.integers(1, 40), min_size=1, max_size=3),
)
def test_a_counter_that_wraps_around_goes_on(period: int, lost: set[int], sizes: list[int]) -> None:
    # What is lost right where it wraps could as well be a counter that starts over.
    kept = [n for n in range(300) if n not in lost or 85 <= n % period < 115]
    messages = [Message((n + period - 100) % period, START_US + n * STEP_US) for n in kept]
    tracker = tell(messages, sizes)
    assert missing(tracker) == kept[-1] - kept[0] + 1 - len(kept)
    assert tracker.view(0).restarts == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=5, max_size=120), st.booleans(), st.integers(0, 5000))
def test_events_are_counted_with_the_readings_or_for_themselves(
    life: list[tuple[bool, bool]], shares: bool, first: int
) -> None:
    """A device may count its events together with its readings, or apart from them."""
    reading_seq, event_seq = first + 1, (0 if shares else 9_000_000)
    messages = [Message(first, START_US)]
    lost_inside, pending = 0, {True: 0, False: 0}
    for n, (is_event, is_lost) in enumerate(life, 1):
        apart = is_event and not shares
        seq = event_seq if apart else reading_seq
        event_seq, reading_seq = event_seq + apart, reading_seq + (not apart)
        if is_lost:
            pending[apart] += 1
            continue
        if not (apart and not any(message.is_event for message in messages)):
            lost_inside += pending[apart]
        pending[apart] = 0
        messages.append(Message(seq, START_US + n * STEP_US, is_event))
    messages.append(Message(reading_seq, START_US + 1000 * STEP_US))
    assert missing(tell(messages, [1])) == lost_inside + pending[False]


def test_a_new_count_after_a_long_one_is_noticed_without_its_first_messages() -> None:
    before = [Message(n, START_US + n * STEP_US) for n in range(2, 300)]
    after = [Message(n, START_US + (500 + n) * STEP_US) for n in range(5, 20)]
    tracker = tell([*before, *after], [7])
    assert (missing(tracker), tracker.view(0).restarts) == (0, 1)


def test_devices_without_numbers_miss_nothing() -> None:
    tracker = tell([Message(NO_SEQ, START_US + n) for n in range(5)], [2])
    assert (missing(tracker), tracker.view(0).is_numbered) == (0, False)


def test_numbers_that_nobody_can_have_counted_to_are_none() -> None:
    tracker = tell([Message(2**63 - 1, START_US), Message(2**63 - 1, START_US + STEP_US, is_event=True)], [1])
    assert (missing(tracker), tracker.view(0).is_numbered) == (0, False)
