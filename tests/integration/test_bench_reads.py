"""The reads benchmark from end to end, as small as it goes."""

import os
from pathlib import Path

import pytest

from gateway.bench.reads import DAYS, READINGS_A_DAY, ReadsPlan, run_reads
from gateway.database.provisioned import Provisioned


@pytest.fixture(autouse=True)
def folder_that_a_database_may_use(service_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = service_folder / "bench-reads"
    folder.mkdir(exist_ok=True, mode=0o711)
    monkeypatch.setattr("tempfile.tempdir", os.fspath(folder))


def test_every_question_is_answered_on_every_edition(provisioned: Provisioned) -> None:
    figures = run_reads(ReadsPlan(rows=DAYS * READINGS_A_DAY, repeats=2), provisioned, lambda _text: None)
    assert [found.database.split()[0] for found in figures.editions] == ["PostgreSQL", "TimescaleDB"]
    for found in figures.editions:
        assert found.rows == DAYS * READINGS_A_DAY
        assert {name: read.rows for name, read in found.reads.items()} == {
            "device_24h": READINGS_A_DAY,
            "device_90d_hourly": DAYS * 24,
            "device_90d_daily": DAYS,
            "device_90d_raw_by_hour": DAYS * 24,
            "fleet_24h_by_hour": 24,
            "fleet_7d_by_hour": 168,
            "fleet_24h_raw_by_hour": 24,
        }
        assert all(read.plan and read.buffers for read in found.reads.values())
