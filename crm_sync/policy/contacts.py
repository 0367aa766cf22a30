"""How often, and of what, an owner was told: the gates of repetition, and the record that they count.

Counted is what a CRM has accepted, from us or from others, and what of ours is on its way: two steps that are decided
in the same moment must not both find room.
"""

from dataclasses import dataclass
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection

from crm_sync.contact_settings import OutreachSettings
from crm_sync.model import Case, Subject
from crm_sync.policy.caps import binding, next_allowed_s
from crm_sync.policy.model import Gate, GateAnswer, Outcome, Reason
from devices.clock import to_datetime
from devices.profiles.model import Severity

Connection = AsyncConnection[Any]

_ON_ITS_WAY: Final = ["sent"]
_OR_QUEUED: Final = ["sent", "queued"]


@dataclass(frozen=True, slots=True)
class Counting:
    """Whose contacts are counted for which step."""

    subject: Subject
    case: Case
    step_id: str | None  # it does not count itself
    at_send: bool  # then those still in the queue do not count: they will be asked after this one

    def values(self, now_s: float, back_s: float) -> dict[str, object]:
        """As the queries want them."""
        return {
            "tenant_id": self.subject.tenant_id,
            "owner_ref": self.subject.owner_ref,
            "asset_id": self.subject.asset_id,
            "problem": self.case.problem,
            "step_id": self.step_id,
            "states": _ON_ITS_WAY if self.at_send else _OR_QUEUED,
            "since": to_datetime(now_s - back_s),
        }


_TOLD: Final[LiteralString] = """
SELECT max(at) FROM (
    SELECT contacted_at AS at FROM owner_contact
     WHERE tenant_id = %(tenant_id)s AND owner_ref = %(owner_ref)s AND source = 'careloop'
       AND asset_id = %(asset_id)s AND problem = %(problem)s AND contacted_at > %(since)s
    UNION ALL
    SELECT coalesce(s.settled_at, s.queued_at, s.due_at)
      FROM held_step s JOIN outbox_message m USING (message_id) JOIN service_case c USING (case_id)
     WHERE s.tenant_id = %(tenant_id)s AND s.owner_ref = %(owner_ref)s AND s.state = ANY (%(states)s)
       AND s.step_id IS DISTINCT FROM %(step_id)s::text AND m.state = 'pending'
       AND c.asset_id = %(asset_id)s AND c.problem = %(problem)s
) AS told
"""


async def debounce(conn: Connection, settings: OutreachSettings, counting: Counting, now_s: float) -> GateAnswer:
    """Whether the owner has been told of the same problem of the same product lately."""
    cursor = await conn.execute(_TOLD, counting.values(now_s, settings.debounce))
    row = await cursor.fetchone()
    at = None if row is None else row[0]
    if at is None or at.timestamp() + settings.debounce <= now_s:
        return GateAnswer(Gate.DEBOUNCE, Outcome.ALLOW)
    inputs = {"told_at": at.isoformat(timespec="minutes")}
    return GateAnswer(Gate.DEBOUNCE, Outcome.REFUSE, Reason.TOLD_ALREADY, inputs, at.timestamp() + settings.debounce)


_CONTACTS: Final[LiteralString] = """
SELECT extract(epoch FROM contacted_at)::float8 FROM owner_contact
 WHERE tenant_id = %(tenant_id)s AND owner_ref = %(owner_ref)s AND contacted_at > %(since)s
UNION ALL
SELECT extract(epoch FROM coalesce(s.settled_at, s.queued_at, s.due_at))::float8
  FROM held_step s JOIN outbox_message m USING (message_id)
 WHERE s.tenant_id = %(tenant_id)s AND s.owner_ref = %(owner_ref)s AND s.state = ANY (%(states)s)
   AND s.step_id IS DISTINCT FROM %(step_id)s::text AND m.state = 'pending'
"""


async def frequency_cap(conn: Connection, settings: OutreachSettings, counting: Counting, now_s: float) -> GateAnswer:
    """Whether one more contact is too many, over all products of the owner and all teams that we know of.

    What is critical is told however often the owner was contacted: it is exempt from the cap, and from nothing else.
    """
    if not settings.caps:
        return GateAnswer(Gate.FREQUENCY_CAP, Outcome.ALLOW, None, {"caps": "none"})
    if counting.case.severity is Severity.CRITICAL:
        return GateAnswer(Gate.FREQUENCY_CAP, Outcome.ALLOW, None, {"exempt": "critical"})
    cursor = await conn.execute(_CONTACTS, counting.values(now_s, settings.longest_cap_s))
    contacts_s = [row[0] async for row in cursor]
    inputs: dict[str, object] = {"contacts": len(contacts_s), "within_h": round(settings.longest_cap_s / 3600)}
    cap = binding(settings.caps, contacts_s, now_s)
    if cap is None:
        return GateAnswer(Gate.FREQUENCY_CAP, Outcome.ALLOW, None, inputs)
    inputs = {
        "contacts": sum(at_s > now_s - cap.within for at_s in contacts_s),
        "allowed": cap.contacts,
        "within_h": round(cap.within / 3600, 2),
    }
    until_s = next_allowed_s(settings.caps, contacts_s, now_s)
    return GateAnswer(Gate.FREQUENCY_CAP, Outcome.HOLD, Reason.FREQUENCY_CAP, inputs, until_s)


_ALONE: Final[LiteralString] = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 7261))"


async def alone_with(conn: Connection, subject: Subject) -> None:
    """Until the transaction ends, nobody else decides about sending this owner something."""
    await conn.execute(_ALONE, [f"{subject.tenant_id}/{subject.owner_ref}"])


_ACCEPTED: Final[LiteralString] = """
INSERT INTO owner_contact (
    tenant_id, owner_ref, channel, contacted_at, source, reference, by_human, case_id, asset_id, model, problem, action
)
SELECT s.tenant_id, s.owner_ref, s.channel, %(now)s, 'careloop', s.step_id, false, s.case_id, c.asset_id, a.model,
       c.problem, coalesce(s.template, s.kind)
  FROM held_step s JOIN service_case c USING (case_id) LEFT JOIN asset a ON a.asset_id = c.asset_id
 WHERE s.message_id = %(message_id)s
ON CONFLICT DO NOTHING
"""


async def note_accepted(conn: Connection, message_id: str, now_s: float) -> None:
    """A CRM took the message: if it bears a step, its owner has been contacted, once."""
    await conn.execute(_ACCEPTED, {"message_id": message_id, "now": to_datetime(now_s)})


@dataclass(frozen=True, slots=True)
class Told:
    """A contact of an owner that somebody else made."""

    owner_ref: str
    channel: str | None
    at_s: float
    source: str  # the endpoint that tells of it
    reference: str  # what it calls it: the same contact counts once
    by_human: bool


_TOLD_OF: Final[LiteralString] = """
INSERT INTO owner_contact (tenant_id, owner_ref, channel, contacted_at, source, reference, by_human)
VALUES (%s, %s, %s, %s, %s, %s, %s)
ON CONFLICT DO NOTHING
RETURNING owner_ref
"""


async def note_told(conn: Connection, tenant_id: str, told: Told) -> bool:
    """Keep a contact that another team made; False where it is known."""
    values = [tenant_id, told.owner_ref, told.channel, to_datetime(told.at_s), told.source, told.reference]
    return await (await conn.execute(_TOLD_OF, [*values, told.by_human])).fetchone() is not None
