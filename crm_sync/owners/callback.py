"""The callbacks by which a CRM tells of owners, as they come in: signed like all others."""

from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from crm_sync.owners.told import Contacted, HoldKind, HumanCase, LeaveAlone, OwnerNews

OWNER_TYPES: Final = frozenset({"owner.contacted", "owner.case", "owner.hold"})

Reference = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]
OwnerRef = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00]*$")]


class _Data(BaseModel):
    model_config = ConfigDict(coerce_numbers_to_str=True)


class _Contacted(_Data):
    owner_ref: OwnerRef
    reference: Reference
    at: AwareDatetime | None = None
    channel: Reference | None = None
    by: Literal["human", "automatic"] = "human"


class _Case(_Data):
    external_id: Reference
    state: Literal["open", "closed"]
    at: AwareDatetime | None = None
    owner_ref: OwnerRef | None = None
    device_id: Reference | None = None


class _Hold(_Data):
    owner_ref: OwnerRef
    kind: HoldKind
    state: Literal["on", "off"] = "on"
    until: AwareDatetime | None = None
    at: AwareDatetime | None = None
    why: Annotated[str, Field(max_length=1000, pattern=r"^[^\x00]*$")] = ""


class _ContactedCallback(BaseModel):
    data: _Contacted


class _CaseCallback(BaseModel):
    data: _Case


class _HoldCallback(BaseModel):
    data: _Hold


def read_news(kind: str, body: bytes, now_s: float) -> OwnerNews | None:
    """What a callback of one of OWNER_TYPES tells; None where it cannot be read."""
    try:
        match kind:
            case "owner.contacted":
                contact = _ContactedCallback.model_validate_json(body).data
                at_s = now_s if contact.at is None else contact.at.timestamp()
                return Contacted(
                    contact.owner_ref, contact.reference, at_s, contact.channel, by_human=contact.by == "human"
                )
            case "owner.case":
                case = _CaseCallback.model_validate_json(body).data
                at_s = now_s if case.at is None else case.at.timestamp()
                return HumanCase(case.external_id, case.state == "open", at_s, case.owner_ref, case.device_id)
            case _:
                held = _HoldCallback.model_validate_json(body).data
                until_s = None if held.until is None else held.until.timestamp()
                said_s = None if held.at is None else held.at.timestamp()
                return LeaveAlone(held.owner_ref, held.kind, held.state == "on", until_s, held.why, said_s)
    except ValidationError:
        return None
