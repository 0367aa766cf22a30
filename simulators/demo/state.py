"""How a demo stands while it runs: the few numbers that are shown."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from simulators.api_client import Json


@dataclass(frozen=True, slots=True)
class Standing:
    """The gateway in the numbers that the display shows."""

    alarms: Mapping[str, int] = field(default_factory=dict[str, int])  # by state
    cases: Mapping[str, int] = field(default_factory=dict[str, int])  # by state
    quarantined: int = 0
    waiting_inbox: int = 0
    waiting_outbox: int = 0
    database: str = ""

    @classmethod
    def of(cls, counts: Json) -> "Standing":
        """Read the API's counts."""
        alarms = {name: n for name, n in _numbers(counts, "alarms").items() if name != "total"}
        cases = cast("Json", counts.get("cases") or {})
        return cls(
            alarms=alarms,
            cases=_numbers(cases, "by_state"),
            quarantined=_numbers(counts, "quarantined").get("total", 0),
            waiting_inbox=_numbers(counts, "inbox").get("pending", 0),
            waiting_outbox=_numbers(counts, "outbox").get("pending", 0),
            database=str(counts.get("database") or ""),
        )

    @property
    def drained(self) -> bool:
        """Whether nothing waits on its way to the CRM."""
        return self.waiting_inbox == 0 and self.waiting_outbox == 0


def _numbers(tree: Json, name: str) -> dict[str, int]:
    found = cast("Mapping[str, object]", tree.get(name) or {})
    return {key: value for key, value in found.items() if isinstance(value, int)}
