"""The bar of a watch: the belief that its alarms need beyond the least, learnt from its false alarms.

A false case raises it by a step, a true one lowers it by a step, and it sinks by half in a month: a watch that was
wrong must be surer for a while, and is not silenced for ever.
"""

from crm_sync.trust.scale import fade
from crm_sync.trust.settings import TrustSettings


def bar_now(bar: float, as_of_s: float, now_s: float, settings: TrustSettings) -> float:
    """Where a bar stands, some time after it was moved."""
    return bar * fade(as_of_s, now_s, settings.bar_memory)


def moved(bar: float, was_false: float, weight: float, settings: TrustSettings) -> float:
    """The bar after an outcome; weak evidence moves it less."""
    step = settings.bar_step * weight * (1.0 if was_false >= 0.5 else -1.0)  # noqa: PLR2004 - more false than true
    return min(settings.bar_most, max(0.0, bar + step))
