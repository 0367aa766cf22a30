"""What is at hand where cases are worked: settings, product profiles, and the product that a notice is about."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from crm_sync.brief import generic_playbook
from crm_sync.cases.queries import Connection
from crm_sync.inbox import AlarmNotice
from crm_sync.model import CaseAlarm, Subject
from crm_sync.playbooks.conditions import holds
from crm_sync.playbooks.model import Facts
from crm_sync.policy.gates import ANY_CRM
from crm_sync.policy.switches import Concern
from crm_sync.routing import Route, route
from crm_sync.settings import CrmSettings, EndpointSettings, MessageType
from crm_sync.trust.models import AUTOMATIC, trusted_model
from crm_sync.trust.rules import TrustRules
from crm_sync.wording.catalogue import Wordings, load_wordings
from crm_sync.wording.wording import Wording
from devices.profiles.model import AGENT_SEES, Action, ActionKind, Playbook, Profile, Severity
from devices.registry.queries import asset_of

_HOUR_S: Final = 3600.0
_DEFAULT_ACTION: Final = Action(kind=ActionKind.AGENT_CASE)


@dataclass(frozen=True, slots=True)
class Assignment:
    """Who looks after a case, and until when somebody must have."""

    team: str
    sla_s: float | None


@dataclass(frozen=True, slots=True)
class Desk:
    """Settings and profiles, and what follows from them alone."""

    settings: CrmSettings
    profiles: Mapping[str, Profile]
    trust: TrustRules | None = None  # None: every watch opens cases, as many as it likes
    wordings: Wordings = field(default_factory=load_wordings)
    link_keys: Sequence[bytes] = ()  # of owners' links, read once: a file that goes away later stops no case

    @property
    def wording(self) -> Wording:
        """The words of the company's language, in which agents are told."""
        return self.wordings.of()

    def profile_of(self, subject: Subject, language: str | None = None) -> Profile | None:
        """The profile of a product, if there is one, with its words in a language; by default the company's."""
        profile = None if subject.model is None else self.profiles.get(subject.model)
        return None if profile is None else profile.in_language(language or self.wordings.usual)

    def playbook_of(self, subject: Subject, problem: str, kind: str, language: str | None = None) -> Playbook:
        """What to do about a problem: the profile's playbook, else a general one for this kind of alarm."""
        profile = self.profile_of(subject, language)
        written = {} if profile is None else {playbook.problem: playbook for playbook in profile.playbooks}
        return written.get(problem) or generic_playbook(profile, problem, kind, self.wordings.of(language))

    def route(self, playbook: Playbook, facts: Facts, now_s: float) -> Route:
        """The team that is to look after a problem, and until when, by the teams' own hours."""
        return self.route_to(assign(playbook, facts), facts.severity, now_s)

    def route_to(self, wanted: Assignment, severity: Severity, now_s: float) -> Route:
        """Whom a case goes to that somebody is to have, and until when."""
        teams = {team.name: team for team in self.settings.teams}
        return route(teams, wanted.team, severity, wanted.sla_s, now_s)

    def concern(self, subject: Subject, problem: str, alarms: Iterable[CaseAlarm] = ()) -> Concern:
        """What a kill switch may be thrown for; without a profile that is also the automatic one, and each detector."""
        known = trusted_model(self.profiles, subject.model)
        names = [(alarm.watch, alarm.kind.replace("_", "-")) for alarm in alarms]
        watches = [name for watch, kind in names for name in ((watch, kind) if known == AUTOMATIC else (watch,))]
        return Concern(subject.tenant_id, [known, subject.model or known], watches, problem)

    def case_endpoints(self) -> tuple[EndpointSettings, ...]:
        """The endpoints that take cases."""
        return tuple(each for each in self.settings.endpoints if MessageType.CASE_OPENED in each.types)

    def recipients(self) -> tuple[str, ...]:
        """Whose receipt of a case a grant must allow; with no endpoint configured, that of a CRM to come."""
        return tuple(each.name for each in self.case_endpoints()) or (ANY_CRM,)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A notice on its way into a case, with all that is known of it."""

    notice: AlarmNotice
    before: CaseAlarm | None  # the alarm as it was known
    alarm: CaseAlarm  # the alarm as the notice leaves it
    subject: Subject
    now_s: float  # the gateway's clock
    has_ended: bool = False  # a later notice of the same alarm waits, and says that it is over


def assign(playbook: Playbook, facts: Facts) -> Assignment:
    """The team of the first agent action whose conditions hold; where none does, their first team and no deadline."""
    agent_actions = [action for action in playbook.actions if action.kind in AGENT_SEES] or [_DEFAULT_ACTION]
    for action in agent_actions:
        if holds(action, facts):
            return assignment_of(action)
    return Assignment(agent_actions[0].team, None)


def assignment_of(action: Action) -> Assignment:
    """Who takes an action, and how soon."""
    return Assignment(action.team, None if action.sla_h is None else action.sla_h * _HOUR_S)


async def find_subject(conn: Connection, tenant_id: str, device_id: str) -> Subject:
    """The product behind a device and its present owner; a device that the registry does not know is its own asset."""
    view = await asset_of(conn, device_id)
    if view is None:
        return Subject(tenant_id, device_id, asset_id=device_id)
    return Subject(
        tenant_id,
        device_id,
        asset_id=view.asset_id,
        model=view.model,
        serial=view.serial,
        warranty_until=view.warranty_until,
        firmware=view.firmware,
        region=view.region,
        owner_ref=view.owner_ref,
        account_ref=view.account_ref,
        time_zone=view.time_zone,
        language=view.language,
        lifecycle_stage=view.lifecycle_stage,
    )
