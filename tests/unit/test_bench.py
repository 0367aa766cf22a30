"""What the benchmarks are made of: the same rows for everybody, packets that are MQTT, ratios of what was measured."""

import io
import json
import os
import re
import select
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from devices.payloads.json import JsonCodec
from devices.profiles import load_profiles
from gateway.bench import contest, detect, packets, processor_time
from gateway.bench.figures import write_json
from gateway.bench.ingest import EACH, IngestPlan, IngestReport, better
from gateway.bench.load import LoadFailed, Senders, acknowledgements
from gateway.bench.plot import draw
from gateway.bench.report import show_ingest
from gateway.bench.rows import METRICS, MODEL, Fleet, payloads, readings
from gateway.bench.windowed_gaussian import WindowedGaussian
from gateway.doors.mqtt.packets import Connect
from gateway.doors.mqtt.stream import PacketStream
from gateway.store.rows import ReadingTable
from tests.doors.publishes import Publish, unfold

FLEET = Fleet(senders=7, start_s=1_760_000_000)


def result(seconds: float, readings: int = 1000, **cpu_s: float) -> contest.Result:
    return contest.Result(readings, seconds, cpu_s)


def test_rows_are_readings_the_profile_knows_and_finds_in_range() -> None:
    profile = load_profiles()[MODEL]
    block = FLEET.block(0, 40)

    for number, name in enumerate(METRICS):
        metric = profile.metrics[name]
        assert metric.minimum is not None
        assert metric.maximum is not None
        assert (block.values[:, number] >= metric.minimum).all()
        assert (block.values[:, number] <= metric.maximum).all()
    assert {watch.metric for watch in profile.watches if watch.metric} <= set(METRICS)


def test_every_form_of_a_block_says_the_same() -> None:
    block = FLEET.block(3, 5)
    table = ReadingTable(MODEL, "reading", METRICS, METRICS)
    stored = readings(FLEET, block, table)

    for at, payload in enumerate(payloads(block)):
        (decoded,) = JsonCodec().decode_readings(payload)
        assert decoded == JsonCodec().decode_readings(payload)[0]
        assert getattr(decoded, "ts_us") == stored.ts_us[at]  # noqa: B009 - what is no reading has none
        assert [getattr(decoded, "metrics")[name] for name in METRICS] == stored.values[at].tolist()  # noqa: B009


def test_no_identity_is_told_twice_by_blocks_that_follow_each_other() -> None:
    told = [
        (int(d), int(t))
        for first in (0, 5)
        for b in [FLEET.block(first, 5)]
        for d, t in zip(b.device, b.ts_ms, strict=True)
    ]

    assert len(set(told)) == len(told)


def test_a_stream_is_mqtt_of_one_device_with_its_packets_where_it_says() -> None:
    block = FLEET.block(0, 4)
    streams = packets.streams(FLEET, block)
    expected = payloads(block)

    for at, stream in enumerate(streams):
        name = FLEET.device_ids[at]
        connect, *publishes = unfold(PacketStream(1_000_000).feed(stream.connect + stream.publishes))
        assert isinstance(connect, Connect)
        assert connect.username == name
        assert [packet for packet in publishes if isinstance(packet, Publish)] == publishes
        assert [packet.payload for packet in publishes if isinstance(packet, Publish)] == expected[at :: FLEET.senders]
        assert [packet.topic for packet in publishes if isinstance(packet, Publish)] == [
            f"devices/{name}/telemetry"
        ] * 4
        assert stream.ends[-1] == len(stream.publishes)


def test_packet_identifiers_go_round_without_zero() -> None:
    assert [packets.packet_id(number) for number in (0, 65_534, 65_535)] == [1, 65_535, 1]


@pytest.fixture
def sink() -> Iterator[int]:
    """A null sink's port."""
    command = [sys.executable, "-m", "gateway.bench.sink"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.terminate()


@pytest.mark.parametrize("per_s", [None, 2000.0])
def test_the_load_generator_sends_all_and_takes_each_acknowledgement(sink: int, per_s: float | None) -> None:
    streams = packets.streams(FLEET, FLEET.block(0, 50))

    with Senders("127.0.0.1", sink, streams) as senders:
        assert senders.run(window=3, per_s=per_s) > 0


def test_a_connection_sends_more_whenever_half_of_its_window_is_acknowledged() -> None:
    came: list[int] = []
    (stream, *_) = packets.streams(FLEET, FLEET.block(0, 8))

    def publishes(device: socket.socket, parser: PacketStream, wait_s: float) -> list[Publish]:
        if not select.select([device], [], [], wait_s)[0]:
            return []
        return [packet for packet in unfold(parser.feed(device.recv(65_536))) if isinstance(packet, Publish)]

    def acknowledge_one_by_one(server: socket.socket) -> None:
        device, _ = server.accept()
        parser = PacketStream(1_000_000)
        with device:
            device.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            assert isinstance(unfold(parser.feed(device.recv(65_536)))[0], Connect)
            device.sendall(b"\x20\x02\x00\x00")
            waiting = deque(publishes(device, parser, 10.0))
            came.append(len(waiting))
            while waiting:
                device.sendall(b"\x40\x02" + waiting.popleft().packet_id.to_bytes(2, "big"))
                more = publishes(device, parser, 10.0 if len(came) in {2, 4} else 0.1)
                came.append(len(more))
                waiting.extend(more)

    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as threads:
        serving = threads.submit(acknowledge_one_by_one, server)
        with Senders("127.0.0.1", server.getsockname()[1], [stream]) as senders:
            senders.run(window=4)
        serving.result(10)

    assert came == [4, 0, 2, 0, 2, 0, 0, 0, 0]


def test_a_load_that_is_paced_comes_in_the_same_portions_as_one_that_is_not() -> None:
    came: list[int] = []
    (stream, *_) = packets.streams(FLEET, FLEET.block(0, 8))

    def acknowledge(server: socket.socket) -> None:
        device, _ = server.accept()
        parser = PacketStream(1_000_000)
        with device:
            while sum(came) < len(stream.ends):
                for packet in unfold(parser.feed(device.recv(65_536))):
                    if isinstance(packet, Connect):
                        device.sendall(b"\x20\x02\x00\x00")
                        came.append(0)
                    elif isinstance(packet, Publish):
                        device.sendall(b"\x40\x02" + packet.packet_id.to_bytes(2, "big"))
                        came[-1] += 1
                came.append(0)

    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as threads:
        serving = threads.submit(acknowledge, server)
        with Senders("127.0.0.1", server.getsockname()[1], [stream]) as senders:
            senders.run(window=4, per_s=200.0)
        serving.result(10)

    assert [count % 2 for count in came] == [0] * len(came)


def test_acknowledgements_in_another_order_fail_the_run(sink: int) -> None:
    (stream, *_) = packets.streams(FLEET, FLEET.block(0, 2))
    turned = packets.Stream(
        stream.connect, stream.publishes[stream.ends[0] :] + stream.publishes[: stream.ends[0]], stream.ends
    )

    with Senders("127.0.0.1", sink, [turned]) as senders, pytest.raises(LoadFailed):
        senders.run(window=2)


def test_acknowledgements_are_pubacks() -> None:
    assert acknowledgements(2) == b"\x40\x02\x00\x01\x40\x02\x00\x02"


def test_ratios_are_those_of_the_rounds_and_absent_peers_are_null(tmp_path: Path) -> None:
    results = {
        "listen": [result(0.01, gateway=0.004, database=0.002), result(0.02, gateway=0.006, database=0.004)],
        "raw_copy": [result(0.005), result(0.005)],
        "mosquitto_sub_copy": [result(0.03), result(0.02)],
    }
    fleets = {10_000: [result(0.01)], 1_000_000: [result(0.0125)]}
    report = IngestReport(IngestPlan(), "a database", results, fleets)
    write_json(tmp_path / "figures.json", report.figures)

    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures == {
        "readings_per_s": {
            "listen": 75_000.0,
            "subscribe": None,
            "mosquitto_sub": None,
            "mosquitto_sub_copy": pytest.approx(41_666.7),
            "raw_copy": 200_000.0,
            "node_red": None,
            "subscribe_mqtt5": None,
            "mosquitto_sub_mqtt5": None,
        },
        "ratios": {
            "listen_over_mosquitto_sub_copy": 2.0,
            "listen_over_raw_copy": 0.375,
            "listen_over_node_red": None,
            "subscribe_over_mosquitto_sub": None,
            "fleet_1m_over_10k": 0.8,
            "subscribe_mqtt5_over_mosquitto_sub": None,
            "subscribe_mqtt5_over_mosquitto_sub_mqtt5": None,
        },
        "cpu_us_per_reading": {"gateway": 5.0, "database": 3.0, "broker": None},
        "rounds": {},
    }


def test_subscribe_over_mqtt_5_is_compared_with_mosquitto_sub_over_mqtt_5_and_with_the_one_over_mqtt_3_1_1() -> None:
    results = {
        "subscribe_mqtt5": [result(0.012)],
        "mosquitto_sub": [result(0.01)],
        "mosquitto_sub_mqtt5": [result(0.015)],
        "listen": [result(0.01)],
        "raw_copy": [result(0.01)],
        "null_sink": [result(0.01)],
    }
    report = IngestReport(IngestPlan(), "a database", results)

    ratios = report.figures.ratios
    assert (ratios.subscribe_mqtt5_over_mosquitto_sub_mqtt5, ratios.subscribe_mqtt5_over_mosquitto_sub) == (1.25, 0.833)
    console = Console(width=200, record=True, file=io.StringIO())
    show_ingest(report, console)
    words = console.export_text()
    assert re.search(r"subscribe \(MQTT 5\) / mosquitto_sub over MQTT 5 +1\.25", words)
    assert re.search(r"subscribe \(MQTT 5\) / mosquitto_sub over MQTT 3\.1\.1 +0\.83", words)


def test_of_two_ways_the_one_in_which_a_contestant_does_better_is_its_figure_and_every_round_is_told() -> None:
    by_half = {"subscribe": [result(0.01), result(0.01)], "mosquitto_sub": [result(0.02), result(0.02)]}
    by_each = {"subscribe": [result(0.02), result(0.005)], "mosquitto_sub": [result(0.01), result(0.02)]}
    ways = {name: {10: by_half[name], EACH: by_each[name]} for name in by_half} | {"listen": {10: [result(0.01)] * 2}}
    results = {name: better(its_ways) for name, its_ways in ways.items()}
    report = IngestReport(IngestPlan(), "a database", results, ways=ways)

    assert report.figures.rounds["subscribe"] == {"10": [100_000.0, 100_000.0], "1": [50_000.0, 200_000.0]}
    assert [report.wakes_after(name) for name in ways] == [EACH, EACH, None]
    assert report.figures.readings_per_s.mosquitto_sub == 75_000.0
    assert report.figures.ratios.subscribe_over_mosquitto_sub == 2.25


@pytest.mark.parametrize(
    ("sink_s", "words"),
    [(0.001, "is not the limit: to the null sink it sends 10.0 times"), (0.008, "may be the limit")],
)
def test_it_is_said_whether_the_load_was_enough(sink_s: float, words: str) -> None:
    results = {"listen": [result(0.01)] * 3, "raw_copy": [result(0.01)] * 3, "null_sink": [result(sink_s)] * 3}
    console = Console(width=200, record=True, file=io.StringIO())
    show_ingest(IngestReport(IngestPlan(), "a database", results), console)
    assert words in console.export_text()


def test_processor_time_of_a_server_holds_that_of_its_children() -> None:
    children = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'sum(range(10**7))']); print(); input()"
    with subprocess.Popen([sys.executable, "-c", children], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        own_s, family_s = processor_time.own_s(parent.pid), processor_time.family_s(parent.pid)
        parent.communicate(b"\n")

    assert 0 <= own_s < family_s
    assert processor_time.family_s(os.getpid()) >= processor_time.own_s(os.getpid())


def test_a_child_that_is_reaped_while_its_family_is_counted_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process of a COPY ended with psql, between two looks: its time was in nobody's figure."""
    busy = "import time\nwhile time.process_time() < 0.5: pass"
    before_s = processor_time.family_s(os.getpid())
    with subprocess.Popen([sys.executable, "-c", busy]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and is not reaped
        look = processor_time._children  # pyright: ignore[reportPrivateUsage] - between two looks

        def reap_first(pid: int) -> Sequence[int]:
            child.wait()
            return look(pid)

        monkeypatch.setattr(processor_time, "_children", reap_first)
        assert processor_time.family_s(os.getpid()) >= before_s + 0.4


def test_the_plot_has_a_point_for_every_size() -> None:
    drawn = draw({500: [result(0.02)], 5000: [result(0.01)]}, {10_000: [result(0.01)]}, "<caption>")
    svg = ET.fromstring(drawn)  # noqa: S314 - our own
    assert len(svg.findall(".//{*}circle")) == 3
    assert [text.text for text in svg.findall("{*}text")] == ["<caption>"]


def test_windowed_gaussian_finds_what_does_not_belong() -> None:
    detector = WindowedGaussian()
    usual = [detector.score(10.0 + number % 5) for number in range(7000)]

    assert detector.score(60.0) > 0.999 > max(usual[100:])


def test_what_all_generic_watches_keep_of_a_series_and_its_device_does_not_grow_unseen() -> None:
    # so many turns that what is not needed any more has been given back
    plan = detect.DetectPlan(series=10_000, batch=1000)
    engine, _ = detect.warmed_up(plan)
    assert 500 < detect.bytes_per_series(engine, plan) <= 1150


def test_detection_figures_are_ratios_of_what_was_measured() -> None:
    plan = detect.DetectPlan(series=60, batch=20, seconds=0.01, rounds=1, warm_up_samples=2)
    said: list[str] = []

    figures = detect.run_detect(plan, said.append)

    assert figures.series == 60
    assert figures.updates_per_s > 0
    assert figures.bytes_per_series > 0
    assert figures.ratios.over_windowed_gaussian > 0
    assert (figures.ratios.over_river is None) == (detect.load_river() is None)
    assert said[0] == "warming up"
