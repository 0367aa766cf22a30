"""A gateway whose watch must ask first, boilers that run hot, a sandbox CRM, and people who may look or act."""

import json
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from unittest.mock import patch

import httpx
import numpy as np
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from gateway.database.postmaster import wait_until
from gateway.people import passwords
from simulators.crm.agent import AgentHabits
from simulators.crm.misbehave import Misbehaviour
from simulators.crm.sandbox import SandboxServer
from simulators.crm.serve import SandboxPlan, make_sandbox, new_secret
from simulators.fleet.clocks import WorldClock
from tests.services.boilers import HOT, PROFILE, WELL
from tests.services.gateway import GatewayProcess
from tests.services.in_the_clear import IN_THE_CLEAR
from tests.services.oidc import Provider, serve_provider
from tests.services.patience import PATIENCE_S
from tests.services.publisher import Publisher, connected

SECRET = new_secret(np.random.default_rng(1))
PASSWORD = "a kettle on a long shelf"
WITHIN_S = PATIENCE_S
ROLES = {"vera": "viewer", "aldo": "agent", "olga": "operator", "anna": "admin"}
BOILERS = 16
OBEYS = """what_to_say = "Please open the window, and ring us."
actions = [{ kind = "self_help_message", channel = "email", template = "boiler-window" }]
[commands.vent]
description = "opens the valve"
"""
NOBODY = AgentHabits(takes_up=0.0, resolves=0.0, sends_twice=0.0, sends_out_of_order=0.0)


@dataclass
class ConsoleWorld:
    """What a test of the console does beside the browser, and looks at."""

    gateway: GatewayProcess
    crm: SandboxServer
    provider: Provider
    used: list[int] = field(default_factory=list[int])

    @property
    def url(self) -> str:
        """Where the console is."""
        return str(self.gateway.address["api_url"])

    def heat(self) -> str:
        """Let a boiler that nobody has used yet run too hot; its id."""
        number = len(self.used)
        self.used.append(number)
        self._publish(number, HOT)
        return f"boiler-{number}"

    def cool(self, device_id: str) -> None:
        """Let it be well again."""
        self._publish(int(device_id.rpartition("-")[2]), WELL)

    def babble(self, device_id: str) -> None:
        """Let a device send what nobody can read."""
        publisher = Publisher(device_id, f"pass-{device_id.rpartition('-')[2]}-word")
        with connected(publisher, self.gateway.port) as client:
            sent = client.publish(f"devices/{device_id}/telemetry", b"{", qos=1)
            sent.wait_for_publish(PATIENCE_S)

    def may_connect(self, device_id: str, password: str) -> bool:
        """Whether a device is let in with a password."""
        answers: list[bool] = []
        client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=device_id, protocol=paho.MQTTv5, reconnect_on_failure=False
        )
        client.username_pw_set(device_id, password)
        client.on_connect = lambda _client, _data, _flags, code, _said: answers.append(not code.is_failure)
        client.connect("127.0.0.1", self.gateway.port)
        client.loop_start()
        try:
            assert wait_until(lambda: bool(answers), PATIENCE_S)
        finally:
            client.disconnect()
            client.loop_stop()
        return answers[0]

    def decide(self, case_id: str, what: str) -> None:
        """Say yes or no over the API."""
        self.as_token(
            self.gateway.address["api_token"], "POST", f"/v1/cases/{case_id}/{what}", json={"why": "seen"}
        ).raise_for_status()

    def as_token(self, token: str, method: str, path: str, **what: Any) -> httpx.Response:
        """What a machine is answered."""
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.request(
            method, f"{self.url}{path}", headers=headers, verify=IN_THE_CLEAR, timeout=PATIENCE_S, **what
        )

    def _publish(self, number: int, temperature: float) -> None:
        publisher = Publisher(f"boiler-{number}", f"pass-{number}-word")
        with connected(publisher, self.gateway.port) as client:
            now_ms = int(time.time() * 1000)
            publisher.publish(client, [now_ms - 20 + 10 * step for step in range(3)], temperature=temperature)
            assert wait_until(lambda: len(publisher.acknowledged) > 0, PATIENCE_S)

    def case_of(self, device_id: str, state: str) -> dict[str, Any]:
        """The device's case, once it is in a state."""
        found: list[dict[str, Any]] = []

        def is_there() -> bool:
            found[:] = self.gateway.ask("/v1/cases", device_id=device_id, state=state)["items"]
            return bool(found)

        assert wait_until(is_there, PATIENCE_S), f"{device_id} has no case that is {state}"
        return found[0]

    def record_of(self, case_id: str) -> str:
        """What the CRM calls a case, once it has it."""
        assert wait_until(lambda: self.crm.sandbox.book.of_case(case_id) is not None, PATIENCE_S)
        record = self.crm.sandbox.book.of_case(case_id)
        assert record is not None
        return record.number


@pytest.fixture(scope="module")
def console_world(service_folder: Path, prepared_database: Path) -> Iterator[ConsoleWorld]:
    """A running gateway with people and boilers, for the tests of one file."""
    with open_world(GatewayProcess(Path(mkdtemp(prefix="console-", dir=service_folder)), prepared_database)) as world:
        yield world


@contextmanager
def open_world(gateway: GatewayProcess) -> Generator[ConsoleWorld]:
    """Start a gateway with people and boilers, and a CRM; they are gone afterwards."""
    callback: list[str] = []
    plan = SandboxPlan(SECRET, Misbehaviour.none(), NOBODY, seed=1)
    with (
        serve_provider() as provider,
        make_sandbox(plan, WorldClock(0.0), lambda: callback[0] if callback else None) as crm,
    ):
        try:
            _start(gateway, crm, provider)
            yield ConsoleWorld(gateway, crm, provider)
        finally:
            gateway.remove()


def _start(gateway: GatewayProcess, crm: SandboxServer, provider: Provider) -> None:
    profiles = gateway.folder / "profiles"
    profiles.mkdir()
    asks = PROFILE.replace('severity = "critical"', 'severity = "critical"\nmode = "approve"')
    (profiles / "boiler.toml").write_text(asks + OBEYS)
    gateway.configure(
        f'[profiles]\nfolders = ["{profiles}"]\n[crm]\npoll_interval = 0.1\n[[crm.endpoints]]\nname = "sandbox"\n'
        f'url = "{crm.url}"\nsecret = "{SECRET}"\nallow_http = true\nallow_networks = ["127.0.0.0/8"]\n'
        f"ports = [{httpx.URL(crm.url).port}]\nschedule = [0, 0.2, 0.5, 1, 1, 1]\n"
        'record_link = "https://desk.example.com/{external_id}"\n'
        "[crm.quiet_hours]\nstart = 03:00:00\nend = 03:00:00\ndays = []\n"
        "[people]\nrequests_per_s = 1000\nrequests_burst = 10000\n"
        f'[people.oidc]\nissuer = "{provider.issuer}"\nclient_id = "{provider.client_id}"\nallow_http = true\n'
        f'client_secret = "{provider.client_secret}"\nroles = ["desk = agent"]\n'
        '[console]\nbanner = "This is a demo: products, people and faults are made up."\n'
        f'scorecard = "{gateway.folder / "scorecard.json"}"\n'
    )
    gateway.start()
    listed = [
        {
            "device_id": f"boiler-{number}",
            "model": "boiler",
            "password": f"pass-{number}-word",
            "owner": {"owner_ref": f"person-{number}", "time_zone": "Europe/Rome"},
            "grants": [{"purpose": "service", "recipient": "email", "state": "given"}],
        }
        for number in range(BOILERS)
    ]
    registry = gateway.folder / "registry.json"
    registry.write_text(json.dumps({"devices": listed}))
    gateway.command("devices", "import", registry)
    add_people(gateway)


def add_people(gateway: GatewayProcess) -> None:
    """Somebody of each role, with a password of their own."""
    # Kept as what a person chose, but stretched a thousandth as long: each window that signs in waits for it again.
    with patch.multiple(passwords, _N=2**6, _P=1):
        kept = passwords.keep_chosen(PASSWORD)
    for name, role in ROLES.items():
        gateway.query(
            "INSERT INTO person (tenant_id, person_id, name, role, password, created_at) "
            "VALUES ('default', %s, %s, %s, %s, now()) RETURNING name",
            f"prs_{name}",
            name,
            role,
            kept,
        )
