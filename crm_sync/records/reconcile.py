"""Compares every case with the record that a CRM has of it, and says in words where the two disagree."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from crm_sync.adapters.contract import OWN_LIMIT, Audit, Audited, Delivery
from crm_sync.cases import announce
from crm_sync.cases import queries as case_queries
from crm_sync.cases.announce import News, case_data, farewell
from crm_sync.cases.cohort_data import cohort_data
from crm_sync.cases.desk import find_subject
from crm_sync.model import Case
from crm_sync.outbox import OutboxMessage, encode_body
from crm_sync.records import queries
from crm_sync.records.queries import Told
from crm_sync.settings import MessageType
from devices.errors import Retryable

Pool = AsyncConnectionPool[AsyncConnection[Any]]

RETOLD: Final = "reconciled"
"""The change that a case's message gives when it is told again because its record had drifted."""


class Disagreement(StrEnum):
    """How a case and its record can disagree."""

    MISSING = "missing"  # no record, though the CRM said that it had made one
    SEVERAL = "several"
    FIELD = "field"  # something is not as it was told
    CLOSED_THERE = "closed_there"
    OPEN_THERE = "open_there"
    UNASKED = "unasked"  # the CRM did not answer


@dataclass(frozen=True, slots=True)
class Drift:
    """One case that its record disagrees with."""

    case_id: str
    external_id: str | None
    what: Disagreement
    says: str
    retold: bool = False  # the case is told again


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """One endpoint, and who asks."""

    pool: Pool
    tenant_id: str
    endpoint: str
    adapter: Audited
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def compare(self, since_s: float) -> AsyncGenerator[tuple[str, list[Drift]]]:
        """Each live case and each that ended since then, with what its record has otherwise; nothing is changed.

        What is on its way to a record is not compared: it will be told in a moment.
        """
        async with self.pool.connection() as conn:
            told = await queries.list_told(conn, self.tenant_id, self.endpoint, since_s)
        for each in told:
            async with self.pool.connection() as conn:
                case = await case_queries.read_case(conn, each.case_id)
                look = None if case is None else await _look(conn, case, each.external_id)
            if case is None or look is None:
                continue
            try:
                audit = await self._audit(look, is_live=case.state.is_live)
            except Retryable as error:
                yield each.case_id, [Drift(each.case_id, each.external_id, Disagreement.UNASKED, str(error))]
                continue
            yield each.case_id, judge(case, each, audit)

    async def _audit(self, look: Delivery, *, is_live: bool) -> Audit:
        """Ask for one record, at the pace that the endpoint's own limit allows. Raises Retryable."""
        while True:
            try:
                return await self.adapter.audit(look, is_live=is_live)
            except Retryable as error:
                if error.reason != OWN_LIMIT:
                    raise
                await self.sleep(error.retry_after_s or 1.0)

    async def retell(self, drifts: Sequence[Drift], now_s: float) -> list[Drift]:
        """Tell a case again, once, whose record has a field or an end too few; any other drift is for a person."""
        mended = [drift for drift in drifts if drift.what in {Disagreement.FIELD, Disagreement.OPEN_THERE}]
        if not mended or not await self._tell_again(mended[0].case_id, now_s):
            return list(drifts)
        return [replace(drift, retold=True) if drift in mended else drift for drift in drifts]

    async def _tell_again(self, case_id: str, now_s: float) -> bool:
        async with self.pool.connection() as conn, conn.transaction():
            case = await case_queries.lock_case(conn, case_id)
            if case is None:
                return False
            subject = await find_subject(conn, case.tenant_id, case.device_id)
            news = News(MessageType.CASE_UPDATED, RETOLD, only=self.endpoint)
            if not case.state.is_live:
                news = News(farewell(case).type, RETOLD, only=self.endpoint)
            await announce.tell(conn, case, subject, news, now_s)
        return True


def judge(case: Case, told: Told, audit: Audit) -> list[Drift]:
    """Where a case and its record disagree."""
    found: list[tuple[Disagreement, str]] = []
    if audit.records == 0:
        if case.state.is_live:
            found.append((Disagreement.MISSING, "no record: somebody removed it, or it was never kept"))
    elif audit.records > 1:
        found.append((Disagreement.SEVERAL, f"{audit.records} records bear the case's id"))
    else:
        found += [(Disagreement.FIELD, says) for says in audit.fields]
        if audit.is_closed is not None and audit.is_closed == case.state.is_live:
            there = "closed there, and here" if audit.is_closed else "open there, and here"
            what = Disagreement.CLOSED_THERE if audit.is_closed else Disagreement.OPEN_THERE
            found.append((what, f"{there} {case.state}"))
    return [Drift(case.case_id, audit.external_id or told.external_id, what, says) for what, says in found]


async def _look(conn: AsyncConnection[Any], case: Case, external_id: str | None) -> Delivery:
    """What would be told of a case now: what its record is held against."""
    subject = await find_subject(conn, case.tenant_id, case.device_id)
    news = News(MessageType.CASE_UPDATED, RETOLD)
    data = case_data(case, subject, await case_queries.alarms_of(conn, case.case_id), news)
    data |= await cohort_data(conn, case)
    message = OutboxMessage(case.tenant_id, "", case.case_id, MessageType.CASE_UPDATED, data, case.updated_at_s)
    body = encode_body(message)
    return Delivery(case.case_id, message.message_id, message.type, body, external_id, 1, uncertain=False)
