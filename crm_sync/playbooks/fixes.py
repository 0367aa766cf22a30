"""Silent fixes: a command is put for the product, and what came of it is learnt."""

from hashlib import blake2b

from crm_sync.model import Case, Resolution
from crm_sync.playbooks import fix_queries, queries
from crm_sync.playbooks.decide import Decision
from crm_sync.playbooks.fix_queries import Connection, SilentFix
from devices.commands.model import NewCommand
from devices.commands.queries import cancel_command, put_command
from devices.profiles.model import AGENT_SEES, OWNER_SEES, ActionKind, Profile


def command_id_of(case_id: str, number: int) -> str:
    """The id of the command of one round of a case: the same whenever it is worked out."""
    return f"fix_{blake2b(f'{case_id}/{number}'.encode(), digest_size=16).hexdigest()}"


async def order(
    conn: Connection, case: Case, decision: Decision, profile: Profile, now_s: float, *, holds_case: bool
) -> str | None:
    """Put the command of a decision for the gateway to send; its id, or None where one of its kind is on its way."""
    assert decision.fix is not None  # the caller has looked
    action = decision.fix.candidate.action
    assert action.command is not None  # as the profile was checked
    said = profile.commands[action.command]
    command = NewCommand(
        command_id=command_id_of(case.case_id, decision.number),
        tenant_id=case.tenant_id,
        device_id=case.device_id,
        name=action.command,
        issued_by=f"playbook:{case.case_id}",
        issued_at_s=now_s,
        expires_at_s=now_s + (action.expires_after or said.expires_after),
        answer_within_s=said.answer_within,
        data=action.data,
    )
    if not await put_command(conn, command):
        return None
    fix = SilentFix(
        command.command_id, case.case_id, action.command, action.key, "ordered", holds_case, action.verify_within
    )
    await fix_queries.add_fix(conn, case, fix, decision.number, now_s)
    return command.command_id


async def drop(conn: Connection, case: Case, now_s: float) -> None:
    """Give up the silent fix of a case that is over; what its product was not told yet, it is not told any more."""
    fix = await fix_queries.open_fix_of(conn, case.case_id)
    if fix is not None:
        await fix_queries.settle_fix(conn, fix.command_id, "dropped", "case_closed", now_s)
        await cancel_command(conn, case.tenant_id, fix.command_id, "the case is closed")


async def learn_from_ending(conn: Connection, case: Case, now_s: float) -> None:
    """What the end of a case says about what was done: an agent who mends it was right, and the message was not enough.

    An agent's word that nothing was wrong says nothing about actions. What telemetry closes after the owner was told
    is counted for the message.
    """
    if case.resolution is Resolution.RESOLVED_BY_AGENT and case.outcome == "true":
        await queries.settle_actions(conn, case.case_id, list(AGENT_SEES), "worked", "resolved_by_agent", now_s)
        if await queries.owner_was_told(conn, case.case_id):
            await queries.settle_actions(conn, case.case_id, list(OWNER_SEES), "failed", "an_agent_was_needed", now_s)
    elif case.resolution is Resolution.RECOVERED_IN_TELEMETRY and await queries.owner_was_told(conn, case.case_id):
        await queries.settle_actions(conn, case.case_id, list(OWNER_SEES), "worked", "recovered_in_telemetry", now_s)


async def learn_from_relapse(conn: Connection, case: Case, now_s: float) -> None:
    """What seemed to have helped has not: the fault is back."""
    await queries.settle_actions(conn, case.case_id, list(ActionKind), "failed", "relapse", now_s, only_known=True)
