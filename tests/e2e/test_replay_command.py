"""`careloop simulate replay` into a gateway that runs on today's clock: real data is history there."""

from pathlib import Path

import pytest

from tests.services.gateway import GatewayProcess

NAB = Path(__file__).parents[1] / "data" / "nab" / "speed_t4013.csv.gz"
LINES = 2495


def replay(gateway: GatewayProcess) -> str:
    """Play the lines into a gateway; what the command said."""
    return gateway.command("simulate", "replay", str(NAB), "--registry", gateway.folder / "registry.json")


@pytest.fixture(scope="module")
def replayed(shared_gateway: GatewayProcess) -> GatewayProcess:
    """A gateway that was told the lines, and nothing else; once more changes nothing that a test looks at."""
    assert f"published {LINES:,}, acknowledged {LINES:,}" in replay(shared_gateway)
    return shared_gateway


def test_stored_and_conflicting_and_repeated_lines_are_all_lines(replayed: GatewayProcess) -> None:
    gateway = replayed
    counts = gateway.ask("/v1/counts", exact="true")
    assert (counts["readings"]["stored"], counts["totals"]["conflicts"]) == (2494, 1)
    assert counts["readings"]["stored"] + counts["totals"]["duplicates"] + counts["totals"]["conflicts"] == LINES
    assert gateway.query("SELECT count(*), count(DISTINCT ts) FROM reading_automatic") == [(2494, 2494)]

    assert f"acknowledged {LINES:,}" in replay(gateway)  # once more: nothing new
    counts = gateway.ask("/v1/counts", exact="true")
    assert (counts["readings"]["stored"], counts["readings"]["duplicate_rows"]) == (2494, 0)
    assert counts["totals"]["duplicates"] == 2494


def test_what_happened_years_ago_opens_no_case(replayed: GatewayProcess) -> None:
    counts = replayed.ask("/v1/counts")
    assert counts["readings"]["stored"] == 2494
    assert counts["cases"]["total"] == 0
    for (suppressed,) in replayed.query("SELECT DISTINCT suppressed FROM case_alarm"):
        assert suppressed == "stale"


def test_a_fleet_is_taken_by_a_gateway_on_its_own_clock(gateway: GatewayProcess, tmp_path: Path) -> None:
    play = ("simulate", "fleet", "--devices", "12", "--days", "2", "--registry", str(tmp_path / "fleet.json"))
    said = gateway.command(*play)
    assert "acknowledged" in said
    counts = gateway.ask("/v1/counts", exact="true")
    assert counts["readings"]["stored"] > 500
    assert counts["readings"]["duplicate_rows"] == 0
