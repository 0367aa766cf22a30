"""The benchmark of connections, as small as it goes."""

import json
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest
import trustme
from click.testing import CliRunner

from gateway.bench.cli import bench
from gateway.bench.connections import ConnectionsPlan, run_connections
from gateway.bench.figures import write_json


def test_every_device_comes_in_and_comes_back(
    tmp_path: Path, service_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(service_folder))
    figures = run_connections(ConnectionsPlan(devices=30, registered=10, tls=_certificate(tmp_path)), None, print)
    write_json(tmp_path / "figures.json", figures)
    written = json.loads((tmp_path / "figures.json").read_text())
    assert written == asdict(figures)
    assert written["devices"] == written["storm"]["connected"] == written["restart"]["connected"] == 30
    assert written["storm"]["refused"] == written["restart"]["refused"] == {}
    assert written["connects_per_s"] > 0
    left = [process.info["cmdline"] for process in psutil.process_iter(["cmdline"]) if _is_ours(process)]
    assert left == []
    assert list(service_folder.glob("careloop-bench-*")) == []


def test_it_is_a_command() -> None:
    assert CliRunner().invoke(bench, ["connections", "--help"]).exit_code == 0


def _is_ours(process: psutil.Process) -> bool:
    return "gateway.bench.crowd" in " ".join(process.info["cmdline"] or ()) and process.ppid() == psutil.Process().pid


def _certificate(folder: Path) -> tuple[Path, Path]:
    server = trustme.CA().issue_cert("127.0.0.1")
    certificate, key = folder / "server.pem", folder / "server.key"
    server.cert_chain_pems[0].write_to_path(str(certificate))
    server.private_key_pem.write_to_path(str(key))
    return certificate, key
