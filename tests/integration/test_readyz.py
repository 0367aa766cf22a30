"""/readyz of a real gateway whose database is paused, or another's, or whose broker is away."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil

from gateway.database.postmaster import wait_until
from tests.services.gateway import CARELOOP, GatewayProcess
from tests.services.in_the_clear import IN_THE_CLEAR
from tests.services.mosquitto import Mosquitto
from tests.services.patience import PATIENCE_S


def readiness(url: str) -> tuple[int, dict[str, str]]:
    """The status, and what is said of the parts that are not well; it is said soon, even where a part hangs."""
    answer = httpx.get(f"{url}/readyz", verify=IN_THE_CLEAR, timeout=PATIENCE_S)
    checks: dict[str, Any] = answer.json()["checks"]
    return answer.status_code, {name: check["says"] for name, check in checks.items() if not check["ok"]}


def test_a_paused_database_is_told_and_forgotten_when_it_goes_on(shared_gateway: GatewayProcess) -> None:
    gateway = shared_gateway
    url = str(gateway.address["api_url"])
    assert wait_until(lambda: readiness(url) == (200, {}), PATIENCE_S)
    data = Path(json.loads((gateway.state / "database" / "connection.json").read_text())["data"])
    postmaster = psutil.Process(int((data / "postmaster.pid").read_text().split()[0]))
    paused = [postmaster, *postmaster.children(recursive=True)]
    for process in paused:
        process.suspend()
    try:
        assert wait_until(lambda: "has not answered for" in readiness(url)[1].get("database", ""), PATIENCE_S)
        assert readiness(url)[0] == 503
        assert httpx.get(f"{url}/healthz", verify=IN_THE_CLEAR, timeout=PATIENCE_S).status_code == 200
        assert (
            'careloop_check{part="database"} 0.0'
            in httpx.get(f"{url}/metrics", verify=IN_THE_CLEAR, timeout=PATIENCE_S).text
        )
    finally:
        for process in paused:
            process.resume()
    assert wait_until(lambda: readiness(url) == (200, {}), PATIENCE_S)


def test_a_standby_says_that_it_is_one(
    shared_gateway: GatewayProcess, new_gateway: Callable[[], GatewayProcess]
) -> None:
    other = new_gateway()
    other.configure(f'[database]\nurl = "{shared_gateway.database_url}"\n')
    with (other.folder / "gateway.log").open("ab") as log:
        standby = subprocess.Popen([CARELOOP, "run", "--config", other.config], stdout=log, stderr=log)
    try:
        assert wait_until(lambda: "database  " in other.log, PATIENCE_S)  # said after the API answers
        (line,) = [line for line in other.log.splitlines() if line.startswith("api ")]
        url = line.split()[1]
        assert wait_until(lambda: "standby" in readiness(url)[1].get("pipeline", ""), PATIENCE_S)
        assert readiness(url)[0] == 503
    finally:
        standby.terminate()
        standby.wait(PATIENCE_S)


def test_a_broker_that_is_away_is_told(new_gateway: Callable[[], GatewayProcess], mosquitto: Mosquitto) -> None:
    gateway = new_gateway()
    gateway.configure(f"[subscribe]\nenabled = true\nport = {mosquitto.port}\nreconnect_max = 0.5\n")
    gateway.start()
    url = str(gateway.address["api_url"])
    assert wait_until(lambda: readiness(url) == (200, {}), PATIENCE_S)
    mosquitto.stop()
    assert wait_until(lambda: readiness(url) == (503, {"subscribe": "not reachable for devices"}), PATIENCE_S)
    mosquitto.start()
    assert wait_until(lambda: readiness(url) == (200, {}), PATIENCE_S)
