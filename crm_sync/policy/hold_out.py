"""Who is left alone for comparison: the same owners for as long as the salt stays the same."""

from hashlib import blake2b

from crm_sync.contact_settings import HoldOutSettings
from crm_sync.policy.model import Gate, GateAnswer, Outcome, Reason
from devices.profiles.model import Severity

_STEPS = 2**64


def is_held_out(settings: HoldOutSettings, tenant_id: str, owner_ref: str) -> bool:
    """Whether an owner belongs to the group; a larger share only adds owners to it."""
    return draw(settings.salt, tenant_id, owner_ref) < settings.share


def draw(salt: str, tenant_id: str, owner_ref: str) -> float:
    """An owner's number in [0, 1), evenly spread over owners, and different with every salt."""
    text = f"{salt}\x00{tenant_id}\x00{owner_ref}"
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) / _STEPS


def hold_out(settings: HoldOutSettings, tenant_id: str, owner_ref: str | None, severity: Severity) -> GateAnswer | None:
    """The group's gate; None where there is no group, so that nothing is written down about it."""
    if settings.share == 0.0 or owner_ref is None:
        return None
    held_out = is_held_out(settings, tenant_id, owner_ref)
    inputs = {"group": "hold_out" if held_out else "contact", "share": settings.share, "salt": settings.salt}
    if held_out and severity is Severity.CRITICAL:
        return GateAnswer(Gate.HOLD_OUT, Outcome.ALLOW, None, inputs | {"exempt": "critical"})
    if held_out:
        return GateAnswer(Gate.HOLD_OUT, Outcome.REFUSE, Reason.HOLD_OUT, inputs)
    return GateAnswer(Gate.HOLD_OUT, Outcome.ALLOW, None, inputs)
