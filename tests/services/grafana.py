"""Grafana's dashboards as tests want them: each panel's query with Grafana's macros filled in."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "grafana"
MACROS = {
    r"\$__timeGroupAlias\(([^,()]+), \$__interval\)": r"date_trunc('hour', \1) AS time",
    r"\$__timeFilter\(([^()]+)\)": r"\1 BETWEEN now() - interval '1 day' AND now() + interval '1 day'",
    r"\$__timeFrom\(\)": "(now() - interval '1 day')",
    r"\$__timeTo\(\)": "(now() + interval '1 day')",
}
TENANT = "${tenant:sqlstring}"
"""The variable that every panel's query asks; Grafana puts the chosen tenants there, quoted."""


@dataclass(frozen=True)
class PanelQuery:
    """What one panel asks."""

    board: str
    panel: str
    text: str


def sql_queries(tenant: str = "default") -> Iterator[PanelQuery]:
    """The SQL of every panel, as PostgreSQL takes it, for one tenant."""
    for asked in _targets("rawSql"):
        assert TENANT in asked.text, f"{asked.board}: {asked.panel} shows everybody's"
        text = asked.text.replace(TENANT, f"'{tenant}'")
        for macro, meaning in MACROS.items():
            text = re.sub(macro, meaning, text)
        yield PanelQuery(asked.board, asked.panel, text)


def metric_names() -> Iterator[str]:
    """Every metric that a panel asks Prometheus for."""
    for asked in _targets("expr"):
        yield from re.findall(r"careloop_\w+", asked.text)


def _targets(kind: str) -> Iterator[PanelQuery]:
    for path in sorted(FOLDER.glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel["targets"]:
                if kind in target:
                    yield PanelQuery(path.stem, panel["title"], target[kind])
