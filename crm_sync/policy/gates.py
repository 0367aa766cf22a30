"""The gates themselves: each is asked when something is decided, and again when it is sent."""

from typing import Final, LiteralString
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from crm_sync.inbox import AlarmNotice
from crm_sync.model import Subject
from crm_sync.policy.model import Gate, GateAnswer, Outcome, Reason
from crm_sync.policy.quiet_hours import next_allowed_s
from crm_sync.settings import CrmSettings
from devices.clock import to_datetime
from devices.registry.queries import grant_state

Connection = AsyncConnection[TupleRow]

PURPOSE: Final = "service"
ANY_CRM: Final = "crm"
"""The recipient that a grant names when it means every CRM."""


def freshness(notice: AlarmNotice, stale_after_s: float, *, has_ended: bool) -> GateAnswer:
    """Whether an alarm tells of the present.

    The device's newest reading is compared with the gateway's clock when both were recorded, not with now: that
    careloop itself was away makes no alarm old. A silent device's newest reading is old by nature, so a silence is
    allowed the span that it waited for.
    """
    waited_s = notice.explanation.window_s if notice.kind == "silence" else 0.0
    age_s = notice.recorded_at_s - notice.head_ts_s - waited_s
    inputs = {"head_age_s": round(age_s), "stale_after_s": round(stale_after_s), "has_ended": has_ended}
    if has_ended or age_s > stale_after_s:
        return GateAnswer(Gate.FRESHNESS, Outcome.REFUSE, Reason.STALE, inputs)
    return GateAnswer(Gate.FRESHNESS, Outcome.ALLOW, None, inputs)


async def case_grant(conn: Connection, subject: Subject, endpoint: str, now_s: float) -> GateAnswer:
    """Whether a CRM may be told of the owner's product: the contract allows it unless the owner refused or revoked.

    A record that names the endpoint outweighs one that names every CRM. A product without a known owner has nobody
    whose grant could be missing.
    """
    if subject.owner_ref is None:
        return GateAnswer(Gate.GRANT, Outcome.ALLOW, None, {"owner": "unknown", "basis": "no person"})
    for recipient in (endpoint, ANY_CRM):
        state = await grant_state(conn, subject.tenant_id, subject.owner_ref, PURPOSE, recipient, to_datetime(now_s))
        if state is not None:
            inputs = {"purpose": PURPOSE, "recipient": recipient, "state": state}
            if state == "given":
                return GateAnswer(Gate.GRANT, Outcome.ALLOW, None, inputs)
            return GateAnswer(Gate.GRANT, Outcome.REFUSE, Reason.NO_GRANT, inputs)
    return GateAnswer(Gate.GRANT, Outcome.ALLOW, None, {"purpose": PURPOSE, "recipient": endpoint, "basis": "contract"})


async def step_grant(
    conn: Connection, subject: Subject, channel: str, now_s: float, purpose: str = PURPOSE
) -> GateAnswer:
    """Whether the owner may be reached on a channel for a purpose: only where that was given."""
    if subject.owner_ref is None:
        return GateAnswer(Gate.GRANT, Outcome.REFUSE, Reason.NO_OWNER, {"recipient": channel})
    state = await grant_state(conn, subject.tenant_id, subject.owner_ref, purpose, channel, to_datetime(now_s))
    inputs = {"purpose": purpose, "recipient": channel, "state": state or "never asked"}
    if state == "given":
        return GateAnswer(Gate.GRANT, Outcome.ALLOW, None, inputs)
    return GateAnswer(Gate.GRANT, Outcome.REFUSE, Reason.NO_GRANT, inputs)


async def quiet_hours(conn: Connection, settings: CrmSettings, subject: Subject, now_s: float) -> GateAnswer:
    """Whether the owner is awake: in the owner's zone, else in every zone that the owner may live in."""
    zones = _valid([subject.time_zone]) or _valid(await _possible_zones(conn, settings, subject))
    inputs: dict[str, object] = {"zones": [zone.key for zone in zones], "own": _valid([subject.time_zone]) != []}
    if not zones:
        return GateAnswer(Gate.QUIET_HOURS, Outcome.REFUSE, Reason.NO_TIME_ZONE, inputs)
    allowed_s = next_allowed_s(settings.quiet_hours, zones, now_s)
    if allowed_s is None:
        return GateAnswer(Gate.QUIET_HOURS, Outcome.REFUSE, Reason.NO_TIME_ZONE, inputs)
    if allowed_s > now_s:
        return GateAnswer(Gate.QUIET_HOURS, Outcome.HOLD, Reason.QUIET_HOURS, inputs, allowed_s)
    return GateAnswer(Gate.QUIET_HOURS, Outcome.ALLOW, None, inputs)


_ZONES_OF_ACCOUNT: Final[LiteralString] = """
SELECT DISTINCT time_zone FROM owner
 WHERE tenant_id = %s AND account_ref = %s AND time_zone IS NOT NULL
 ORDER BY time_zone
"""


async def _possible_zones(conn: Connection, settings: CrmSettings, subject: Subject) -> list[str]:
    """The zones of the owner's account and those that the tenant configured: the strictest of them binds."""
    zones = set(settings.time_zones)
    if subject.account_ref is not None:
        cursor = await conn.execute(_ZONES_OF_ACCOUNT, [subject.tenant_id, subject.account_ref])
        zones |= {row[0] async for row in cursor}
    return sorted(zones)


def _valid(names: list[str | None] | list[str]) -> list[ZoneInfo]:
    zones: list[ZoneInfo] = []
    for name in names:
        try:
            zones += [ZoneInfo(name)] if name else []
        except (ZoneInfoNotFoundError, ValueError):
            continue
    return zones
