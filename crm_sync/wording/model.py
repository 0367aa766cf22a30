"""The words of one language, as their file has them."""

from collections.abc import Mapping
from string import Formatter
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, model_validator

from crm_sync.model import Resolution


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Headings(_Table):
    """Of a brief's sections."""

    what_happened: str
    likely_cause: str
    what_was_tried: str
    what_to_say: str
    what_not_to_do: str
    product: str
    what_to_do: str  # of a major case


class Course(_Table):
    """What became of a sign."""

    began: str
    began_and_over: str
    readings: str
    relapse: str
    silent: str
    earlier_one: str
    earlier_some: str


class Moments(_Table):
    """When something was."""

    today: str
    yesterday: str
    day: str
    local: str
    utc: str


class Dates(_Table):
    """Patterns of days, in the letters of CLDR."""

    weekday: str
    weekday_of_year: str
    whole: str
    short: str


class Spans(_Table):
    """How long: one, and any other number."""

    second: tuple[str, str]
    minute: tuple[str, str]
    hour: tuple[str, str]
    day: tuple[str, str]


class ProductLine(_Table):
    """Which product it is."""

    unnamed: str
    unknown_model: str
    serial: str
    no_serial: str
    firmware: str
    device: str
    no_warranty: str
    out_of_warranty: str
    in_warranty: str
    ends_today: str
    ends_tomorrow: str
    ends_soon: str


class Advice(_Table):
    """For problems of which a profile says nothing."""

    what_to_say: str
    what_not_to_do: str


class Cohort(_Table):
    """Of a case about many devices at once."""

    firmware_title: str
    firmware_title_in: str
    dip_title: str
    firmware: str
    firmware_in: str
    others: str
    usual: str
    alone: str
    dip: str
    dip_means: str
    of_model: str
    in_region: str
    of_fleet: str
    share: str
    listed: str
    model: str
    more_models: str
    over: str
    over_but: str


class CohortAdvice(_Table):
    """What is to be done about a kind of incident."""

    what_to_do: str
    what_to_say: str
    what_not_to_do: str


class Record(_Table):
    """What a helpdesk's record says besides the brief."""

    next: str
    next_with: str
    team: str
    due: str
    link: str
    to_owner: str
    to_owner_by: str
    answers: str
    shortened: str
    shortened_at: str


class FalseAlarm(_Table):
    """Of a case that was taken back."""

    apology: str


class Phrase(_Table):
    """What a detector says, and how it is told."""

    said: Annotated[str, Field(min_length=1)]
    told: str

    @model_validator(mode="after")
    def _fills_in_what_was_said(self) -> "Phrase":
        unknown = names_in(self.told) - names_in(self.said)
        if unknown:
            message = f"{self.told!r} fills in {', '.join(sorted(unknown))}, which {self.said!r} does not have"
            raise ValueError(message)
        return self


class Words(_Table):
    """Everything that a brief is put together from."""

    headings: Headings
    signs: Mapping[str, str]
    course: Course
    moments: Moments
    dates: Dates
    spans: Spans
    product: ProductLine
    titles: Mapping[str, str]
    advice: Advice
    cohort: Cohort
    cohort_advice: Mapping[str, CohortAdvice]
    false_alarm: FalseAlarm
    record: Record
    actions: Mapping[str, str]
    endings: Mapping[Resolution, str]
    tried: Mapping[str, str]
    phrases: tuple[Phrase, ...] = ()


ANYTHING_ELSE: Final = "other"
"""The title of a kind of alarm that has none of its own."""


def names_in(pattern: str) -> frozenset[str]:
    """What a pattern has filled in. Raises ValueError for a lone brace."""
    return frozenset(name for _, name, _, _ in Formatter().parse(pattern) if name is not None)
