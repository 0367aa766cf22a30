"""What follows from an outcome, when an origin is left alone, and what a header says."""

import pytest

from crm_sync.adapters.contract import Outcome, Result
from crm_sync.adapters.http import parse_retry_after_s, redact
from crm_sync.adapters.webhook import classify_status
from crm_sync.delivery.breaker import Breaker
from crm_sync.delivery.step import Move, Step, next_step
from crm_sync.endpoints import BreakerSettings, DeliverySettings
from crm_sync.settings import MessageType

SETTINGS = DeliverySettings(url="https://crm.example.com/hook", secret_file="/run/secrets/crm")
NOW_S = 1_800_000_000.0


def step(outcome: Outcome, failures: int = 0, *, creates: bool = False, chance: float = 0.5) -> Step:
    kind = MessageType.CASE_OPENED if creates else MessageType.CASE_UPDATED
    return next_step(outcome, SETTINGS, kind, failures=failures, now_s=NOW_S, random=lambda: chance)


@pytest.mark.parametrize("result", [Result.UNKNOWN, Result.RETRYABLE, Result.AUTH])
def test_failures_follow_the_schedule(result: Result) -> None:
    delays_s = [step(Outcome(result, "x"), failures).next_attempt_s - NOW_S for failures in range(9)]
    assert delays_s == [5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400]
    assert sum(delays_s) == pytest.approx(75 * 3600 + 35 * 60 + 5)
    assert step(Outcome(result, "x"), 9).move is Move.SKIP
    assert step(Outcome(result, "x"), 9, creates=True).move is Move.PARK


@pytest.mark.parametrize(("chance", "delay_s"), [(0.0, 4.0), (0.5, 5.0), (1.0, 6.0)])
def test_delays_vary_by_a_fifth(chance: float, delay_s: float) -> None:
    assert step(Outcome(Result.RETRYABLE, "x"), chance=chance).next_attempt_s - NOW_S == pytest.approx(delay_s)


def test_retry_after_is_a_floor_and_not_a_ceiling() -> None:
    assert step(Outcome(Result.RETRYABLE, "x", retry_after_s=60)).next_attempt_s - NOW_S == 60
    assert step(Outcome(Result.RETRYABLE, "x", retry_after_s=1)).next_attempt_s - NOW_S == 5


def test_rate_limits_pause_the_endpoint_and_use_up_nothing() -> None:
    for asked_s, pause_s in ((None, 60), (7.0, 7), (0.0, 1)):
        limited = step(Outcome(Result.RATE_LIMITED, "http_429", retry_after_s=asked_s), failures=9)
        assert (limited.move, limited.failures) == (Move.AGAIN, 9)
        assert limited.pause_until_s == limited.next_attempt_s == NOW_S + pause_s


def test_gone_disables_and_uses_up_nothing() -> None:
    gone = step(Outcome(Result.GONE, "http_410"), failures=9)
    assert (gone.move, gone.failures, gone.disable) == (Move.AGAIN, 9, True)


@pytest.mark.parametrize("result", [Result.PERMANENT, Result.CONFLICT])
def test_what_will_never_succeed_is_a_dead_letter_at_once(result: Result) -> None:
    assert step(Outcome(result, "x")).move is Move.SKIP
    assert step(Outcome(result, "x"), creates=True).move is Move.PARK


def test_what_may_be_a_deployment_is_believed_after_some_tries() -> None:
    moves = [step(Outcome(Result.PERMANENT, "http_404", tries=4), failures).move for failures in range(4)]
    assert moves == [Move.AGAIN, Move.AGAIN, Move.AGAIN, Move.SKIP]


def test_every_status_has_one_class() -> None:
    classes = {status: classify_status(status, 4)[0] for status in range(100, 1000)}
    assert {status for status, found in classes.items() if found is Result.OK} == set(range(200, 300))
    assert all(classes[status] is Result.UNKNOWN for status in (500, 502, 504, 599, 999))
    assert all(classify_status(status, 4) == (Result.PERMANENT, 4) for status in (301, 302, 307, 308, 404, 405, 418))
    assert all(classify_status(status, 4) == (Result.PERMANENT, None) for status in (400, 413, 415, 422))


def open_breaker(breaker: Breaker, at_s: float) -> None:
    for _ in range(5):
        breaker.settle(at_s, failed=True)


def test_five_failures_in_a_row_open_the_breaker() -> None:
    breaker = Breaker(BreakerSettings())
    for _ in range(4):
        breaker.settle(0, failed=True)
    breaker.settle(0, failed=False)
    assert not breaker.is_open
    open_breaker(breaker, 0)
    assert breaker.is_open
    assert breaker.room(29, 8) == 0
    assert breaker.room(30, 8) == 1
    breaker.begin()
    assert breaker.room(30, 8) == 0  # one probe at a time
    breaker.settle(31, failed=False)
    assert breaker.room(31, 8) == 8


def test_half_of_the_last_twenty_within_a_minute_open_it() -> None:
    slow, fast = Breaker(BreakerSettings()), Breaker(BreakerSettings())
    for number in range(20):
        slow.settle(number * 10.0, failed=number % 2 == 1)
        fast.settle(number * 1.0, failed=number % 2 == 1)
    assert fast.is_open
    assert not slow.is_open


def test_each_failed_probe_doubles_the_wait_up_to_a_quarter_of_an_hour() -> None:
    breaker = Breaker(BreakerSettings())
    open_breaker(breaker, 0)
    now_s, waits_s = 0.0, [30, 60, 120, 240, 480, 900, 900]
    for wait_s in waits_s:
        assert breaker.room(now_s + wait_s - 1, 1) == 0
        now_s += wait_s
        assert breaker.room(now_s, 1) == 1
        breaker.begin()
        breaker.settle(now_s, failed=True)


def test_requests_that_had_left_before_do_not_lengthen_the_wait() -> None:
    breaker = Breaker(BreakerSettings())
    open_breaker(breaker, 0)
    open_breaker(breaker, 1)
    assert breaker.room(30, 1) == 1


def test_an_abandoned_probe_lets_another_go() -> None:
    breaker = Breaker(BreakerSettings())
    open_breaker(breaker, 0)
    breaker.begin()
    assert breaker.room(31, 1) == 0
    breaker.abandon()
    assert breaker.room(31, 1) == 1


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("0", 0),
        ("120", 120),
        (" 120 ", 120),
        ("٣", None),
        ("999999999999", 86400),
        ("9" * 400, None),
        ("Fri, 15 Jan 2027 08:02:00 GMT", 120),
        ("Fri, 15 Jan 2027 08:02:00 -0000", 120),
        ("Fri, 15 Jan 2027 07:00:00 GMT", None),
        ("Fri, 15 Jan 2090 08:00:00 GMT", 86400),
        ("Fri, 99 Jan 2027 08:00:00 GMT", None),
        ("Fri, 15 Jan 99999999999999999999 08:00:00 GMT", None),
    ],
)
def test_retry_after_in_seconds_and_as_a_date(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after_s(value, NOW_S) == seconds


def test_answers_are_kept_short_and_without_secrets() -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    body = (
        f"key={secret} sig=v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= Bearer abc.def-123456 a.person@example.com"
    )
    kept = redact(body.encode() + b"\x00\xff" + "ü".encode() * 5000, [secret])
    assert not any(word in kept for word in ("MfKQ", "g0hM", "abc.def", "person", "\x00"))
    assert len(kept.encode()) <= 4000
