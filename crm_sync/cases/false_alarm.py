"""A false alarm, by the word of an agent: what remains to be said of its case."""

from crm_sync.brief import write_ending
from crm_sync.cases.queries import Connection
from crm_sync.model import Case, Resolution, Subject
from crm_sync.playbooks.queries import owner_was_told
from crm_sync.wording.wording import Wording


async def write_taken_back(
    conn: Connection, case: Case, subject: Subject, now_s: float, wording: Wording
) -> tuple[str, bool]:
    """The ending, and whether it asks agents to apologise: so where the owner had been contacted for nothing."""
    ending = write_ending(Resolution.CALLED_WRONG_BY_AGENT, subject, now_s, now_s, wording)
    if not await owner_was_told(conn, case.case_id):
        return ending, False
    return f"{ending} {wording.words.false_alarm.apology}", True
