"""The fleet layer's part in the ingest transaction: what one batch's alarms mean for many devices.

Everything it knows is in the database, read and written in the transaction that its findings belong to: a transaction
that fails takes all of it back, and a gateway that is killed finds it as its last commit left it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from crm_sync.inbox import AlarmNotice
from crm_sync.incidents import put_incidents
from crm_sync.together import together
from crm_sync.trust.models import trusted_model
from crm_sync.trust.shadows import is_shadow, list_shadows
from devices.profiles.model import Profile
from devices.registry.model import FirmwareSeen
from gateway.cohorts import incidents, queries
from gateway.cohorts.comparison import Comparison, Sign
from gateway.cohorts.dips import KINDS, Scope
from gateway.cohorts.incidents import IncidentKind
from gateway.cohorts.opening import Opening
from gateway.cohorts.queries import Connection, DeviceFacts
from gateway.cohorts.rollouts import state_name, take_updates
from gateway.cohorts.settings import FleetSettings
from gateway.cohorts.state import DipState, ModelState, decode_dips, decode_model, encode
from gateway.cohorts.turn import Now, Turn

DIPS: Final = "dips"
OUTAGE_S: Final = 60.0
"""The healthy clock may lag behind by this much before it counts as an outage of ours."""

STALE_S: Final = 86_400.0
"""Alarms of a device whose newest reading is older than this tell of history."""

FRESH_S: Final = 3 * 86_400.0
"""A device that got a firmware which is being compared so recently is evidence about that, not about the fleet."""


class FleetLayer:
    """Looks at alarms across devices; without a memory of its own."""

    def __init__(
        self, settings: FleetSettings, tenant_id: str, profiles: Mapping[str, Profile], edge_nodes: Sequence[str] = ()
    ) -> None:
        """`edge_nodes` are ids and patterns of who only speaks for others: those of no model are not counted."""
        self._edge_nodes = edge_nodes
        self._settings = settings
        self._tenant_id = tenant_id
        self._profiles = profiles
        self._opening = Opening(settings, {model: profile.title for model, profile in profiles.items()})

    async def updated(self, conn: Connection, seen: Sequence[FirmwareSeen], now_s: float) -> None:
        """Devices have changed their firmware, which is written down."""
        if seen and self._settings.enabled:
            await take_updates(conn, seen, now_s)

    async def take_in(self, conn: Connection, notices: Sequence[AlarmNotice], now: Now) -> Sequence[AlarmNotice]:
        """Alarms have changed, which is written down; gives the same notices, marked with their incident or hold."""
        if not notices or not self._settings.enabled:
            return notices
        raised = [each for each in notices if each.event == "raised" and each.tenant_id == self._tenant_id]
        if not raised:
            return await _marked(conn, notices) if await incidents.list_open(conn) else notices
        turn = await self._turn(conn, raised, now)
        await _compare(conn, turn)
        await self._count_signs(conn, turn)
        told = await self._opening.open(conn, turn, {notice.alarm_id for notice in notices})
        await self._save(conn, turn)
        await _join(conn, turn)
        await put_incidents(conn, told)
        marked = await _marked(conn, notices) if turn.going_on else notices
        news = {notice.alarm_id for notice in turn.raised}
        return [self._held(notice, turn) if notice.alarm_id in news else notice for notice in marked]

    async def _turn(self, conn: Connection, raised: Sequence[AlarmNotice], now: Now) -> Turn:
        facts, shadows, going_on = await together(
            queries.read_facts(conn, {notice.device_id for notice in raised}),
            list_shadows(conn, self._tenant_id),
            incidents.list_open(conn),
        )
        models = sorted({each.model for each in facts.values()})
        found = await queries.read_states(conn, self._tenant_id, [DIPS, *map(state_name, models)])
        dips = found.get((self._tenant_id, DIPS))
        return Turn(
            tenant_id=self._tenant_id,
            now=now,
            raised=[notice for notice in raised if self._is_evidence(notice, facts, shadows)],
            facts=facts,
            going_on=going_on,
            models={
                (self._tenant_id, model): decode_model(found[self._tenant_id, state_name(model)])
                for model in models
                if (self._tenant_id, state_name(model)) in found
            },
            dips=DipState() if dips is None else decode_dips(dips),
        )

    def _is_evidence(
        self, notice: AlarmNotice, facts: Mapping[str, DeviceFacts], shadows: set[tuple[str, str]]
    ) -> bool:
        """Whether an alarm says anything: not of history, nor of a watch that is only being tried."""
        device = facts.get(notice.device_id)
        if device is None:
            return False
        if is_shadow(shadows, trusted_model(self._profiles, device.model), notice.watch, notice.kind):
            return False
        return notice.kind == "silence" or notice.recorded_at_s - notice.head_ts_s <= STALE_S

    async def _save(self, conn: Connection, turn: Turn) -> None:
        for (tenant_id, model), state in turn.models.items():
            if state.comparisons:
                await queries.put_state(conn, tenant_id, state_name(model), encode(state))
        await queries.put_state(conn, self._tenant_id, DIPS, encode(turn.dips))

    async def _count_signs(self, conn: Connection, turn: Turn) -> None:
        """Let each scope take the devices that fell silent or out of use."""
        dips, now = turn.dips, turn.now
        dips.look_at_clocks(now.now_s, now.alive_s, OUTAGE_S)
        for scope in dips.scopes.values():
            scope.advance(now.now_s)
        fallen = {notice.device_id for notice in turn.raised if _is_sign(turn, notice)}
        if not fallen or now.now_s < dips.blind_until_s:
            return
        if not dips.scopes:
            await self._count_devices(conn, dips, now.now_s)
        fresh = await queries.put_signs(conn, self._tenant_id, sorted(fallen), now.now_s)
        for name, scope in dips.scopes.items():
            scope.count(Counter(turn.facts[each].model for each in fresh if name in _scopes_of(turn.facts[each])))

    async def _count_devices(self, conn: Connection, dips: DipState, now_s: float) -> None:
        """Take the fleet's size by scope as the registry has it."""
        dips.counted_s = now_s
        sizes: dict[str, Counter[str]] = {}
        for (model, region), count in (await queries.count_devices(conn, self._tenant_id, self._edge_nodes)).items():
            for name in ("*", f"model:{model}", *([f"region:{region}"] if region else [])):
                sizes.setdefault(name, Counter())[model] += count
        for name, devices in sizes.items():
            scope = dips.scopes.setdefault(name, Scope(now_s, now_s, {}))
            scope.devices = dict(sorted(devices.items()))

    def _held(self, notice: AlarmNotice, turn: Turn) -> AlarmNotice:
        """A notice whose case waits, where its cohort is suspected and nothing dangerous goes on."""
        facts, settings = turn.facts.get(notice.device_id), self._settings
        is_news = notice.event == "raised" and notice.incident_id is None
        if facts is None or not is_news or notice.severity == "critical" or settings.hold <= 0:
            return notice
        comparison = turn.comparison_of(facts)
        is_suspected = comparison is not None and comparison.is_suspected(notice.problem, settings.smallest)
        if notice.kind in KINDS and not is_suspected:
            scopes = [turn.dips.scopes[name] for name in _scopes_of(facts) if name in turn.dips.scopes]
            is_suspected = any(scope.is_suspected(settings.dip_share, settings.smallest) for scope in scopes)
        return replace(notice, hold_until_s=turn.now.now_s + settings.hold) if is_suspected else notice

    async def look(self, conn: Connection, now: Now) -> bool:
        """What is due though no alarm has changed: incidents and comparisons that are over; True if one was told of."""
        if not self._settings.enabled:
            return False
        going_on = await incidents.list_open(conn)
        found = await queries.read_states(conn)
        models = {
            (tenant, name.removeprefix("model:")): decode_model(text)
            for (tenant, name), text in found.items()
            if name != DIPS
        }
        text = found.get((self._tenant_id, DIPS))
        dips = DipState() if text is None else decode_dips(text)
        dips.look_at_clocks(now.now_s, now.alive_s, OUTAGE_S)
        for scope in dips.scopes.values():
            scope.advance(now.now_s)
        await self._count_devices(conn, dips, now.now_s)
        told = await self._opening.end(conn, models, going_on, now.now_s)
        await self._opening.close_comparisons(conn, models, going_on, now.now_s)
        for (tenant_id, model), state in models.items():
            if encode(state) != found[tenant_id, state_name(model)]:
                await queries.put_state(conn, tenant_id, state_name(model), encode(state))
        await queries.put_state(conn, self._tenant_id, DIPS, encode(dips))
        await queries.drop_signs(conn, now.now_s - FRESH_S)
        await put_incidents(conn, told)
        return bool(told)


async def _compare(conn: Connection, turn: Turn) -> None:
    """Let each comparison of a model take the first alarms of its devices' problems."""
    for (tenant_id, model), state in turn.models.items():
        mine = [(notice, turn.facts[notice.device_id]) for notice in turn.raised if not _is_of_dip(turn, notice)]
        for comparison in state.comparisons:
            comparison.advance(turn.now.now_s)
            told = {
                (facts.device_id, notice.problem, facts.firmware == comparison.firmware): facts.place
                for notice, facts in mine
                if facts.model == model and _is_of(comparison, state, notice, facts)
            }
            if told:
                fresh = await queries.put_affected(conn, tenant_id, model, comparison.firmware, list(told))
                comparison.count([Sign(place, key[1], key[2]) for key, place in told.items() if key in fresh])


async def _join(conn: Connection, turn: Turn) -> None:
    """Make members of the raised alarms that an incident covers."""
    for incident in turn.going_on:
        joined = [
            (notice.alarm_id, notice.device_id)
            for notice in turn.raised
            if turn.incident_of(notice, turn.facts[notice.device_id]) is incident
        ]
        if joined:
            await incidents.join(conn, incident, joined, turn.now.now_s)


async def _marked(conn: Connection, notices: Sequence[AlarmNotice]) -> Sequence[AlarmNotice]:
    """The notices, each with the incident that its alarm is part of."""
    members = await incidents.memberships(conn, [notice.alarm_id for notice in notices])
    return [replace(notice, incident_id=members.get(notice.alarm_id)) for notice in notices]


def _is_of_dip(turn: Turn, notice: AlarmNotice) -> bool:
    incident = turn.incident_of(notice, turn.facts[notice.device_id])
    return incident is not None and incident.kind is IncidentKind.FLEET_DIP


def _is_sign(turn: Turn, notice: AlarmNotice) -> bool:
    """Whether an alarm tells of a device that fell silent or out of use, and is not explained already."""
    facts = turn.facts[notice.device_id]
    if notice.kind not in KINDS or turn.incident_of(notice, facts) is not None:
        return False
    return turn.comparison_of(facts) is None or notice.ts_s - (facts.since_s or 0.0) >= FRESH_S


def _is_of(comparison: Comparison, state: ModelState, notice: AlarmNotice, facts: DeviceFacts) -> bool:
    """Whether an alarm tells of the time that a comparison looks at."""
    if facts.firmware is None or facts.since_s is None:
        return False
    if facts.firmware == comparison.firmware:
        return notice.ts_s >= facts.since_s
    is_newer = state.known.get(facts.firmware, 0.0) > comparison.since_s
    return not is_newer and notice.ts_s >= comparison.since_s


def _scopes_of(facts: DeviceFacts) -> tuple[str, ...]:
    return ("*", f"model:{facts.model}", *([f"region:{facts.region}"] if facts.region else []))
