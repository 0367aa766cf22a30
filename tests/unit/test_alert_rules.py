"""The alert rules that are shipped as an example ask for metrics that there are."""

import os
import re
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from gateway.database.provisioned import cache_folder, find_provisioned
from gateway.doors.listen.counters import ListenStats
from gateway.doors.subscribe.stats import SubscribeStats
from gateway.metrics.facts import DatabaseFacts, Facts, QueueFacts
from gateway.metrics.families import families
from gateway.order.totals import OrderTotals
from gateway.pipeline.stats import PipelineStats
from gateway.pipeline.timings import BatchTimings
from gateway.store.tallies import Backlog, Tallies

ROOT = Path(__file__).parents[2]
RULES = ROOT / "docs" / "prometheus" / "careloop.rules.yml"
OF_THE_LIBRARY = {"process_open_fds", "process_max_fds", "up"}


def listen_stats() -> ListenStats:
    numbers = dict.fromkeys(ListenStats.__dataclass_fields__, 0)
    return ListenStats(**cast("Any", {**numbers, "refused": {}, "violations": {}}))


def facts() -> Facts:
    """A gateway of which everything is known."""
    pulse = SimpleNamespace(
        stats=SimpleNamespace(
            notices=1,
            parked=0,
            failures=0,
            deliveries={"helpdesk": {"ok": 1}},
            delivery_s={"helpdesk": 0.5},
            compared={"helpdesk": 1},
            drifts={"helpdesk": {"field": 1}},
            hooks_missed={"helpdesk": 0.0},
        ),
        loop_lag_s=0.0,
        pool={},
    )
    stats = PipelineStats(quarantined={"malformed": 1})
    tallies = Tallies({("silence", "active"): 1}, {"open": 1}, {"parked": 1}, {"dead": 1}, {"malformed": 1})
    return Facts(
        version="1",
        database_edition="PostgreSQL",
        checks={"database": True},
        now_s=0.0,
        stats=stats,
        timings=BatchTimings(),
        queue=QueueFacts(0, 0, 1, 1, 0.0),
        doors={"listen": True},
        listen=listen_stats(),
        subscribe=SubscribeStats(*[0] * len(SubscribeStats.__dataclass_fields__)),
        database=DatabaseFacts(0.0, tallies, Backlog(0.0, None, 0, 0)),
        order=OrderTotals(
            **cast("Any", {**dict.fromkeys(OrderTotals.__dataclass_fields__, 0), "rejudged": {"kept": 1}})
        ),
        pools={"api": {}},
        loop_lag_s={"gateway": 0.0},
        crm=cast("Any", pulse),
        crm_restarts=0,
    )


def told() -> set[str]:
    """Every name that a sample can have."""
    names: set[str] = set()
    for family in families(facts()):
        ends = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "info": ("_info",)}
        names |= {family.name + end for end in ends.get(family.type, ("",))}
    return names


def test_rules_ask_for_metrics_that_there_are() -> None:
    expressions = re.findall(r"expr: >?\s*(.+?)\n\s+(?:for|labels):", RULES.read_text(), re.DOTALL)
    assert len(expressions) == RULES.read_text().count("- alert: ")
    asked = {
        name
        for expression in expressions
        for name in re.findall(r"\b(?:careloop|process|up)\w*", re.sub(r'"[^"]*"', "", expression))
    }
    assert len(asked) > 15
    assert asked <= told() | OF_THE_LIBRARY, asked - told()


def test_promtool_takes_them() -> None:
    found = find_provisioned(cache_folder(os.environ))
    assert found is not None, "run `make provision` first"
    assert found.promtool is not None, "run `make provision` first"
    done = subprocess.run([found.promtool, "check", "rules", RULES], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"SUCCESS: {RULES.read_text().count('- alert: ')} rules found" in done.stdout


def test_every_rule_says_how_grave_it_is_and_what_it_is_about() -> None:
    rules = RULES.read_text().split("- alert: ")[1:]
    for rule in rules:
        assert re.search(r"labels: \{severity: (warning|critical)\}", rule), rule
        assert "summary: " in rule


def test_operations_names_every_metric() -> None:
    said = (ROOT / "docs" / "metrics.md").read_text()
    assert [name for name in told() if re.sub(r"_(total|bucket|sum|count|info)$", "", name) not in said] == []
