"""How many false cases a service team is willing to see, and how a watch earns and loses its right to open cases."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from devices.profiles.model import SpanS

Share = Annotated[float, Field(gt=0, lt=1)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BudgetSettings(_Section):
    """The budget of false cases, and the cap on all."""

    enabled: bool = True
    expected_false_cases_per_thousand_devices_per_day: Annotated[float, Field(gt=0)] = 0.1
    false_share: Share = 0.2  # of the cases that open, at most so many false ones are expected
    cases_per_day: Annotated[int, Field(ge=1)] = 1000  # hard: only critical alarms pass beyond it
    small_fleet: Annotated[int, Field(ge=0)] = 1000  # with fewer devices only outcomes hold a case back
    learning_cases: Annotated[float, Field(ge=0)] = (
        10.0  # false cases granted in advance, to learn what watches are worth
    )
    expected_faults_per_thousand_devices_per_day: Annotated[float, Field(gt=0)] = 0.1  # that one watch looks for
    least_belief: Share = 0.2  # an alarm less likely to be true than this opens no case, however much room there is
    memory: Annotated[SpanS, Field(gt=0)] = 90 * 86400.0  # what is this old counts half
    waits_for: SpanS = 7 * 86400.0  # how long an alarm without a case is looked at again


class TrustSettings(_Section):
    """When a watch is promoted and demoted, and how its bar moves."""

    rules: bool = True  # false: only people change modes
    approval_expires: Annotated[SpanS, Field(gt=0)] = 86400.0  # a proposed case that nobody approves does nothing
    answers_within: SpanS = 7 * 86400.0  # a case that nobody has answered counts as a false one for so long
    outcomes: Annotated[int, Field(ge=1)] = 10  # in the present mode, before a rule looks at them
    promote_above: Share = 0.8  # the interval's lower end, to act without asking
    demote_below: Share = 0.6  # its upper end, to ask first
    silence_below: Share = 0.3  # its upper end, to be recorded only
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.9  # of the interval
    window: Annotated[SpanS, Field(gt=0)] = 180 * 86400.0  # outcomes older than this no longer count
    bar_step: Annotated[float, Field(ge=0, le=0.5)] = 0.05  # a false case raises its watch's bar by so much belief…
    bar_most: Annotated[float, Field(ge=0, le=0.7)] = 0.4  # …up to this
    bar_memory: Annotated[SpanS, Field(gt=0)] = 30 * 86400.0  # and half of it is gone after this time

    @model_validator(mode="after")
    def _modes_are_apart(self) -> Self:
        if not self.silence_below < self.demote_below < self.promote_above:
            message = "silence_below < demote_below < promote_above, or a watch would go to and fro"
            raise ValueError(message)
        return self
