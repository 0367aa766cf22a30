"""What an incident is, in numbers and in English; agents are told by `crm_sync.cases.cohort_brief`."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

from gateway.cohorts.comparison import Verdict
from gateway.cohorts.dips import Dip
from gateway.cohorts.incidents import Course

_MANY_MODELS: Final = 4


def firmware_title(model_title: str, firmware: str, region: str | None, problems: Sequence[str]) -> str:
    """The headline of a bad firmware."""
    where = f" in {region}" if region else ""
    return f"{model_title}{where}: firmware {firmware} brings trouble: {_listed(problems)}"


def firmware_says(model_title: str, firmware: str, verdict: Verdict) -> str:
    """Why a firmware is called bad, with who was compared with whom."""
    where = f" in {verdict.region}" if verdict.region else ""
    told = (
        f"{verdict.affected} of {verdict.devices} devices ({_share(verdict.affected, verdict.devices)}) with firmware "
        f"{firmware} of {model_title}{where} have trouble with {_word(verdict.problem)} since they got it"
    )
    if verdict.others:
        told += (
            f"; of the {verdict.others} that run another firmware it is {verdict.others_affected} "
            f"({_share(verdict.others_affected, verdict.others)})"
        )
    told += f". About {verdict.expected:.2g} would be usual."
    if not verdict.others:
        told += " Nobody is left without it to compare with: it was compared with the time before."
    return told


def firmware_evidence(verdict: Verdict, now_s: float) -> Mapping[str, object]:
    """The numbers behind it."""
    return {
        "at_s": now_s,
        "problem": verdict.problem,
        "region": verdict.region,
        "affected": verdict.affected,
        "devices": verdict.devices,
        "others_affected": verdict.others_affected,
        "others": verdict.others,
        "expected": round(verdict.expected, 3),
        "log10_e": round(verdict.log_e / math.log(10), 2),
    }


def dip_title(scope: str, model_title: str | None) -> str:
    """The headline of a dip."""
    return f"Many devices {_where(scope, model_title)} have fallen silent or out of use at once"


def dip_says(dip: Dip, model_title: str | None) -> str:
    """Why it is called a dip of the fleet."""
    by_model = sorted(dip.models.items(), key=lambda item: (-item[1], item[0]))
    told = ", ".join(f"{count} {model}" for model, count in by_model[:_MANY_MODELS])
    rest = len(by_model) - _MANY_MODELS
    return (
        f"{dip.affected} of {dip.devices} devices {_where(dip.scope, model_title)} "
        f"({_share(dip.affected, dip.devices)}) fell silent or out of use at once: {told}"
        f"{f' and {rest} more models' if rest > 0 else ''}. About {dip.usual:.2g} would be usual. It is no fault of "
        "any one of them: look for an outage of the network, the broker or the service, a wrong clock, or a holiday."
    )


def dip_evidence(dip: Dip, now_s: float) -> Mapping[str, object]:
    """The numbers behind it."""
    return {
        "at_s": now_s,
        "scope": dip.scope,
        "affected": dip.affected,
        "devices": dip.devices,
        "by_model": dict(sorted(dip.models.items())),
        "expected": round(dip.usual, 3),
        "log10_e": round(dip.log_e / math.log(10), 2),
    }


def ending(course: Course) -> str:
    """Why an incident is over."""
    rest = f"; {course.unsettled} of its {course.members} alarms go on by themselves" if course.unsettled else ""
    return f"no device joined for a while, and those that did have recovered{rest}"


def _where(scope: str, model_title: str | None) -> str:
    kind, _, name = scope.partition(":")
    if kind == "region":
        return f"in {name}"
    return f"of {model_title or name}" if kind == "model" else "of the whole fleet"


def _share(part: int, whole: int) -> str:
    return f"{float(f'{100 * part / whole:.2g}'):g} %" if whole else "none"


def _word(name: str) -> str:
    return name.replace("_", " ").replace("-", " ")


def _listed(names: Sequence[str]) -> str:
    words = [_word(name) for name in names]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
