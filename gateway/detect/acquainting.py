"""What devices have in common, on the clock of a history: where no gateway looks for it and numbers it."""

from typing import Final

from gateway.detect.cohort import Prior
from gateway.detect.engine import Engine

DAY_S: Final = 86_400.0


class Acquainting:
    """Asks an engine once a day of history, and lets it hold for the devices that are new from then on."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._asked_s = -DAY_S

    def look(self, now_s: float) -> None:
        """Ask, if a day has passed."""
        if now_s - self._asked_s >= DAY_S:
            self._asked_s = now_s
            habits = [found for some in self._engine.survey() for found in some]
            if habits:
                self._engine.adopt(Prior(int(now_s), habits))
