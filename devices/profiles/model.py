"""What a product model is, as its TOML file says it."""

import re
from enum import StrEnum
from typing import Annotated, Final, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, FiniteFloat, model_validator

_SPAN = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d)")
_LONGEST_SLUG = 40
EVENT_SERIES = "event:"
"""What the name of a series of events begins with; the event's code follows."""
EVERY_EVENT = f"{EVENT_SERIES}*"
"""The series of all of a device's events together."""
_SPAN_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_span_s(value: object) -> object:
    """Seconds from a number, or from words such as ``90s``, ``10m``, ``1.5h``, ``2d``."""
    if not isinstance(value, str):
        return value
    match = _SPAN.fullmatch(value.strip())
    if match is None:
        message = f"{value!r} is not a span of time such as 90s, 10m, 1.5h or 2d"
        raise ValueError(message)
    return float(match[1]) * _SPAN_UNITS[match[2]]


SpanS = Annotated[float, BeforeValidator(parse_span_s), Field(ge=0)]
"""A span of time in seconds; TOML may say ``"10m"``."""


def _slug(text: str) -> str:
    if re.fullmatch(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*", text) is None or len(text) > _LONGEST_SLUG:
        message = f"{text!r} is not 1 to {_LONGEST_SLUG} lower-case letters, digits, - or _"
        raise ValueError(message)
    return text


Slug = Annotated[str, AfterValidator(_slug)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MetricKind(StrEnum):
    """How the numbers of a metric behave."""

    GAUGE = "gauge"  # a level: temperature, battery
    COUNTER = "counter"  # only rises, and falls back to about zero when it is reset
    DELTA = "delta"  # an amount since the last reading: steps, shots, kilometres
    STATE = "state"  # a boolean, or a small set of codes


class Severity(StrEnum):
    """How bad, in rising order."""

    INFO = "info"
    MINOR = "minor"
    MAJOR = "major"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for info to 3 for critical."""
        return list(Severity).index(self)


class WatchMode(StrEnum):
    """What becomes of a watch's alarms."""

    SHADOW = "shadow"  # recorded, and nothing else
    APPROVE = "approve"  # a case is proposed, and waits for a person
    AUTO = "auto"  # a case opens


class Metric(_Strict):
    """One quantity that a product measures."""

    kind: MetricKind
    title: str = ""  # as people call it; default: its name
    unit: str = "1"  # a UCUM code
    minimum: FiniteFloat | None = None  # physical range; outside it a reading is quarantined
    maximum: FiniteFloat | None = None
    function: Slug | None = None  # the device function that it tells of; names the default problem
    description: str = ""

    @model_validator(mode="after")
    def _range_is_one(self) -> "Metric":
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            message = f"minimum {self.minimum:g} is above maximum {self.maximum:g}"
            raise ValueError(message)
        return self


class Event(_Strict):
    """Something that a product says happened, by code."""

    severity: Severity = Severity.INFO
    title: str = ""  # as people call it; default: its code
    description: str = ""


class Command(_Strict):
    """Something that a product can be told to do."""

    description: str = ""
    expires_after: SpanS = 3600.0  # an older one is not sent any more
    answer_within: Annotated[SpanS | None, Field(gt=0)] = None  # real time; None: as the gateway's settings say


class Watch(_Strict):
    """A detector over one metric, over the events of one code, or over the device as a whole."""

    name: Slug
    title: str = ""  # as people call what it finds; default: its name
    description: str = ""  # what it means for the owner
    detector: Slug  # threshold, silence, usage_drop, record, or a third party's
    metric: str | None = None  # None for silence
    event: str | None = None  # a code, or * for all, for detectors that count events
    per: str | None = None  # a metric that goes with it, for detectors that compare two
    problem: Slug | None = None  # default: the metric's function, else the metric's name
    severity: Severity = Severity.MINOR
    for_: SpanS = Field(default=0.0, alias="for")
    keep_firing_for: SpanS = 0.0
    mode: WatchMode = WatchMode.AUTO  # in which it begins; its outcomes and people change it later
    parameters: dict[str, float | str | bool] = {}

    @property
    def series(self) -> str | None:
        """What is watched, by the name that alarms bear: a metric, the events of a code; None for the whole device."""
        return self.metric if self.event is None else f"{EVENT_SERIES}{self.event}"


class ActionKind(StrEnum):
    """What can be done about a problem, the least intrusive first."""

    COMMAND = "command"  # the product mends itself, and nobody is troubled
    AGENT_CASE = "agent_case"  # a person looks at it
    PART_OR_VISIT = "part_or_visit"  # a person sends a part, or comes
    SELF_HELP_MESSAGE = "self_help_message"  # the owner is told what to do
    OFFER = "offer"  # the owner is offered something for sale: needs a grant for marketing


OWNER_SEES: Final = frozenset({ActionKind.SELF_HELP_MESSAGE, ActionKind.OFFER})
AGENT_SEES: Final = frozenset({ActionKind.AGENT_CASE, ActionKind.PART_OR_VISIT})

Share = Annotated[float, Field(ge=0, le=1)]


class When(_Strict):
    """Under which conditions an action is taken; each that is set must hold, and what is not known does not hold."""

    maximum_severity: Severity | None = None
    warranty: Literal["in", "out"] | None = None
    lifecycle_stages: tuple[str, ...] = ()  # as the registry calls them: in_use, ...
    regions: tuple[str, ...] = ()
    minimum_precision: Share | None = None  # of the watch: how often its outcomes were right
    minimum_score: Share | None = None  # of the alarm, the highest so far
    minimum_success: Share | None = None  # learnt: how often this action helped on this model
    worked_before: Literal["product", "model"] | None = None  # against this problem, on this very product or its model


class Action(_Strict):
    """One thing that a playbook can do about a problem, best first."""

    kind: ActionKind
    team: str = "Customer care"
    channel: str | None = None  # for what the owner sees: email, sms, push, phone
    template: str | None = None
    sla_h: float | None = Field(default=None, gt=0)
    minimum_severity: Severity = Severity.INFO
    when: When = When()
    rank: int | None = None  # actions of one rank are equals, which success decides among; None: as they are listed
    command: str | None = None  # of the profile
    data: dict[str, float | str | bool] = {}  # that goes with the command
    expires_after: Annotated[SpanS | None, Field(gt=0)] = None  # of the command; None: as the profile's command says
    verify_within: Annotated[SpanS, Field(gt=0)] = 86400.0  # in which telemetry must show that the command helped
    at_most: Annotated[int, Field(ge=1)] = 3  # commands of this kind in 30 days: what keeps coming back needs a person
    part: str | None = None  # for part_or_visit: which part; None is a visit

    @property
    def key(self) -> str:
        """What it is called where it is counted: the same wherever it stands in its playbook."""
        told = {
            ActionKind.COMMAND: self.command,
            ActionKind.AGENT_CASE: self.team,
            ActionKind.PART_OR_VISIT: self.part or "visit",
        }.get(self.kind, f"{self.channel}:{self.template or 'plain'}")
        return f"{self.kind}:{told}"

    @model_validator(mode="after")
    def _is_whole(self) -> "Action":
        if (self.kind is ActionKind.COMMAND) != (self.command is not None):
            message = "an action of kind command names a command, and no other does"
            raise ValueError(message)
        if self.kind is ActionKind.OFFER and self.channel is None:
            message = "an offer needs a channel"
            raise ValueError(message)
        return self


class Playbook(_Strict):
    """What to do about a problem, in words and in actions."""

    problem: Slug
    title: str  # what an agent reads first, such as "The boiler runs too hot"
    likely_cause: str = ""
    what_to_say: str = ""
    what_not_to_do: str = ""
    actions: tuple[Action, ...] = ()
    explore: bool = False  # among equals, and where a rate is not known yet, chance may choose, so that it is learnt


class PlaybookWords(_Strict):
    """A playbook's words in another language; what is empty stays in the profile's own."""

    title: str = ""
    likely_cause: str = ""
    what_to_say: str = ""
    what_not_to_do: str = ""


class Translation(_Strict):
    """A profile's words in another language."""

    title: str = ""
    metrics: dict[str, str] = {}  # their titles
    events: dict[str, str] = {}  # by code
    watches: dict[Slug, str] = {}
    watch_descriptions: dict[Slug, str] = {}
    commands: dict[str, str] = {}  # what each does
    playbooks: dict[Slug, PlaybookWords] = {}  # by problem


class Profile(_Strict):
    """A product model: what it measures, says, obeys, and what to watch it for."""

    model: Slug
    title: str
    description: str = ""
    reporting_interval: SpanS | None = None
    metrics: dict[str, Metric] = {}
    events: dict[str, Event] = {}
    commands: dict[str, Command] = {}
    watches: tuple[Watch, ...] = ()
    playbooks: tuple[Playbook, ...] = ()
    translations: dict[str, Translation] = {}  # by BCP 47 tag, such as it
    automatic: bool = False  # kinds, ranges, cadence and habits are learnt; generic watches apply

    @model_validator(mode="after")
    def _names_agree(self) -> "Profile":
        names = [watch.name for watch in self.watches]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            message = f"watch names stand twice: {', '.join(sorted(twice))}"
            raise ValueError(message)
        problems = [playbook.problem for playbook in self.playbooks]
        if len(set(problems)) < len(problems):
            message = "two playbooks are for one problem"
            raise ValueError(message)
        for watch in self.watches:
            if watch.metric is not None and watch.metric not in self.metrics:
                message = f"watch {watch.name}: no metric named {watch.metric!r}"
                raise ValueError(message)
            if watch.event is not None and watch.metric is not None:
                message = f"watch {watch.name}: either a metric or an event"
                raise ValueError(message)
            if watch.event not in {None, "*", *self.events} and self.events:
                message = f"watch {watch.name}: no event named {watch.event!r}"
                raise ValueError(message)
            if watch.per is not None and watch.per not in self.metrics:
                message = f"watch {watch.name}: per: no metric named {watch.per!r}"
                raise ValueError(message)
        self._check_commands()
        return self

    @model_validator(mode="after")
    def _translations_are_of_what_there_is(self) -> "Profile":
        problems = {playbook.problem for playbook in self.playbooks}
        for language, words in self.translations.items():
            strange_to = {
                "metrics": words.metrics.keys() - self.metrics.keys(),
                "events": words.events.keys() - self.events.keys(),
                "watches": words.watches.keys() - {watch.name for watch in self.watches},
                "watch_descriptions": words.watch_descriptions.keys() - {watch.name for watch in self.watches},
                "commands": words.commands.keys() - self.commands.keys(),
                "playbooks": words.playbooks.keys() - problems,
            }
            for table, strange in strange_to.items():
                if strange:
                    message = f"translations.{language}.{table}: the profile has no {', '.join(sorted(strange))}"
                    raise ValueError(message)
        return self

    def in_language(self, tag: str) -> "Profile":
        """The profile with its words in the language of a BCP 47 tag, as far as it has them."""
        words = self.translations.get(tag) or self.translations.get(tag.split("-", maxsplit=1)[0].lower())
        if words is None:
            return self
        playbooks = tuple(_retold(playbook, words.playbooks.get(playbook.problem)) for playbook in self.playbooks)
        metrics = {name: _titled(metric, words.metrics.get(name)) for name, metric in self.metrics.items()}
        events = {code: _titled(event, words.events.get(code)) for code, event in self.events.items()}
        watches = tuple(
            _described(_titled(watch, words.watches.get(watch.name)), words.watch_descriptions.get(watch.name))
            for watch in self.watches
        )
        commands = {name: _described(command, words.commands.get(name)) for name, command in self.commands.items()}
        things = {
            "playbooks": playbooks,
            "metrics": metrics,
            "events": events,
            "watches": watches,
            "commands": commands,
        }
        return self.model_copy(update={"title": words.title or self.title, **things})

    def _check_commands(self) -> None:
        for playbook in self.playbooks:
            lasting = [watch for watch in self.watches if self.problem_of(watch) == playbook.problem]
            for action in playbook.actions:
                if action.command is None:
                    continue
                if action.command not in self.commands:
                    message = f"playbook {playbook.problem}: no command named {action.command!r}"
                    raise ValueError(message)
                for watch in lasting:
                    if watch.keep_firing_for >= action.verify_within:
                        message = (
                            f"playbook {playbook.problem}: verify_within of {action.command} must be longer than"
                            f" keep_firing_for of watch {watch.name}: else it could never be seen to help"
                        )
                        raise ValueError(message)

    def problem_of(self, watch: Watch) -> str:
        """The problem that a watch's alarms belong to: its own, else its metric's function, else a default."""
        if watch.problem is not None:
            return watch.problem
        if watch.event is not None:
            return watch.event.replace("_", "-").lower()
        if watch.metric is None:
            return "connection"
        return self.metrics[watch.metric].function or watch.metric.replace("_", "-").lower()


Titled = TypeVar("Titled", Metric, Event, Watch)


def _titled(thing: Titled, title: str | None) -> Titled:
    return thing.model_copy(update={"title": title}) if title else thing


Described = TypeVar("Described", Watch, Command)


def _described(thing: Described, description: str | None) -> Described:
    return thing.model_copy(update={"description": description}) if description else thing


def _retold(playbook: Playbook, words: PlaybookWords | None) -> Playbook:
    said = {} if words is None else {name: text for name, text in words.model_dump().items() if text}
    return playbook.model_copy(update=said) if said else playbook
