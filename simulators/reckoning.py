"""Compares what the simulator and the sandbox know with what the gateway's API says the database holds."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray

from simulators.api_client import ApiClient, Json, epoch_s
from simulators.crm.records import Book
from simulators.fleet.ledger import DeviceRecord, Ledger
from simulators.scorecard import CaseScore, DeliveryScore, SeenAlarm, SilentScore

_CLOSED: Final = frozenset({"resolved", "retracted", "expired"})


@dataclass(frozen=True, slots=True)
class Held:
    """What the gateway holds of one device."""

    ts_ms: NDArray[np.int64]  # of the stored readings, as many times as they are stored
    quarantined: NDArray[np.uint64]  # digests


def reckon_delivery(ledger: Ledger, api: ApiClient, device_ids: Sequence[str]) -> DeliveryScore:
    """Readings, set against set, for every device of the simulation."""
    quarantined = _quarantined(api)
    with ThreadPoolExecutor(4, "reckon") as pool:
        times = dict(zip(device_ids, pool.map(api.reading_times_ms, device_ids), strict=True))
    totals = np.zeros(4, dtype=np.int64)
    acknowledged = 0
    for device_id in device_ids:
        record = ledger.record_of(device_id)
        held = Held(times[device_id], quarantined.get(device_id, np.empty(0, dtype=np.uint64)))
        totals += compare(record, held)
        acknowledged += record.distinct
    stored, duplicate_rows, in_quarantine, lost = (int(total) for total in totals)
    duplicate_rows += _hidden_duplicates(api)
    return DeliveryScore(ledger.published, acknowledged, stored, duplicate_rows, in_quarantine, lost)


def compare(record: DeviceRecord, held: Held) -> tuple[int, int, int, int]:
    """Distinct stored, rows beyond those, quarantined, and lost readings of one device.

    A reading is lost if it was acknowledged, and neither its time is stored nor its bytes are in quarantine; of
    several that contradict each other about one moment, one is stored and the others must be in quarantine.
    """
    stored = np.unique(held.ts_ms)
    times, where = np.unique(record.ts_ms, return_inverse=True)
    in_quarantine = np.isin(record.digests, held.quarantined)
    sent = np.bincount(where, minlength=len(times))
    kept = np.isin(times, stored) + np.bincount(where, weights=in_quarantine, minlength=len(times)).astype(np.int64)
    lost = np.maximum(sent - kept, 0).sum() + np.count_nonzero(~np.isin(record.unstorable, held.quarantined))
    return len(stored), len(held.ts_ms) - len(stored), len(held.quarantined), int(lost)


def _quarantined(api: ApiClient) -> Mapping[str, NDArray[np.uint64]]:
    digests: defaultdict[str, set[int]] = defaultdict(set)
    for item in api.pages("/v1/quarantine", limit=1000):
        if str(item["topic"]).endswith("/telemetry"):
            digests[str(item["device_id"])].add(int(str(item["digest"])[:16], 16))
    return {device_id: np.fromiter(found, dtype=np.uint64) for device_id, found in digests.items()}


def _hidden_duplicates(api: ApiClient) -> int:
    """Rows of the same identity, as the database itself counts them: pages would not show one that straddles them."""
    readings = cast("Json", api.counts(exact=True)["readings"])
    return int(cast("int", readings.get("duplicate_rows") or 0))


def seen_alarms(items: Iterable[Json]) -> list[SeenAlarm]:
    """The gateway's alarms, as the score sees them; those taken back are none."""
    return [
        SeenAlarm(
            alarm_id=str(item["alarm_id"]),
            device_id=str(item["device_id"]),
            watch=str(item["watch"]),
            metric=None if item.get("metric") is None else str(item["metric"]),
            started_at_s=epoch_s(item["started_at"]),
            decided_at_s=epoch_s(cast("Sequence[Json]", item["events"])[0]["ts"]),
            known_at_s=epoch_s(item["raised_at"]),
        )
        for item in items
        if item["state"] != "retracted"
    ]


def reckon_cases(cases: Sequence[Json], book: Book) -> CaseScore:
    """Cases against CRM records."""
    told = {str(case["case_id"]) for case in cases if _is_for_the_crm(case)}
    known = {str(case["case_id"]) for case in cases}
    states = [str(case["state"]) for case in cases]
    return CaseScore(
        opened=len(told),
        duplicate=count_overlaps(cases),
        resolved=states.count("resolved"),
        retracted=states.count("retracted"),
        records=len(book.records),
        duplicate_records=book.duplicate_records,
        missing=len(told - book.case_ids) + len(book.case_ids - known),
    )


def _is_for_the_crm(case: Json) -> bool:
    """Whether the CRM had to be told: there is a CRM for it, and it was not over before it could be told."""
    endpoints = cast("Sequence[Json]", case.get("endpoints") or ())
    return any(str(endpoint["state"]) != "withdrawn" for endpoint in endpoints)


def count_overlaps(cases: Sequence[Json]) -> int:
    """Cases that began while another one of the same asset and problem was open."""
    lives: defaultdict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for case in cases:
        closed = case.get("closed_at") if str(case["state"]) in _CLOSED else None
        until_s = float("inf") if closed is None else epoch_s(closed)
        lives[str(case["asset_id"]), str(case["problem"])].append((epoch_s(case["opened_at"]), until_s))
    overlaps = 0
    for spans in lives.values():
        open_until_s = float("-inf")
        for began_s, until_s in sorted(spans):
            overlaps += began_s < open_until_s
            open_until_s = max(open_until_s, until_s)
    return overlaps


def reckon_silent(cases: Sequence[Json], mended: int) -> SilentScore:
    """What became of products that were told to mend themselves; `mended` is what the simulator knows."""
    told = [case for case in cases if any(_is_silent_fix(action) for action in _actions(case))]
    commands = sum(_is_silent_fix(action) for case in told for action in _actions(case))
    fixed = sum(case.get("resolution") == "fixed_silently" for case in told)
    return SilentScore(commands, fixed, mended, sum(_is_for_the_crm(case) for case in told))


def _actions(case: Json) -> Sequence[Json]:
    return cast("Sequence[Json]", case.get("actions") or ())


def _is_silent_fix(action: Json) -> bool:
    return action["kind"] == "command" and action["verdict"] == "chosen"
