"""What follows from an attempt's outcome: decided without any input or output."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Final

from crm_sync.adapters.contract import DEFAULT_PAUSE_S, NOT_LISTED, OURS, Outcome, Result
from crm_sync.endpoints import DeliverySettings
from crm_sync.settings import MessageType

CREATES: Final = frozenset({MessageType.CASE_OPENED})
"""Messages without which those behind them make no sense: a dead one parks its stream, any other is passed over."""

FIRST_WAIT_S: Final = 60.0
LONGEST_WAIT_S: Final = 900.0
"""So often an endpoint that refuses our credentials is asked again whether they are good by now."""

_OF_LOGIN: Final = frozenset({"no_token", "http_401"})

MIN_PAUSE_S: Final = 1.0  # "Retry-After: 0" must not become a busy loop


class Move(StrEnum):
    """What happens to a stream and its head."""

    DELIVERED = "delivered"  # on to the next message
    AGAIN = "again"
    SKIP = "skip"  # the head is dead; on to the next message
    PARK = "park"  # the head is dead; the messages behind it wait for a person


@dataclass(frozen=True, slots=True)
class Step:
    """The consequence of one outcome, in real seconds since the epoch."""

    move: Move
    failures: int = 0  # attempts used up, for AGAIN
    next_attempt_s: float = 0.0  # for AGAIN
    pause_until_s: float | None = None  # the whole endpoint is left alone
    disable: bool = False  # the whole endpoint is no more


def next_step(
    outcome: Outcome,
    settings: DeliverySettings,
    message_type: MessageType,
    *,
    failures: int,
    now_s: float,
    random: Callable[[], float],
) -> Step:
    """Decide by the outcome's class, after `failures` attempts that had been used up before it."""
    match outcome.result:
        case Result.OK:
            return Step(Move.DELIVERED)
        case Result.GONE:
            return Step(Move.AGAIN, failures, now_s, disable=True)
        case Result.RATE_LIMITED:
            asked_s = DEFAULT_PAUSE_S if outcome.retry_after_s is None else outcome.retry_after_s
            until_s = now_s + max(asked_s, MIN_PAUSE_S)
            return Step(Move.AGAIN, failures, until_s, pause_until_s=until_s)
        case Result.RETRYABLE if outcome.code == NOT_LISTED:  # nothing was tried
            return Step(Move.AGAIN, failures, now_s + (outcome.retry_after_s or MIN_PAUSE_S))
        case _:
            pass
    used_up = failures + 1
    if used_up >= _tries(outcome, len(settings.schedule)):
        return Step(Move.PARK if message_type in CREATES else Move.SKIP)
    jittered_s = settings.schedule[used_up] * (1 + settings.jitter * (2 * random() - 1))
    return Step(Move.AGAIN, used_up, now_s + max(jittered_s, outcome.retry_after_s or 0.0))


def refuses_us(outcome: Outcome) -> bool:
    """Whether an answer is about who careloop is. A 403 may be about one record; it follows the schedule."""
    return outcome.result is Result.AUTH and (outcome.status == HTTPStatus.UNAUTHORIZED or outcome.code in _OF_LOGIN)


def wait_to_be_let_in(failures: int, since_s: float | None, now_s: float) -> Step:
    """The whole endpoint is left alone, the longer the longer it refuses us, and nothing is used up."""
    lasted_s = 0.0 if since_s is None else now_s - since_s
    until_s = now_s + min(max(lasted_s, FIRST_WAIT_S), LONGEST_WAIT_S)
    return Step(Move.AGAIN, failures, until_s, pause_until_s=until_s)


def counts_against_origin(outcome: Outcome) -> bool:
    """Whether an outcome says that the origin is ill, rather than that it dislikes one message or wants fewer."""
    match outcome.result:
        case Result.UNKNOWN | Result.RETRYABLE | Result.AUTH:
            return outcome.code not in OURS  # a message that our own code stumbles over must not stop the others
        case Result.PERMANENT:
            return outcome.tries is not None  # about the address, such as 404
        case _:
            return False


def _tries(outcome: Outcome, scheduled: int) -> int:
    if outcome.result in {Result.PERMANENT, Result.CONFLICT}:
        return min(outcome.tries or 1, scheduled)
    return min(outcome.tries or scheduled, scheduled)
