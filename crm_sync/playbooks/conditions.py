"""Whether an action's conditions hold; what is not known does not hold, and is said."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from crm_sync.playbooks.model import Candidate, Considered, Facts, Lane, Rate, Why
from devices.profiles.model import Action


@dataclass(frozen=True, slots=True)
class _Finding:
    """What one condition looked at, and why it does not hold; None where it does, or where there is none."""

    unmet: Why | None = None
    inputs: Mapping[str, object] | None = None


_HOLDS: Final = _Finding()


def consider(candidate: Candidate, facts: Facts, *, explores: bool) -> Considered:
    """Look at every condition up to the first that does not hold, and keep what was looked at.

    Where a person allowed it, an action whose success is not known yet is tried, so that it becomes known.
    """
    inputs: dict[str, object] = {"severity": str(facts.severity)}
    for condition in _CONDITIONS:
        finding = condition(candidate, facts, explores)
        inputs |= finding.inputs or {}
        if finding.unmet is not None:
            return Considered(candidate, finding.unmet, inputs)
    return Considered(candidate, None, inputs)


def _severity(candidate: Candidate, facts: Facts, _explores: bool) -> _Finding:
    action = candidate.action
    if facts.severity.rank < action.minimum_severity.rank:
        return _Finding(Why.TOO_MILD, {"minimum_severity": str(action.minimum_severity)})
    most = action.when.maximum_severity
    if most is not None and facts.severity.rank > most.rank:
        return _Finding(Why.TOO_GRAVE, {"maximum_severity": str(most)})
    return _HOLDS


def _channel(candidate: Candidate, _facts: Facts, _explores: bool) -> _Finding:
    is_missing = candidate.lane is Lane.OWNER and candidate.action.channel is None
    return _Finding(Why.NO_CHANNEL) if is_missing else _HOLDS


def _warranty(candidate: Candidate, facts: Facts, _explores: bool) -> _Finding:
    wanted = candidate.action.when.warranty
    return _one_of((wanted,) if wanted else (), facts.warranty, "warranty", (Why.WARRANTY, Why.UNKNOWN_WARRANTY))


def _lifecycle(candidate: Candidate, facts: Facts, _explores: bool) -> _Finding:
    wanted = candidate.action.when.lifecycle_stages
    return _one_of(wanted, facts.lifecycle_stage, "lifecycle_stage", (Why.LIFECYCLE, Why.UNKNOWN_LIFECYCLE))


def _region(candidate: Candidate, facts: Facts, _explores: bool) -> _Finding:
    return _one_of(candidate.action.when.regions, facts.region, "region", (Why.REGION, Why.UNKNOWN_REGION))


def _one_of(wanted: tuple[str, ...], known: str | None, name: str, whys: tuple[Why, Why]) -> _Finding:
    if not wanted:
        return _HOLDS
    inputs = {name: known or "not known", f"wanted_{name}": ", ".join(wanted)}
    if known in wanted:
        return _Finding(None, inputs)
    return _Finding(whys[1] if known is None else whys[0], inputs)


def _precision(candidate: Candidate, facts: Facts, _explores: bool) -> _Finding:
    least = candidate.action.when.minimum_precision
    return _at_least(least, facts.precision, "precision", (Why.PRECISION, Why.UNKNOWN_PRECISION))


def _score(candidate: Candidate, facts: Facts, _explores: bool) -> _Finding:
    least = candidate.action.when.minimum_score
    return _at_least(least, facts.score, "score", (Why.SCORE, Why.UNKNOWN_SCORE))


def _at_least(least: float | None, known: float | None, name: str, whys: tuple[Why, Why]) -> _Finding:
    if least is None:
        return _HOLDS
    inputs: dict[str, object] = {name: "not known" if known is None else known, f"minimum_{name}": least}
    if known is None:
        return _Finding(whys[1], inputs)
    return _Finding(None if known >= least else whys[0], inputs)


def _success(candidate: Candidate, facts: Facts, explores: bool) -> _Finding:
    least = candidate.action.when.minimum_success
    rate = facts.rates.get(candidate.action.key, Rate())
    if least is not None and explores and not rate.trials:
        return _Finding(None, {"success": "not known", "explored": True})
    return _at_least(least, rate.mean if rate.trials else None, "success", (Why.SUCCESS, Why.UNKNOWN_SUCCESS))


def _worked_before(candidate: Candidate, facts: Facts, _explores: bool) -> _Finding:
    where = candidate.action.when.worked_before
    if where is None:
        return _HOLDS
    key = candidate.action.key
    worked = key in facts.worked_here if where == "product" else facts.rates.get(key, Rate()).worked > 0
    return _Finding(None if worked else Why.NEVER_WORKED, {"worked_before": worked, "on_the_same": where})


def _can_be_told(candidate: Candidate, facts: Facts, _explores: bool) -> _Finding:
    is_told = candidate.lane is Lane.PRODUCT
    return _Finding(Why.DEVICE_SILENT) if is_told and facts.is_silent else _HOLDS


_CONDITIONS: Final[tuple[Callable[[Candidate, Facts, bool], _Finding], ...]] = (
    _severity,
    _channel,
    _warranty,
    _lifecycle,
    _region,
    _precision,
    _score,
    _success,
    _worked_before,
    _can_be_told,
)


def holds(action: Action, facts: Facts) -> bool:
    """Whether all conditions of an action hold."""
    return consider(Candidate(0, action), facts, explores=False).unmet is None
