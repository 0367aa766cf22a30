"""What the OpenAPI document says of the whole and of each tag, and examples of bodies."""

from collections.abc import Mapping
from typing import Final

ABOUT: Final = """\
Devices, what is wrong with them, and what is done about it.

**Signing in.** A bearer token, or the cookie of `POST /v1/session` with its `X-CSRF-Token` on each write. Each call
says which role it needs at least; `viewer`, `agent`, `operator` and `admin` may each do what those before may.

**Lists** come in pages: pass `next` as `cursor`; it is null on the last page.

**Writes** are carried out once per `Idempotency-Key`, and answered the same for a day, with
`Idempotent-Replayed: true`. Where an answer has an `ETag`, send it back as `If-Match`: 412 says that somebody else was
faster.

**Problems** are `application/problem+json` (RFC 9457). 429 and 503 say in `Retry-After` when to ask again.

**Time.** Instants are RFC 3339 in UTC. Names with `ts` are the device's clock; all others are the gateway's.
"""

TAGS: Final[Mapping[str, str]] = {
    "alarms": "Episodes in which a watch saw something on a device.",
    "callbacks": "Where CRMs call back, signed.",
    "cases": "What is wrong with whose product, and what people decide about it.",
    "clock": "The gateway's clock.",
    "commands": "What devices are told to do, and what came of it.",
    "counts": "The gateway in numbers.",
    "deliveries": "Messages to CRMs, each attempt, and how the CRMs are doing.",
    "devices": "The registry, readings, and usage by hour and day.",
    "events": "Changes as they happen.",
    "export": "Readings and usage as files.",
    "grants": "What owners allow.",
    "health": "Whether the gateway lives, and can do its work.",
    "incidents": "What befell many devices at once.",
    "journey": "From the first sign of a fault to the proof that it is gone.",
    "metrics": "Numbers for Prometheus.",
    "outreach": "Contacts that wait for a yes, kill switches, and orders to leave somebody alone.",
    "owners": "People as references into the CRM; every look is recorded.",
    "people": "Who may sign in, tokens, and the audit trail.",
    "playbooks": "How often each action helped.",
    "quarantine": "What could not be stored, and why.",
    "session": "Signing in and out.",
    "silences": "Times in which certain alarms open no case.",
    "trust": "Watches: what they may do, and how often they were right.",
}

EXAMPLES: Final[Mapping[str, Mapping[str, object]]] = {
    "Acknowledging": {"undo": False},
    "Assignment": {"team": "Coffee repair", "assignee": "ada", "why": "knows this machine"},
    "CaptureAsked": {"minutes": 15},
    "CommandRequest": {"name": "restart", "data": {}, "expires_s": 3600},
    "Decision": {"why": "seen on the chart"},
    "Ending": {"outcome": "true", "why": "the heating element was replaced"},
    "Hold": {"hold_until": "2026-11-01T12:00:00Z"},
    "HoldAsked": {"kind": "complaint", "until": None, "why": "wants no letters"},
    "ModeAsked": {"mode": "approve", "why": "the sensor was exchanged", "hold": False},
    "NewPassword": {"old": "abcdef-ghijkl", "new": "a teapot under the stairs"},
    "Note": {"text": "Called, nobody there"},
    "PersonAsked": {"name": "ada", "role": "agent"},
    "PersonChange": {"role": "operator"},
    "Rejection": {"why": "it was being tested"},
    "ReplayAsked": {"device_id": "coffee-machine-0001", "reason": "malformed"},
    "SignIn": {"name": "ada", "password": "a kettle on a long shelf"},
    "SilenceAsked": {
        "kind": "maintenance",
        "device_id": "coffee-machine-0001",
        "ends_at": "2099-07-01T12:00:00Z",
        "why": "the pump is exchanged",
    },
    "Snoozing": {"until": "2099-07-01T12:00:00Z", "why": "a part is on its way"},
    "SwitchAsked": {"scope": "watch", "model": "coffee-machine", "name": "boiler-too-hot", "why": "a bad batch"},
    "TokenAsked": {"name": "erp", "role": "viewer", "expires_at": "2099-01-01T00:00:00Z"},
    "VerdictAsked": {"verdict": "true"},
    "WordAsked": {"purpose": "service", "recipient": "email", "state": "given", "source": "hotline"},
}
