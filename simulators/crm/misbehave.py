"""How the sandbox CRM misbehaves: a seeded draw for every request."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np


class Whim(StrEnum):
    """What becomes of one request."""

    BEHAVE = "behave"
    LATE = "late"  # done at once, answered late
    THROTTLE = "throttle"  # 429 with Retry-After
    UNAVAILABLE = "unavailable"  # 503, nothing done
    FAIL_AFTER = "fail_after"  # done, and answered 500
    CUT_AFTER = "cut_after"  # done, and the connection cut in the middle of the answer
    TWICE = "twice"  # handled twice, as by a queue that redelivers


@dataclass(frozen=True, slots=True)
class Misbehaviour:
    """The share of requests that meet each whim; what is left is answered properly."""

    late: float = 0.05
    throttle: float = 0.03
    unavailable: float = 0.04
    fail_after: float = 0.05
    cut_after: float = 0.03
    twice: float = 0.05
    late_s: float = 0.6  # at most
    retry_after_s: int = 1

    @classmethod
    def none(cls) -> "Misbehaviour":
        """A CRM as nobody has one."""
        return cls(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)

    def draw(self, rng: np.random.Generator) -> Whim:
        """Draw the fate of a request."""
        point, total = float(rng.random()), 0.0
        shares = {
            Whim.LATE: self.late,
            Whim.THROTTLE: self.throttle,
            Whim.UNAVAILABLE: self.unavailable,
            Whim.FAIL_AFTER: self.fail_after,
            Whim.CUT_AFTER: self.cut_after,
            Whim.TWICE: self.twice,
        }
        for whim, share in shares.items():
            total += share
            if point < total:
                return whim
        return Whim.BEHAVE
