"""The elements of a JSON payload judged one by one, so that a bad one costs itself and no other."""

from collections.abc import Callable
from typing import Final, TypeVar

from devices.errors import QuarantineReason, Rejected
from devices.payloads.codec import Bad
from devices.payloads.elements import Element, elements

MOST_BAD: Final = 1000
"""Bad elements of one payload; from this one on they share a place in quarantine, so that `[1,2,3,…]` is no weapon."""

_Judged = TypeVar("_Judged")


def judge_each(payload: bytes, judge: Callable[[object], _Judged]) -> list[_Judged | Bad]:
    """What `judge` makes of each element, or the reason that it raised as Rejected, with the element's bytes."""
    try:
        found = elements(payload)
    except Rejected as rejected:
        return [Bad(payload, QuarantineReason(rejected.reason), rejected.detail)]
    return _gather([_judge(element, judge) for element in found])


def _judge(element: Element, judge: Callable[[object], _Judged]) -> _Judged | Bad:
    try:
        return judge(element.value)
    except Rejected as rejected:
        return Bad(element.raw, QuarantineReason(rejected.reason), rejected.detail)


def _gather(judged: list[_Judged | Bad]) -> list[_Judged | Bad]:
    """The same, with the bad elements beyond so many as one array at the end."""
    bad = [element for element in judged if isinstance(element, Bad)]
    rest = bad[MOST_BAD - 1 :]
    if len(rest) <= 1:
        return judged
    raw = b"[" + b",".join(element.raw for element in rest) + b"]"
    together = Bad(raw, rest[0].reason, f"{rest[0].detail} (and {len(rest) - 1} more bad elements)")
    gathered = {id(element) for element in rest}
    return [*(element for element in judged if id(element) not in gathered), together]
