"""What cases ask of trust: a watch's mode, room in the budget; and what they tell it: episodes and their endings."""

from dataclasses import dataclass

from crm_sync.cases.desk import Arrival, Desk
from crm_sync.cases.queries import Connection
from crm_sync.model import AlarmState, Case, CaseAlarm, Resolution, Subject
from crm_sync.policy.model import GateAnswer
from crm_sync.together import together
from crm_sync.trust import gate, queries, verdicts
from crm_sync.trust.definitions import Stated
from crm_sync.trust.gate import Question, Room, is_stated
from crm_sync.trust.history import Sighting, place
from crm_sync.trust.models import trusted_model, trusted_watch
from crm_sync.trust.precision import measure
from crm_sync.trust.queries import WatchKey
from crm_sync.trust.verdicts import Said
from devices.profiles.model import Severity, WatchMode


@dataclass(frozen=True, slots=True)
class Leave:
    """Whether an alarm's watch may open cases, and whether a person is asked first."""

    mode: WatchMode
    answer: GateAnswer | None  # None where trust is not at work


async def note_episode(conn: Connection, desk: Desk, arrival: Arrival) -> None:
    """Give an alarm its place in the history of its watch; one that late readings took back was false.

    One that is taken back for another reason says nothing about its watch.
    """
    if desk.trust is None:
        return
    key, notice = _key(desk, arrival), arrival.notice
    if await queries.find_standing(conn, key) is None:
        await queries.add_watches(conn, {key: _initial_mode(desk, arrival.subject, notice.watch)}, arrival.now_s)
    seen = Sighting(notice.alarm_id, key, notice.score, notice.ts_s - notice.started_at_s)
    await place(conn, seen, arrival.now_s, desk.trust.budget.memory)
    if arrival.alarm.state is AlarmState.RETRACTED and not notice.because:
        said = Said(notice.tenant_id, "false", "retraction", "late readings", alarm_id=notice.alarm_id)
        await verdicts.say(conn, said, arrival.now_s)


async def ask_leave(conn: Connection, desk: Desk, arrival: Arrival) -> Leave:
    """Whether the watch is trusted to open cases."""
    if desk.trust is None:
        return Leave(WatchMode.AUTO, None)
    standing = await queries.find_standing(conn, _key(desk, arrival))
    mode = WatchMode.AUTO if standing is None else standing.mode
    return Leave(mode, gate.mode_answer(standing))


async def find_room(conn: Connection, desk: Desk, arrival: Arrival) -> Room | None:
    """What the budget says; None where there is none."""
    if desk.trust is None or not desk.trust.budget.enabled:
        return None
    return await gate.find_room(conn, desk.trust, _question(desk, arrival), arrival.now_s)


async def take_room(conn: Connection, desk: Desk, arrival: Arrival, room: Room | None, case: Case) -> None:
    """Book a case that has opened, or is proposed."""
    if desk.trust is not None and room is not None:
        await gate.take_room(conn, desk.trust, _question(desk, arrival), room, case.case_id)


async def tell_ending(conn: Connection, desk: Desk, case: Case, resolution: Resolution, now_s: float) -> None:
    """Telemetry ended a case, which says a little about whether it was true."""
    if desk.trust is not None and resolution is Resolution.RECOVERED_IN_TELEMETRY:
        await verdicts.say_recovered(conn, case.tenant_id, case.case_id, now_s)


async def confidence_of(
    conn: Connection, desk: Desk, subject: Subject, alarm: CaseAlarm, now_s: float
) -> tuple[float | None, float | None]:
    """How often the watch of an alarm was right, and how strong the alarm became; None of what is not known."""
    if desk.trust is None:
        return None, None
    model = trusted_model(desk.profiles, subject.model)
    watch = trusted_watch(model, alarm.watch, alarm.kind)
    since_s = now_s - desk.trust.trust.window
    (right, wrong), episode = await together(
        queries.outcomes_since(conn, WatchKey(subject.tenant_id, model, watch), since_s),
        queries.find_episode(conn, alarm.alarm_id),
    )
    precision = measure(right, wrong, desk.trust.trust.confidence).mean
    return precision, None if episode is None else episode.score


def stated_watches(desk: Desk, tenant_id: str) -> dict[WatchKey, Stated]:
    """Every watch that a profile names, and what it says of it."""
    return {
        WatchKey(tenant_id, model, watch.name): Stated.by(watch, ours=profile.automatic)
        for model, profile in desk.profiles.items()
        for watch in profile.watches
    }


def _initial_mode(desk: Desk, subject: Subject, name: str) -> WatchMode:
    profile = desk.profile_of(subject)
    named = {} if profile is None else {watch.name: watch for watch in profile.watches}
    return named[name].mode if name in named else WatchMode.AUTO


def _key(desk: Desk, arrival: Arrival) -> WatchKey:
    """The watch as trust knows it."""
    notice, model = arrival.notice, trusted_model(desk.profiles, arrival.subject.model)
    return WatchKey(notice.tenant_id, model, trusted_watch(model, notice.watch, notice.kind))


def _question(desk: Desk, arrival: Arrival) -> Question:
    critical = arrival.alarm.severity is Severity.CRITICAL
    alarm = arrival.alarm
    return Question(_key(desk, arrival), alarm.alarm_id, alarm.started_at_s, critical, is_stated(alarm.kind))
