"""A backtest's outcomes as a person reads them, and as a machine does."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from gateway.backtest.compare import Comparison, Difference, compare
from gateway.backtest.outcomes import Alarm, Case, Outcome, Refusal, WatchOutcome, by_watch
from gateway.backtest.run import Report
from gateway.detect.lines import say_ts
from gateway.detect.words import say_span

SHOWN: Final = 10
"""Alarms that are told one by one; all of them are in the JSON."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: what is counted, and the count in each column."""

    name: str
    cells: Sequence[str]
    is_heading: bool = False


def columns(report: Report) -> Sequence[tuple[str, Outcome]]:
    """What stands side by side."""
    sides = [("happened", report.happened), ("as installed", report.installed)]
    return sides if report.proposed is None else [*sides, ("as proposed", report.proposed)]


def rows(report: Report) -> list[Row]:
    """The table, a line for each thing that anybody would ask for."""
    outcomes = [outcome for _, outcome in columns(report)]
    return [
        *_alarm_rows(outcomes),
        *_counted("cases opened", outcomes, lambda one: one.opened, lambda case: case.problem),
        _row("  opened again", outcomes, lambda one: sum(case.relapses for case in one.cases)),
        _row("cases that waited for a yes", outcomes, lambda one: len(one.proposed)),
        *_people_rows(outcomes),
        *_refusal_rows(outcomes),
    ]


def _alarm_rows(outcomes: Sequence[Outcome]) -> list[Row]:
    watches = [{(each.watch, each.kind): each for each in by_watch(one.alarms)} for one in outcomes]
    names = sorted({key for side in watches for key in side})
    return [
        _row("alarms raised", outcomes, lambda one: len(one.alarms), is_heading=True),
        *(
            Row(f"  {watch} ({kind})", [_say_watch(side.get((watch, kind))) for side in watches])
            for watch, kind in names
        ),
    ]


def _say_watch(told: WatchOutcome | None) -> str:
    if told is None:
        return "0"
    lasted = "" if told.median_duration_s is None else f", {say_span(told.median_duration_s)}"
    return f"{told.raised} ({told.cleared} cleared{lasted})"


def _people_rows(outcomes: Sequence[Outcome]) -> list[Row]:
    channels = sorted({contact.channel for one in outcomes for contact in one.contacts})
    people = [{contact.channel: contact.people for contact in one.contacts} for one in outcomes]
    return [
        Row("owners written to", ["" if channels else "0" for _ in outcomes], is_heading=True),
        *(Row(f"  by {channel}", [str(side.get(channel, 0)) for side in people]) for channel in channels),
    ]


def _refusal_rows(outcomes: Sequence[Outcome]) -> list[Row]:
    sides = [{_say_refusal(each): each.people for each in one.refusals} for one in outcomes]
    names = sorted({name for side in sides for name in side})
    return [
        Row("owners or products not served", ["" if names else "0" for _ in outcomes], is_heading=True),
        *(Row(f"  {name}", [str(side.get(name, 0)) for side in sides]) for name in names),
    ]


def _say_refusal(refusal: Refusal) -> str:
    what = {"case": "no case", "step": "no message", "message": "not sent"}[refusal.subject]
    later = " yet" if refusal.outcome == "hold" else ""
    detail = f" ({refusal.detail})" if refusal.detail else ""
    return f"{what}{later}: {refusal.reason.replace('_', ' ')}{detail}"


def _counted(
    name: str, outcomes: Sequence[Outcome], things: Callable[[Outcome], Iterable[Case]], key: Callable[[Case], str]
) -> list[Row]:
    counts = [Counter(map(key, things(one))) for one in outcomes]
    names = sorted({each for count in counts for each in count})
    heading = Row(name, [str(count.total()) for count in counts], is_heading=True)
    return [heading, *(Row(f"  {each}", [str(count[each]) for count in counts]) for each in names)]


def _row(name: str, outcomes: Sequence[Outcome], count: Callable[[Outcome], int], *, is_heading: bool = False) -> Row:
    return Row(name, [str(count(one)) for one in outcomes], is_heading=is_heading)


def sentences(report: Report) -> list[str]:
    """What differs, in words."""
    told = _say_comparison("As installed, against what happened", compare(report.happened, report.installed))
    if report.proposed is not None:
        told += _say_comparison("As proposed, against as installed", compare(report.installed, report.proposed))
        told += _say_worth(report.happened, report.installed, report.proposed)
    failed = sum(one.failed_notices for _, one in columns(report))
    return [*told, *([f"{failed} alarm notices could not be worked: a fault of careloop's"] if failed else [])]


def _say_comparison(what: str, found: Comparison) -> list[str]:
    return [f"{what}: alarms {_counts(found.alarms)}; cases {_counts(found.cases)}"]


def _counts(found: Difference[Alarm] | Difference[Case]) -> str:
    return f"{len(found.same)} the same, {len(found.new)} new, {len(found.gone)} gone"


def _say_worth(happened: Outcome, installed: Outcome, proposed: Outcome) -> list[str]:
    """What is known of the cases that the proposal would have spared, or would have kept."""
    known = [case for case in happened.opened if case.outcome is not None]
    if not known:
        return ["Nobody has said yet of any case of this time whether it was right: what is gone may have been true."]
    kept, before = (_outcomes_kept(known, side) for side in (proposed, installed))
    return [
        f"Of cases whose outcome is known, as installed {_said(before)} would have opened, as proposed {_said(kept)}."
    ]


def _outcomes_kept(known: Sequence[Case], side: Outcome) -> Counter[str]:
    return Counter(str(case.outcome) for case in known if any(case.overlaps(other) for other in side.opened))


def _said(counts: Mapping[str, int]) -> str:
    return f"{counts.get('true', 0)} true, {counts.get('false', 0)} false and {counts.get('unclear', 0)} unclear ones"


def examples(report: Report) -> list[str]:
    """Some alarms that make the difference, a line each."""
    before, after = (report.happened, report.installed)
    if report.proposed is not None:
        before, after = report.installed, report.proposed
    found = compare(before, after).alarms
    told = [("new", alarm) for alarm in found.new[:SHOWN]] + [("gone", alarm) for alarm in found.gone[:SHOWN]]
    lines = [
        f"{word:4}  {say_ts(alarm.raised_at_s)}  {alarm.device_id}  {alarm.watch}: {alarm.text}" for word, alarm in told
    ]
    more = max(0, len(found.new) - SHOWN) + max(0, len(found.gone) - SHOWN)
    return [*lines, *([f"and {more} more, which --json lists"] if more else [])]


def as_json(report: Report, says: Sequence[str]) -> dict[str, object]:
    """Everything, for a machine; instants in RFC 3339."""
    value: dict[str, object] = {
        "since": say_ts(report.wanted.since_us / 1e6),
        "until": say_ts(report.wanted.until_us / 1e6),
        "time": str(report.wanted.base),
        "readings": report.readings,
        "devices": report.devices,
        "missing": list(report.missing),
        "proposal": list(says),
        "happened": _outcome_json(report.happened),
        "installed": _outcome_json(report.installed),
        "proposed": None if report.proposed is None else _outcome_json(report.proposed),
        "installed_against_happened": _difference_json(compare(report.happened, report.installed)),
    }
    known = [case for case in report.happened.opened if case.outcome is not None]
    value["known_outcomes"] = {
        name: dict(_outcomes_kept(known, side)) for name, side in columns(report) if side is not report.happened
    }
    if report.proposed is not None:
        value["proposed_against_installed"] = _difference_json(compare(report.installed, report.proposed))
    return value


def _outcome_json(outcome: Outcome) -> dict[str, object]:
    return {
        "alarms": {"raised": len(outcome.alarms), "by_watch": [asdict(each) for each in by_watch(outcome.alarms)]},
        "cases": {
            "opened": len(outcome.opened),
            "waited_for_a_yes": len(outcome.proposed),
            "opened_again": sum(case.relapses for case in outcome.cases),
            "by_problem": dict(Counter(case.problem for case in outcome.opened)),
            "by_outcome": dict(Counter(case.outcome or "unknown" for case in outcome.opened)),
        },
        "contacted": [asdict(each) for each in outcome.contacts],
        "refused": [asdict(each) for each in outcome.refusals],
        "failed_notices": outcome.failed_notices,
    }


def _difference_json(found: Comparison) -> dict[str, object]:
    return {
        "alarms": {
            "same": len(found.alarms.same),
            "new": [_alarm_json(alarm) for alarm in found.alarms.new],
            "gone": [_alarm_json(alarm) for alarm in found.alarms.gone],
        },
        "cases": {
            "same": len(found.cases.same),
            "new": [_case_json(case) for case in found.cases.new],
            "gone": [_case_json(case) for case in found.cases.gone],
        },
    }


def _alarm_json(alarm: Alarm) -> dict[str, object]:
    return _instants({**asdict(alarm)})


def _case_json(case: Case) -> dict[str, object]:
    return _instants({**asdict(case)})


def _instants(fields: dict[str, object]) -> dict[str, object]:
    """Epoch seconds under a name that ends in `_at_s` become RFC 3339 under one that ends in `_at`."""
    return {
        name.removesuffix("_s") if name.endswith("_at_s") else name: say_ts(value)
        if name.endswith("_at_s") and isinstance(value, float)
        else value
        for name, value in fields.items()
    }
