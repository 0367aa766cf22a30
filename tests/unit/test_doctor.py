"""What the diagnosis concludes from numbers, and how it reads certificates."""

import os
import runpy
import socket
import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from gateway.doctor.certificates import CertificateError, not_after_s
from gateway.doctor.database import clock_finding
from gateway.doctor.examine import examine_gateway
from gateway.doctor.loops import ALL_LOOPS, Loops, loops_finding
from gateway.doctor.machine import (
    certificate_finding,
    examine_machine,
    judge_disk,
    judge_expiry,
)
from gateway.running import announce_start, forget_gateway
from gateway.settings import load_settings

NOW = datetime(2030, 5, 17, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "ends", [NOW, datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(2051, 1, 1, tzinfo=UTC)]
)
def test_the_end_of_a_certificate_is_read_from_its_der(ends: datetime) -> None:
    certificate = trustme.CA().issue_cert("gateway.example", not_after=ends)
    der = ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode())
    assert not_after_s(der) == ends.timestamp()
    for cut in (0, 1, 10, 100):
        with pytest.raises(CertificateError):
            not_after_s(der[:cut])


@pytest.mark.parametrize(
    ("days", "ok", "says"), [(-1, False, "no longer"), (5, False, "5 days"), (90, True, "90 days")]
)
def test_a_certificate_that_ends_soon_is_told_in_time(days: int, ok: bool, says: str) -> None:
    finding = judge_expiry("certificate x", (NOW + timedelta(days=days)).timestamp(), NOW.timestamp())
    assert finding.ok is ok
    assert says in finding.says
    assert ("renew" in finding.fix) is not ok


def test_of_a_chain_the_first_to_end_counts_and_of_authorities_the_last(tmp_path: Path) -> None:
    ca = trustme.CA()
    pems = [
        ca.issue_cert("x.example", not_after=NOW + timedelta(days=days)).cert_chain_pems[0].bytes() for days in (3, 300)
    ]
    path = tmp_path / "chain.pem"
    path.write_bytes(b"".join(pems))
    assert not certificate_finding("listen.tls.certificate", str(path), min, NOW.timestamp()).ok
    assert certificate_finding("listen.tls.client_ca", str(path), max, NOW.timestamp()).ok
    path.write_text("not a certificate")
    finding = certificate_finding("listen.tls.certificate", str(path), min, NOW.timestamp())
    assert not finding.ok
    assert str(path) in finding.says


@pytest.mark.parametrize(
    ("free", "total", "ok"),
    [(100 << 30, 200 << 30, True), (1 << 30, 200 << 30, False), (6 << 30, 200 << 30, False), (1 << 29, 1 << 30, True)],
)
def test_a_disk_that_is_nearly_full_is_told(free: int, total: int, ok: bool) -> None:
    assert judge_disk("database disk", free, total).ok is ok


@pytest.mark.parametrize(("apart_s", "ok"), [(0.1, True), (-1.9, True), (30.0, False), (-3600.0, False)])
def test_clocks_apart_are_told(apart_s: float, ok: bool) -> None:
    assert clock_finding("the database's", apart_s).ok is ok


def test_too_few_open_files_and_a_folder_that_cannot_be_written_are_told(tmp_path: Path) -> None:
    settings = load_settings(
        None, {"CARELOOP_LISTEN__MAX_CONNECTIONS": "2000000000", "CARELOOP_STATE__FOLDER": str(tmp_path / "state")}
    )
    found = {finding.what: finding for finding in examine_machine(settings)}
    assert not found["open files"].ok
    assert "LimitNOFILE" in found["open files"].fix
    assert found["state folder"].ok == os.access(tmp_path, os.W_OK)


def test_loops_that_are_not_compiled_are_told_with_the_way_out(tmp_path: Path) -> None:
    library = tmp_path / "kernel.so"
    absent = Loops("detectors", library, lambda: None, "NumPy judges")
    missing = loops_finding(absent)
    assert not missing.ok
    assert "were not compiled" in missing.says
    assert "NumPy judges" in missing.says
    assert "C compiler" in missing.fix
    library.write_bytes(b"of another version")
    assert "not of this version" in loops_finding(absent).says
    assert loops_finding(replace(absent, load=object)).ok


def test_the_diagnosis_of_this_machine_names_every_library_of_loops() -> None:
    script = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "build_native.py"))
    assert {str(loops.library).partition("/native/")[2] for loops in ALL_LOOPS} == {
        library.partition("/native/")[2] for library in script["LIBRARIES"]
    }
    found = {finding.what: finding.says for finding in examine_machine(load_settings(None, {}))}
    for loops in ALL_LOOPS:
        assert "loops" in found[loops.what]


def test_a_gateway_that_is_being_started_is_not_told_to_be_another_program(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as api:
        given = {
            "CARELOOP_STATE__FOLDER": str(tmp_path),
            "CARELOOP_LISTEN__PORT": "0",
            "CARELOOP_API__PORT": str(api.getsockname()[1]),
        }
        settings = load_settings(None, given)
        announce_start(settings)
        assert [each.says for each in examine_gateway(settings)] == [f"is being started, as process {os.getpid()}"]
        forget_gateway(settings)
        assert "something else has" in examine_gateway(settings)[0].says
