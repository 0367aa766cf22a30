"""Grafana's dashboards: every panel asks what there is, of one tenant, on every edition of the database."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from tempfile import mkdtemp
from typing import LiteralString, cast

import httpx
import pytest
from psycopg import sql

from gateway.database.postmaster import wait_until
from tests.services.console import ConsoleWorld, open_world
from tests.services.gateway import GatewayProcess
from tests.services.grafana import metric_names, sql_queries
from tests.services.in_the_clear import IN_THE_CLEAR
from tests.services.patience import PATIENCE_S


@pytest.fixture
def world(service_folder: Path, database_url: str) -> Iterator[ConsoleWorld]:
    """A gateway with boilers on each edition in turn."""
    folder = Path(mkdtemp(prefix="grafana-", dir=service_folder))
    with open_world(GatewayProcess(folder, url=database_url)) as opened:
        yield opened


def test_every_panel_has_something_to_show_of_one_tenant(world: ConsoleWorld) -> None:
    first, second, third = (world.heat() for _ in range(3))
    world.babble(first)
    world.case_of(third, "proposed")
    for device_id in (first, second):
        case = world.case_of(device_id, "proposed")
        world.decide(case["case_id"], "approve" if device_id == first else "decline")
    world.record_of(world.case_of(first, "open")["case_id"])
    world.cool(first)
    world.case_of(first, "resolved")
    asked = list(sql_queries())
    assert len({query.board for query in asked}) == 3
    empty: list[str] = []

    def is_all_shown() -> bool:  # the CRM's last answer may still be on its way
        empty[:] = [f"{each.board}: {each.panel}" for each in asked if not world.gateway.query(_as_sql(each.text))]
        return not empty

    assert wait_until(is_all_shown, PATIENCE_S), empty
    for each in sql_queries("nobody"):
        told = [value for row in world.gateway.query(_as_sql(each.text)) for value in row]
        assert not [value for value in told if isinstance(value, int | float | Decimal) and value], each.panel
    untold: list[str] = []

    def is_all_told() -> bool:  # what the CRM side's own process counts is told when it says so
        told_of = httpx.get(f"{world.url}/metrics", verify=IN_THE_CLEAR, timeout=PATIENCE_S).text
        untold[:] = [name for name in metric_names() if f"\n{name}" not in told_of]
        return not untold

    assert wait_until(is_all_told, PATIENCE_S), untold


def _as_sql(text: str) -> sql.Composed:
    return sql.Composed([sql.SQL(cast("LiteralString", text))])
