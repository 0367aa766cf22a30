"""What would come of readings: the detectors and the CRM side, on the clock that the lines tell of."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from crm_sync.cases.callback import CaseCallback, apply_callback
from crm_sync.cases.desk import Desk
from crm_sync.inbox import AlarmNotice
from crm_sync.queries import CaseFilter, CaseView, list_cases
from crm_sync.trust.shown import show_budget
from devices.profiles import AUTOMATIC
from devices.profiles.model import Profile
from gateway.alarms import alarm_id_of, notice_of
from gateway.backtest.apart import Connection
from gateway.backtest.crm_side import CrmSide
from gateway.detect.acquainting import Acquainting
from gateway.detect.engine import Engine
from gateway.detect.model import AlarmChange
from gateway.detect.settings import DetectSettings
from gateway.rehearsal.batch import batch_of
from gateway.rehearsal.lines import Line, Word, say_alarm, say_case

PAGE: Final = 200  # cases


@dataclass(frozen=True, slots=True)
class House:
    """What a rehearsal needs to know."""

    desk: Desk
    detect: DetectSettings
    tenant_id: str
    model_of: Mapping[str, str | None]  # of registered devices; all others are the automatic profile's

    def profile_of(self, device_id: str) -> Profile:
        """The profile that a device's readings follow."""
        return self.desk.profiles.get(self.model_of.get(device_id) or "") or AUTOMATIC


@dataclass(slots=True)
class _Alarm:
    first: AlarmChange
    state: str
    raised_at_s: float


@dataclass(slots=True)
class Rehearsal:
    """Lines in, and at each moment the cases that have opened by then."""

    house: House
    conn: Connection
    _engine: Engine = field(init=False)
    _acquainting: Acquainting = field(init=False)
    _crm: CrmSide = field(init=False)
    _heads: dict[str, float] = field(default_factory=dict[str, float])
    _waiting: list[Line] = field(default_factory=list[Line])
    _alarms: dict[str, _Alarm] = field(default_factory=dict[str, _Alarm])
    _told: set[str] = field(default_factory=set[str])  # cases

    def __post_init__(self) -> None:
        self._engine = Engine(self.house.desk.profiles, self.house.detect)
        self._acquainting = Acquainting(self._engine)
        self._crm = CrmSide(self.conn, self.house.desk, self.house.tenant_id, self._heads)

    def take(self, line: Line) -> None:
        """Keep what a device sent until the clock goes on."""
        self._waiting.append(line)

    async def hear(self, word: Word) -> str:
        """Take somebody's word on a case, as a CRM's callback; gives its effect."""
        endpoints = self.house.desk.case_endpoints()
        if not endpoints:
            return "no_endpoint"
        callback = CaseCallback(
            self.house.tenant_id, endpoints[0].name, word.case, "resolved", word.at, outcome=word.outcome
        )
        async with self.conn.transaction():
            return await apply_callback(self.conn, callback, wording=self.house.desk.wording)

    async def go_on(self, until_s: float) -> Sequence[Mapping[str, object]]:
        """Judge what has come, let the clock run to a moment, and tell the cases that are new."""
        self._acquainting.look(until_s)
        samples, events = batch_of(self._waiting, self.house.profile_of)
        for line in self._waiting:
            if line.device is not None and line.ts:
                self._heads[line.device] = max(max(line.ts) / 1e3, self._heads.get(line.device, 0.0))
        self._waiting.clear()
        changes = self._engine.judge(samples, events) if samples or events is not None else []
        changes += self._engine.due(until_s, until_s)
        changes.sort(key=lambda change: change.ts_s)
        await self._crm.take([self._notice(change, until_s) for change in changes])
        await self._crm.pass_time(until_s)
        fresh = [view async for view in self._cases(only_new=True)]
        self._told.update(view.case.case_id for view in fresh)
        return [say_case(view) for view in fresh]

    async def report(self, now_s: float) -> Sequence[Mapping[str, object]]:
        """Every alarm and case, and what the budget held back."""
        rules = self.house.desk.trust
        assert rules is not None  # a rehearsal is about them
        shown = await show_budget(self.conn, self.house.tenant_id, rules, now_s, exact=True)
        alarms = [say_alarm(alarm.first, alarm.state, alarm.raised_at_s) for alarm in self._alarms.values()]
        cases = [say_case(view) async for view in self._cases(only_new=False)]
        return [
            *({"alarm": alarm} for alarm in alarms),
            *({"case": case} for case in cases),
            {"held_back": dict(shown.held_back or {}), "parked": self._crm.stats.parked},
        ]

    def _notice(self, change: AlarmChange, at_s: float) -> AlarmNotice:
        alarm_id = alarm_id_of(change.device_id, change.watch, change.started_at_s)
        known = self._alarms.setdefault(alarm_id, _Alarm(change, "active", at_s))
        known.state = "active" if change.event in {"raised", "updated"} else change.event
        head_s = self._heads.get(change.device_id, change.ts_s)
        return notice_of(change, alarm_id, self.house.tenant_id, head_s, at_s)

    async def _cases(self, *, only_new: bool) -> AsyncIterator[CaseView]:
        """Cases, the newest first; only those that were not told of yet, where so asked."""
        cursor: str | None = None
        while True:
            page = await list_cases(self.conn, self.house.tenant_id, CaseFilter(), cursor, PAGE)
            for view in page.items:
                if only_new and view.case.case_id in self._told:
                    return
                yield view
            cursor = page.next
            if cursor is None:
                return
