"""The benchmarks from end to end, as small as they go: the real gateway, database and broker, every figure there."""

import socket
import subprocess
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from gateway.bench.cli import bench
from gateway.bench.ingest import BOTH_WAYS, IngestPlan, run_ingest
from gateway.bench.latency import LatencyPlan, run_latency
from gateway.bench.peers import speaking_mqtt5
from gateway.database.postmaster import wait_until
from gateway.database.provisioned import Provisioned
from gateway.doors.mqtt.codes import MQTT_5
from gateway.doors.mqtt.packets import Connect
from gateway.doors.mqtt.stream import PacketStream
from tests.services.patience import PATIENCE_S


@pytest.fixture(autouse=True)
def leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch, service_folder: Path) -> Iterator[None]:
    """A benchmark ends its processes and removes its folders."""
    folder = service_folder / "bench"
    folder.mkdir(mode=0o711)
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    yield
    assert list(folder.iterdir()) == []
    folder.rmdir()
    left: list[list[str]] = []

    def is_all_gone() -> bool:  # a child outlives its killed parent by a moment
        named = (list[str](process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"]))
        left[:] = [words for words in named if str(folder) in " ".join(words)]
        return not left

    assert wait_until(is_all_gone, PATIENCE_S), left


def test_ingest_measures_everybody_who_is_there(provisioned: Provisioned) -> None:
    said: list[str] = []
    plan = IngestPlan(seconds=0.01, rounds=1, connections=10, fleets=(20,), batches=(50,))

    report = run_ingest(plan, provisioned, said.append)

    assert "TimescaleDB" in report.database
    assert list(report.results) == [
        "listen",
        "raw_copy",
        "null_sink",
        "subscribe",
        "subscribe_mqtt5",
        "mosquitto_sub",
        "mosquitto_sub_mqtt5",
        "mosquitto_sub_copy",
    ]
    figures = asdict(report.figures)
    assert all(rate > 0 for name, rate in figures["readings_per_s"].items() if name != "node_red")
    assert figures["readings_per_s"]["node_red"] is None
    rates = report.per_s
    assert figures["ratios"]["listen_over_raw_copy"] == round(rates["listen"][0] / rates["raw_copy"][0], 3)
    assert figures["cpu_us_per_reading"]["gateway"] is not None
    assert {name for name, ways in figures["rounds"].items() if len(ways) > 1} == set(BOTH_WAYS)
    assert list(report.fleets) == [20]
    assert list(report.batches) == [50]
    assert any("listen" in line for line in said)


def test_mosquitto_sub_over_mqtt_5_is_given_the_window_that_careloop_asks_for(provisioned: Provisioned) -> None:
    with socket.create_server(("127.0.0.1", 0)) as broker:
        broker.settimeout(PATIENCE_S)
        address = ["-h", "127.0.0.1", "-p", str(broker.getsockname()[1])]
        client = subprocess.Popen([provisioned.mosquitto_sub, *speaking_mqtt5(60_000), *address, "-t", "a"])
        with client, broker.accept()[0] as accepted:
            accepted.settimeout(PATIENCE_S)
            stream = PacketStream(1024)
            found: list[object] = []
            while not found:
                found += stream.feed(accepted.recv(1024))
            client.kill()

    assert isinstance(found[0], Connect)
    assert (found[0].version, found[0].receive_maximum) == (MQTT_5, 60_000)


def test_ingest_does_without_what_is_not_provisioned() -> None:
    report = run_ingest(IngestPlan(seconds=0.01, rounds=1, connections=10), None, lambda _text: None)

    assert "PostgreSQL" in report.database
    assert list(report.results) == ["listen", "raw_copy", "null_sink"]
    assert report.figures.ratios.subscribe_over_mosquitto_sub is None


def test_latency_times_each_fault_from_its_sending_to_the_crm(provisioned: Provisioned) -> None:
    plan = LatencyPlan(seconds=1.0, connections=10, cases_per_s=3.0, top_seconds=0.05)

    figures = run_latency(plan, provisioned, lambda _text: None)

    assert 0 < figures.p50_s <= figures.p99_s
    assert 0 < figures.at_readings_per_s < figures.top_readings_per_s


@pytest.mark.parametrize("name", ["ingest", "detect", "latency"])
def test_each_benchmark_is_a_command(name: str) -> None:
    assert CliRunner().invoke(bench, [name, "--help"]).exit_code == 0
