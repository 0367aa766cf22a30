"""`careloop simulate replay` into a gateway that runs on today's clock: real data is history there."""

from pathlib import Path

from tests.services.gateway import GatewayProcess

NAB = Path(__file__).parents[1] / "data" / "nab" / "speed_t4013.csv.gz"
LINES = 2495


def test_stored_and_conflicting_and_repeated_lines_are_all_lines(gateway: GatewayProcess, tmp_path: Path) -> None:
    play = ("simulate", "replay", str(NAB), "--registry", str(tmp_path / "registry.json"))
    assert f"published {LINES:,}, acknowledged {LINES:,}" in gateway.command(*play)
    counts = gateway.ask("/v1/counts", exact="true")
    assert (counts["readings"]["stored"], counts["totals"]["conflicts"]) == (2494, 1)
    assert counts["readings"]["stored"] + counts["totals"]["duplicates"] + counts["totals"]["conflicts"] == LINES
    assert gateway.query("SELECT count(*), count(DISTINCT ts) FROM reading_automatic") == [(2494, 2494)]

    assert f"acknowledged {LINES:,}" in gateway.command(*play)  # once more: nothing new
    counts = gateway.ask("/v1/counts", exact="true")
    assert (counts["readings"]["stored"], counts["readings"]["duplicate_rows"]) == (2494, 0)
    assert counts["totals"]["duplicates"] == 2494


def test_what_happened_years_ago_opens_no_case(gateway: GatewayProcess, tmp_path: Path) -> None:
    gateway.command("simulate", "replay", str(NAB), "--registry", str(tmp_path / "registry.json"))
    counts = gateway.ask("/v1/counts")
    assert counts["readings"]["stored"] == 2494
    assert counts["cases"]["total"] == 0
    for (suppressed,) in gateway.query("SELECT DISTINCT suppressed FROM case_alarm"):
        assert suppressed == "stale"


def test_a_fleet_is_taken_by_a_gateway_on_its_own_clock(gateway: GatewayProcess, tmp_path: Path) -> None:
    play = ("simulate", "fleet", "--devices", "12", "--days", "2", "--registry", str(tmp_path / "fleet.json"))
    said = gateway.command(*play)
    assert "acknowledged" in said
    counts = gateway.ask("/v1/counts", exact="true")
    assert counts["readings"]["stored"] > 500
    assert counts["readings"]["duplicate_rows"] == 0
