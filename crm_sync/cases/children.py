"""The children of a major case: taken with what was planned for their owners, and let go when it is over."""

from dataclasses import replace
from typing import Final

from crm_sync.cases import announce, major_queries, step_queries
from crm_sync.cases import queries as cases
from crm_sync.cases.announce import LEFT_MAJOR_CASE, News
from crm_sync.cases.desk import find_subject
from crm_sync.cases.lifecycle import observe
from crm_sync.cases.major_queries import Major
from crm_sync.cases.queries import Connection, DecisionAbout, Transition
from crm_sync.model import Case
from crm_sync.policy.cohort import told_as_one
from crm_sync.policy.model import Outcome, Reason
from crm_sync.settings import MessageType

TOLD_CHILDREN: Final = 50
"""Cases whose CRM records are told one by one that they belong to a major case; others say so in their next message."""


async def adopt(conn: Connection, major: Major, case: Case, now_s: float) -> None:
    """Make a held live case a child of the major one, and tell the CRMs that know it, unless there are many.

    What was planned for its owner is withdrawn: a major case speaks for all of them.
    """
    if not await major_queries.adopt(conn, major.case_id, case.case_id):
        return
    await observe(conn, case, Transition(None, case.state, "fleet", "joined_major_case", major.case_id), now_s)
    subject = await find_subject(conn, case.tenant_id, case.device_id)
    answer = told_as_one(case, major.case_id)
    if answer.outcome is not Outcome.ALLOW:
        channels = await step_queries.withdraw_steps(conn, case.case_id, Reason.INCIDENT, now_s)
        abouts = [DecisionAbout(subject, "step", channel, case.case_id) for channel in channels]
        await cases.add_decisions(conn, [(about, answer) for about in abouts], now_s)
    if await major_queries.count_children(conn, major.case_id) <= TOLD_CHILDREN:
        news = News(MessageType.CASE_UPDATED, "joined_major_case")
        await announce.tell(conn, replace(case, parent_id=major.case_id), subject, news, now_s)


LEAVE_AT_ONCE: Final = 50
"""Children that leave in a transaction: each takes some milliseconds, and its messages are sent from the commit on."""


async def let_go(conn: Connection, major: Major, now_s: float) -> bool:
    """Let children that are live still go on by themselves: the incident is over, and their own trouble is not.

    Some at a time; True when none is left, so that whoever is interrupted goes on where it was.
    What was planned for their owners is asked about anew, every gate of it. CRMs hear of it before they hear that the
    major case is over: some close what is tied to a record together with it.
    """
    leaving = await major_queries.children_of(conn, major.case_id, LEAVE_AT_ONCE)
    for case_id in leaving:
        case = await cases.lock_case(conn, case_id)
        await major_queries.let_go(conn, case_id, now_s)
        if case is None or not case.state.is_live:
            continue
        await observe(conn, case, Transition(None, case.state, "fleet", LEFT_MAJOR_CASE, major.case_id), now_s)
        await step_queries.plan_anew(conn, case_id, Reason.INCIDENT, now_s)
        subject = await find_subject(conn, case.tenant_id, case.device_id)
        left = replace(case, parent_id=major.case_id)
        await announce.tell(conn, left, subject, News(MessageType.CASE_UPDATED, LEFT_MAJOR_CASE), now_s)
    return len(leaving) < LEAVE_AT_ONCE
