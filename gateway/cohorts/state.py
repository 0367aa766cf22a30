"""The fleet layer's state: explicit, under a version, a row of text per model and one for dips."""

from typing import Final

import msgspec

from gateway.cohorts.comparison import Comparison
from gateway.cohorts.dips import Scope

VERSION: Final = 1


class ModelState(msgspec.Struct):
    """What is known of one product model."""

    known: dict[str, float] = msgspec.field(default_factory=dict[str, float])  # firmware, and when it was first seen
    comparisons: list[Comparison] = msgspec.field(default_factory=list[Comparison])  # under way

    def comparison_of(self, firmware: str | None) -> Comparison | None:
        """The comparison of a firmware, while it is under way."""
        return next((each for each in self.comparisons if each.firmware == firmware), None)


class DipState(msgspec.Struct):
    """What is known of the fleet as a whole."""

    scopes: dict[str, Scope] = msgspec.field(default_factory=dict[str, Scope])
    counted_s: float = 0.0  # when devices were last counted
    now_s: float = 0.0  # the gateway's clock and the healthy one, when they were last looked at
    alive_s: float = 0.0
    blind_until_s: float = 0.0  # after an outage of ours, until then nothing is called a dip

    def look_at_clocks(self, now_s: float, alive_s: float, allowed_s: float) -> None:
        """Note an outage of ours: the healthy clock has stood still. For as long again, nothing is called a dip."""
        if self.now_s:
            missed_s = (now_s - self.now_s) - (alive_s - self.alive_s)
            if missed_s > allowed_s:
                self.blind_until_s = max(self.blind_until_s, now_s + missed_s)
        self.now_s, self.alive_s = now_s, alive_s


def encode(state: ModelState | DipState) -> str:
    """The state as text."""
    return msgspec.json.encode(state).decode()


def decode_model(text: str) -> ModelState:
    """A model's state. Raises msgspec.DecodeError."""
    return msgspec.json.decode(text, type=ModelState)


def decode_dips(text: str) -> DipState:
    """The state of dips. Raises msgspec.DecodeError."""
    return msgspec.json.decode(text, type=DipState)
