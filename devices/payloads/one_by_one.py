"""The elements of a JSON payload judged one by one, so that a bad one costs itself and no other."""

from collections.abc import Callable
from typing import Final, TypeVar

from devices.errors import QuarantineReason, Rejected
from devices.payloads.codec import Bad
from devices.payloads.elements import Element, Walk

MOST_BAD: Final = 1000
"""Bad elements of one payload; this one and all that follows it, good or bad, share a place in quarantine and are not
looked at, so that `[1,2,3,…]` is no weapon. A replay looks at the next."""

_Judged = TypeVar("_Judged")


def judge_each(payload: bytes, judge: Callable[[object], _Judged]) -> list[_Judged | Bad]:
    """What `judge` makes of each element, or the reason that it raised as Rejected, with the element's bytes."""
    walk, judged, bad = Walk(payload), list[_Judged | Bad](), 0
    try:
        for element in walk:
            one = _judge(element, judge)
            judged.append(one)
            bad += isinstance(one, Bad)
            if isinstance(one, Bad) and bad == MOST_BAD:
                judged[-1] = Bad(walk.last_and_rest(), one.reason, f"{one.detail} (and all that follows)")
                break
    except Rejected as rejected:
        return [Bad(payload, QuarantineReason(rejected.reason), rejected.detail)]
    return judged


def _judge(element: Element, judge: Callable[[object], _Judged]) -> _Judged | Bad:
    try:
        return judge(element.value)
    except Rejected as rejected:
        return Bad(element.raw, QuarantineReason(rejected.reason), rejected.detail)
