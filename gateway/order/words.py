"""Clocks and gaps, in words."""

from typing import Final

from devices.clock import to_datetime
from gateway.order.clocks import AGREE_S, BEHIND_LOOKS, ClockView

RIGHT_S: Final = 120.0
"""A clock that is off by less is right: sending takes time too."""

_MINUTE_S: Final = 60.0
_HOUR_S: Final = 3600.0
_DAY_S: Final = 86_400.0
_ZONE_STEP_S: Final = 900.0  # time zones lie quarters of an hour apart
_NEAREST_ZONE_S: Final = 1800.0
_OF_1970_S: Final = -40 * 365 * _DAY_S  # no backlog is that old
_FARTHEST_ZONE_S: Final = 14 * 3600.0


def say_gap(missing: int) -> str:
    """Such as ``3 messages never reached us``."""
    if not missing:
        return "nothing is missing"
    return f"{missing:,} message{'' if missing == 1 else 's'} never reached us"


def say_offset(seconds: float) -> str:
    """Such as ``3 h 02 min``."""
    seconds = abs(seconds)
    if seconds >= 2 * _DAY_S:
        return f"{seconds / _DAY_S:.0f} days"
    if seconds >= _HOUR_S:
        hours, minutes = divmod(round(seconds / _MINUTE_S), 60)
        return f"{hours} h {minutes:02} min"
    if seconds >= 2 * _MINUTE_S:
        return f"{seconds / _MINUTE_S:.0f} min"
    return f"{seconds:.0f} s"


def state_of(clock: ClockView) -> str:
    """One closed word: unknown, none, right, ahead, or behind."""
    if clock.is_clockless:
        return "none"
    if clock.offset_s is None:
        return "unknown"
    if abs(clock.offset_s) <= RIGHT_S:
        return "right"
    return "ahead" if clock.offset_s > 0 else "behind"


def is_sure(clock: ClockView) -> bool:
    """Whether enough looks agree; that a clock is ahead is sure from the first: nothing arrives before it is sent."""
    return clock.offset_s is not None and (clock.offset_s > RIGHT_S or clock.looks >= BEHIND_LOOKS)


def say_clock(clock: ClockView) -> str:
    """Such as ``clock 3 h 02 min ahead``."""
    state = state_of(clock)
    if state == "none":
        return "no clock: what it sends bears the time of its receipt"
    if state == "unknown":
        return "nothing is known of its clock yet"
    assert clock.offset_s is not None
    if state == "right":
        said = f"clock right, to within {say_offset(max(abs(clock.offset_s), 1.0))}"
    elif state == "ahead":
        said = f"clock {say_offset(clock.offset_s)} ahead"
    elif clock.offset_s < _OF_1970_S:
        said = (
            f"clock {say_offset(clock.offset_s)} behind: it was never set, or its ts counts seconds, not milliseconds"
        )
    else:
        said = f"clock {say_offset(clock.offset_s)} behind, or all that it sends comes so late"
    if is_zone(clock.offset_s):
        said += "; it may send local time as UTC"
    if not is_sure(clock):
        said += f" (from {'one look' if clock.looks <= 1 else f'{clock.looks} looks'}, not yet sure)"
    if clock.moved_at_s is not None:
        said += f"; {_say_move(clock.moved_at_s, clock.moved_by_s)}"
    return said


def is_zone(offset_s: float) -> bool:
    """Whether a clock is off by what a time zone may be."""
    off = abs(offset_s)
    is_far = _NEAREST_ZONE_S <= off <= _FARTHEST_ZONE_S + AGREE_S
    return is_far and abs(off - _ZONE_STEP_S * round(off / _ZONE_STEP_S)) <= AGREE_S


def _say_move(at_s: float, by_s: float) -> str:
    way = "forward" if by_s > 0 else "back"
    said = f"it went {say_offset(by_s)} {way} on {to_datetime(at_s):%d %B %Y}"
    return f"{said}, as for daylight saving" if abs(abs(by_s) - _HOUR_S) <= AGREE_S else said
