"""The pages benchmark from end to end, in a house as small as it gets."""

import json
import os
from pathlib import Path

import pytest

from gateway.bench.page_calls import API_CALLS, PAGES
from gateway.bench.pages import PagesPlan, run_pages
from gateway.database.embedded import EmbeddedPostgres


@pytest.fixture(autouse=True)
def folder_that_a_database_may_use(service_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = service_folder / "bench-pages"
    folder.mkdir(exist_ok=True, mode=0o711)
    monkeypatch.setattr("tempfile.tempdir", os.fspath(folder))


def test_every_call_is_answered_and_its_statements_are_seen(service_folder: Path) -> None:
    store = service_folder / "bench-pages" / "kept"
    try:
        figures = run_pages(PagesPlan(rows=1, repeats=2, store=store), None, lambda _text: None)
    finally:
        EmbeddedPostgres(store / "database").remove()
    assert figures.house.busy == figures.house.quiet == 1
    assert [call.path for call in figures.calls] == [call.path for call in (*API_CALLS, *PAGES)]
    assert all(call.p95_ms >= call.p50_ms > 0 for call in figures.calls)
    readings = next(call for call in figures.calls if call.name == "a device's readings: 1,000")
    assert readings.statements >= 2
    assert readings.database_ms > 0
    assert readings.kilobytes > 50
    assert json.loads((store / "filled.json").read_text())["readings"] == figures.house.readings
