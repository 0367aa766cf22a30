"""The sandbox CRM over HTTP: signatures, misbehaviour, and an agent who calls back."""

import itertools
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import numpy as np
import pytest

from gateway.database.postmaster import wait_until
from simulators.crm.agent import AgentHabits
from simulators.crm.misbehave import Misbehaviour
from simulators.crm.sandbox import RECORDS, SandboxServer
from simulators.crm.serve import SandboxPlan, make_sandbox, new_secret
from simulators.crm.signature import fault_in, sign
from simulators.fleet.clocks import WorldClock
from tests.services.gateway import CARELOOP, run_careloop
from tests.services.in_the_clear import IN_THE_CLEAR
from tests.services.patience import PATIENCE_S

SECRET = new_secret(np.random.default_rng(1))
BUSY = AgentHabits(takes_up=1.0, resolves=1.0, sends_twice=0.5, sends_out_of_order=0.5)


def serve(
    misbehaviour: Misbehaviour, clock: WorldClock | None = None, callback_url: str | None = None
) -> SandboxServer:
    plan = SandboxPlan(SECRET, misbehaviour, BUSY, seed=1)
    return make_sandbox(plan, clock or WorldClock(0.0), lambda: callback_url)


def only(whim: str) -> Misbehaviour:
    return replace(Misbehaviour.none(), **{whim: 1.0})


def opened(server: SandboxServer, number: int = 1) -> httpx.Response:
    data: dict[str, object] = {"case_id": f"case_{number}", "version": 1, "state": "open", "alarms": []}
    body = json.dumps({"type": "case.opened", "data": data}).encode()
    return httpx.post(
        server.url,
        content=body,
        headers=sign(SECRET, f"msg_{number}", time.time(), body),
        verify=IN_THE_CLEAR,
        timeout=PATIENCE_S,
    )


def test_a_well_behaved_sandbox_answers_with_the_record_it_made() -> None:
    with serve(Misbehaviour.none()) as server:
        answer = opened(server)
        assert (answer.status_code, answer.json()) == (200, {"id": "CRM-1001"})
        assert opened(server).json() == {"id": "CRM-1001"}
        assert len(server.sandbox.book.records) == 1
        kept = httpx.get(f"{server.origin}{RECORDS}", verify=IN_THE_CLEAR, timeout=PATIENCE_S).json()["records"]
        assert [(each["number"], each["case_id"], each["state"]) for each in kept] == [("CRM-1001", "case_1", "open")]
        assert (server.sandbox.requests, server.sandbox.bad_signatures) == (2, 0)  # to look is no message


def test_what_is_not_signed_is_refused_and_leaves_nothing() -> None:
    with serve(Misbehaviour.none()) as server:
        answer = httpx.post(
            server.url,
            content=b"{}",
            headers=sign(SECRET, "msg_1", 1.0, b"{}"),
            verify=IN_THE_CLEAR,
            timeout=PATIENCE_S,
        )
        assert answer.status_code == 401
        assert server.sandbox.bad_signatures == 1
        assert not server.sandbox.book.messages


@pytest.mark.parametrize(
    ("whim", "status", "records"),
    [("throttle", 429, 0), ("unavailable", 503, 0), ("fail_after", 500, 1), ("twice", 200, 1), ("late", 200, 1)],
)
def test_each_whim_answers_and_does_what_its_name_says(whim: str, status: int, records: int) -> None:
    with serve(only(whim)) as server:
        answer = opened(server)
        assert answer.status_code == status
        assert len(server.sandbox.book.records) == records
        assert ("retry-after" in answer.headers) == (status == 429)


def test_a_connection_cut_after_the_deed_leaves_the_sender_in_doubt() -> None:
    with serve(only("cut_after")) as server:
        with pytest.raises(httpx.RemoteProtocolError):
            opened(server)
        assert len(server.sandbox.book.records) == 1


class _Listener(BaseHTTPRequestHandler):
    heard: list[tuple[str, dict[str, object], str | None]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        fault = fault_in(SECRET, {name.lower(): value for name, value in self.headers.items()}, body, time.time())
        self.heard.append((self.headers["webhook-id"], json.loads(body)["data"], fault))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002 - the base class names it so


@pytest.fixture
def listener() -> Iterator[tuple[str, type[_Listener]]]:
    handler = type("Listener", (_Listener,), {"heard": []})
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/callbacks/sandbox", handler
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_agent_takes_cases_up_and_resolves_them_by_the_simulated_clock(
    listener: tuple[str, type[_Listener]],
) -> None:
    url, handler = listener
    clock = WorldClock(0.0)
    with serve(Misbehaviour.none(), clock, url) as server:
        for number in range(8):
            opened(server, number)
        clock.reach(30 * 86400.0)
        assert (agent := server.sandbox.agent) is not None
        # The last to be told may be one that was overtaken by the end of its case.
        assert wait_until(lambda: len({message_id for message_id, _, _ in handler.heard}) == 24, PATIENCE_S)
        assert wait_until(lambda: agent.counts.resolved == 8, PATIENCE_S)
    assert not [fault for _, _, fault in handler.heard if fault is not None]
    assert {data["status"] for _, data, _ in handler.heard} == {"accepted", "in_progress", "resolved"}
    assert len(handler.heard) > 24  # some are sent twice
    order = [(data["case"], data["version"]) for _, data, _ in handler.heard]
    assert sorted(order) != sorted(dict.fromkeys(order), key=order.index)  # and some overtake each other


def test_an_imitated_crm_is_played_by_command_and_passes_its_check(tmp_path: Path) -> None:
    """As somebody would who connects careloop to a CRM for the first time."""
    command = [CARELOOP, "simulate", "crm", "--flavour", "zendesk", "--port", "0", "--behave"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as crm:
        assert crm.stdout is not None
        try:
            lines = list(itertools.takewhile(lambda line: not line.startswith("ports"), crm.stdout))
            port = httpx.URL(next(line for line in lines if line.startswith("url")).split('"')[1]).port
            config = tmp_path / "careloop.toml"
            config.write_text("".join(lines) + f"ports = [{port}]\n")
            checked = run_careloop("crm", "check", "sandbox", "--write", "--config", config)
            assert (checked.returncode, checked.stdout.count("ok ")) == (0, 8), checked.stdout
            origin = f"http://127.0.0.1:{port}/sandbox"
            records = httpx.get(f"{origin}/records", verify=IN_THE_CLEAR, timeout=PATIENCE_S).json()["records"]
            assert [record["status"] for record in records] == ["solved"]
            refused = httpx.post(
                f"{origin}/faults", json={"on": "create", "fault": "nonsense"}, verify=IN_THE_CLEAR, timeout=PATIENCE_S
            )
            assert "fail_after" in refused.json()["faults"]
        finally:
            crm.terminate()
