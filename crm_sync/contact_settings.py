"""When an owner may be contacted besides grants and quiet hours: how often, about what, and after whose yes."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from devices.profiles.model import Severity, SpanS

_HOUR: float = 3600.0
_DAY: float = 24 * _HOUR

PositiveSpanS = Annotated[SpanS, Field(gt=0)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CapSettings(_Section):
    """At most so many contacts of one owner in any span of this length, whichever product and team they come from."""

    contacts: Annotated[int, Field(ge=1)]
    within: PositiveSpanS


class ApprovalSettings(_Section):
    """Which contacts a person is asked about first."""

    batch: Annotated[int, Field(ge=0)] = 50  # contacts about one problem beyond so many; 0: however many…
    batch_within: PositiveSpanS = _HOUR  # …in this span…
    batch_people: Annotated[int, Field(ge=1, le=2)] = 2  # …want the yes of so many people
    severities: tuple[Severity, ...] = (Severity.CRITICAL,)
    confidence: Annotated[float, Field(ge=0, le=1)] = 0.5  # where an alarm that was weighed is less likely true
    first_contacts: Annotated[int, Field(ge=0)] = 0  # of an action of a playbook on a model, before it may go alone
    expires_after: PositiveSpanS = _DAY  # what nobody has answered by then is not sent


class HoldOutSettings(_Section):
    """Owners who are left alone so that one can see what contacting the others does; never where it is critical."""

    share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    salt: str = ""  # names the experiment: another salt draws other owners
    cases: bool = False  # true: no case of theirs either, so that no agent calls them


class OutreachSettings(_Section):
    """What holds a step back that an owner would see."""

    caps: tuple[CapSettings, ...] = (
        CapSettings(contacts=1, within=_DAY),
        CapSettings(contacts=3, within=7 * _DAY),
        CapSettings(contacts=5, within=30 * _DAY),
    )
    debounce: SpanS = _DAY  # nobody is told of the same problem of the same product again this soon
    human_reply: SpanS = 72 * _HOUR  # after a person of the company spoke with the owner, nothing automatic
    waits_at_most: PositiveSpanS = 3 * _DAY  # what may not go within this is not sent
    expires_after: PositiveSpanS = _DAY  # what was queued this long is decided anew before it may leave
    approval: ApprovalSettings = ApprovalSettings()
    hold_out: HoldOutSettings = HoldOutSettings()

    @model_validator(mode="after")
    def _caps_tighten(self) -> Self:
        spans = [cap.within for cap in self.caps]
        if len(set(spans)) != len(spans):
            message = "two caps have the same span"
            raise ValueError(message)
        return self

    @property
    def longest_cap_s(self) -> float:
        """How far back contacts count; 0 without caps."""
        return max((cap.within for cap in self.caps), default=0.0)
