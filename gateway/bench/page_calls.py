"""What is asked of a large house: the API's reading calls that the console and integrations make, and every page."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, LiteralString
from urllib.parse import quote

from psycopg import Connection
from psycopg.rows import TupleRow

from devices.clock import to_datetime
from gateway.bench.house import DAY_S, DAYS, House
from gateway.bench.rows import MODEL

Subjects = Mapping[str, Sequence[str]]
"""What may be put into a path, by the name that stands there."""


@dataclass(frozen=True, slots=True)
class Call:
    """A path; ``{device}`` and the like in it are drawn anew each time."""

    name: str
    path: str

    @property
    def is_page(self) -> bool:
        """Whether it is a page of the console, for which people sign in."""
        return not self.path.startswith(("/v1/", "/metrics", "/readyz"))


API_CALLS: Final = (
    Call("devices", "/v1/devices?limit=100"),
    Call("a device", "/v1/devices/{device}"),
    Call("a device's readings: 1,000", "/v1/devices/{device}/readings?from={day}&limit=1000"),
    Call("a device's readings: a day", "/v1/devices/{device}/readings?from={day}&to={next_day}"),
    Call("a device's rollups: 1,000 hours", "/v1/devices/{device}/rollups?bucket=hour&from={first_day}&limit=1000"),
    Call("a device's rollups: 90 days", "/v1/devices/{device}/rollups?bucket=day&from={first_day}"),
    Call(
        "a device's rollups: 90 days of a zone",
        "/v1/devices/{device}/rollups?bucket=day&zone=Europe/Rome&from={first_day}",
    ),
    Call("a device's commands", "/v1/devices/{device}/commands"),
    Call("alarms", "/v1/alarms"),
    Call("alarms that go on", "/v1/alarms?state=active"),
    Call("alarms of a device", "/v1/alarms?device_id={device}"),
    Call("an alarm", "/v1/alarms/{alarm}"),
    Call("cases", "/v1/cases"),
    Call("cases that are open", "/v1/cases?state=open"),
    Call("cases of a device", "/v1/cases?device_id={device}"),
    Call("a case", "/v1/cases/{case}"),
    Call("an owner", "/v1/owners/{owner}"),
    Call("an owner's timeline", "/v1/owners/{owner}/timeline"),
    Call("an owner's grants", "/v1/owners/{owner}/grants"),
    Call("deliveries", "/v1/deliveries"),
    Call("dead deliveries", "/v1/deliveries?state=dead"),
    Call("deliveries of a case", "/v1/deliveries?case_id={case}"),
    Call("a delivery", "/v1/deliveries/{message}"),
    Call("endpoints", "/v1/endpoints"),
    Call("quarantine", "/v1/quarantine"),
    Call("quarantine of a device", "/v1/quarantine?device_id={device}"),
    Call("quarantine by reason", "/v1/quarantine?reason=conflict"),
    Call("an entry of quarantine", "/v1/quarantine/{entry}"),
    Call("incidents", "/v1/incidents"),
    Call("an incident", "/v1/incidents/{incident}"),
    Call("an incident's members", "/v1/incidents/{incident}/members"),
    Call("watches", "/v1/watches"),
    Call("a watch", "/v1/watches/{model}/{watch}"),
    Call("the budget", "/v1/budget"),
    Call("the journey", "/v1/journey"),
    Call("counts", "/v1/counts"),
    Call("silences", "/v1/silences"),
    Call("playbooks", "/v1/playbooks"),
    Call("what waits for a yes", "/v1/outreach/waiting"),
    Call("what is stopped", "/v1/outreach/stopped"),
    Call("the audit trail", "/v1/audit"),
    Call("the audit trail of a case", "/v1/audit?subject={case}"),
    Call("people", "/v1/people"),
    Call("the session", "/v1/session"),
    Call("readiness", "/readyz"),
    Call("metrics", "/metrics"),
)

PAGES: Final = (
    Call("inbox", "/"),
    Call("inbox: to decide", "/?show=proposed"),
    Call("inbox: page 40", "/?page=40"),
    Call("inbox: one team's", "/?team=workshop"),
    Call("inbox: a search", "/?q={device}"),
    Call("inbox: closed", "/?show=closed"),
    Call("case", "/cases/{case}"),
    Call("case that is closed", "/cases/{ended}"),
    Call("devices", "/devices"),
    Call("devices: a search", "/devices?q={device}"),
    Call("device: a day", "/devices/{device}?days=1"),
    Call("device: 14 days", "/devices/{device}"),
    Call("device: 90 days", "/devices/{device}?days=90"),
    Call("owner", "/owners/{owner}"),
    Call("fleet", "/fleet"),
    Call("incident", "/fleet/incidents/{incident}"),
    Call("deliveries", "/deliveries"),
    Call("deliveries that are dead", "/deliveries?state=dead"),
    Call("deliveries by case", "/deliveries/streams"),
    Call("delivery", "/deliveries/{message}"),
    Call("quarantine", "/quarantine"),
    Call("quarantine by reason", "/quarantine?reason=conflict"),
    Call("entry of quarantine", "/quarantine/{entry}"),
    Call("watches", "/watches"),
    Call("watch", "/watches/{model}/{watch}"),
    Call("journey", "/journey"),
    Call("journey of 365 days", "/journey?days=365"),
    Call("health", "/health"),
    Call("people", "/people"),
    Call("sign in", "/sign-in?next=/people"),
)

_SUBJECTS: Final[Mapping[str, LiteralString]] = {
    "owner": "SELECT owner_ref FROM owner ORDER BY md5(owner_ref) LIMIT 500",
    "case": "SELECT case_id FROM service_case WHERE closed_at IS NULL ORDER BY case_id LIMIT 500",
    "ended": "SELECT case_id FROM service_case WHERE closed_at IS NOT NULL ORDER BY case_id LIMIT 500",
    "alarm": "SELECT alarm_id FROM alarm ORDER BY alarm_id LIMIT 500",
    "message": "SELECT message_id FROM outbox_message ORDER BY message_id LIMIT 500",
    "entry": "SELECT quarantine_id::text FROM quarantine ORDER BY digest LIMIT 500",
    "incident": "SELECT incident_id FROM incident ORDER BY incident_id",
    "watch": "SELECT watch FROM watch_trust WHERE model = 'e-bike' ORDER BY watch",
}


def find_subjects(conn: Connection[TupleRow], house: House) -> Subjects:
    """Some of each kind; devices are those that tell most."""
    found = {name: [str(row[0]) for row in conn.execute(query)] for name, query in _SUBJECTS.items()}
    return {**found, "device": house.fleets[0].device_ids, "model": [MODEL]}


def draw_path(call: Call, subjects: Subjects, house: House, dice: random.Random) -> str:
    """The call's path with what it is about this time."""
    start = to_datetime(house.start_s)
    day = start + timedelta(days=dice.randrange(DAYS - 4))
    moments = {"first_day": start, "day": day, "next_day": day + timedelta(seconds=DAY_S)}
    drawn = {name: quote(dice.choice(each), safe="") for name, each in subjects.items()}
    return call.path.format(**drawn, **{name: quote(each.isoformat()) for name, each in moments.items()})
