"""The dump of a TimescaleDB database that docs/operations.md describes: restored, its hypertables serve a gateway."""

import time
from collections.abc import Callable

import psycopg

from gateway.database.postmaster import wait_until
from tests.integration.test_backup import HOT, WELL, run, send, stored_ms
from tests.services.boilers import start_boilers
from tests.services.crm import Crm
from tests.services.gateway import GatewayProcess
from tests.services.patience import PATIENCE_S
from tests.services.postgres import DatabaseServer

DAY_MS = 86_400_000
CHUNKS = """
SELECT hypertable_name, count(*) FROM timescaledb_information.chunks
WHERE hypertable_name = 'reading_boiler' GROUP BY hypertable_name
"""


def test_a_dump_of_timescaledb_is_restored_and_goes_on_where_it_was(
    new_gateway: Callable[[], GatewayProcess], timescale_server: DatabaseServer, crm: Crm
) -> None:
    with timescale_server.fresh_database() as url, timescale_server.fresh_database(is_empty=True) as restored:
        gateway = new_gateway()
        (boiler,) = start_boilers(gateway, crm, 1, f'[database]\nurl = "{url}"\n')
        now_ms = int(time.time() * 1000) // 1000 * 1000
        days = [now_ms - day * DAY_MS for day in range(15, 0, -1)]
        send(boiler, gateway.port, days, WELL)
        send(boiler, gateway.port, [now_ms - 7_200_000], HOT)
        assert wait_until(lambda: crm.types() == ["case.opened"], PATIENCE_S)
        assert wait_until(lambda: gateway.ask("/v1/counts")["outbox"]["delivered"] == 1, PATIENCE_S)
        assert gateway.stop() == 0
        dump = gateway.folder / "careloop.dump"
        run("pg_dump", url, "--format=custom", f"--file={dump}")
        before = stored_ms(url, boiler)
        assert len(before) == 16

        with psycopg.connect(restored, autocommit=True) as conn:
            conn.execute("CREATE EXTENSION timescaledb")
            conn.execute("SELECT timescaledb_pre_restore()")
        run("pg_restore", restored, "--no-owner", "--exit-on-error", dump)
        with psycopg.connect(restored, autocommit=True) as conn:
            conn.execute("SELECT timescaledb_post_restore()")
        with psycopg.connect(url) as old, psycopg.connect(restored) as new:
            chunks = old.execute(CHUNKS).fetchall()
            assert new.execute(CHUNKS).fetchall() == chunks
            assert int(chunks[0][1]) > 1
        assert stored_ms(restored, boiler) == before

        gateway.config.write_text(gateway.config.read_text().replace(url, restored))
        gateway.start()
        send(boiler, gateway.port, days, WELL)  # again, and then its recovery
        send(boiler, gateway.port, [now_ms - minute * 60_000 for minute in range(110, 0, -1)], WELL)
        assert len(stored_ms(restored, boiler)) == 16 + 110
        assert wait_until(lambda: "case.resolved" in crm.types(), PATIENCE_S), gateway.log[-2000:]
        assert crm.types() == ["case.opened", "case.resolved"]
        assert gateway.stop() == 0
