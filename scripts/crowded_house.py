"""A console with thousands of rows and with names as long as they get, for pictures of it."""

import asyncio
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final, LiteralString

import psycopg

from devices.clock import to_datetime
from devices.credentials import hash_generated
from devices.ids import partition_of
from gateway.bench import queries
from gateway.bench.house_queries import FILL, NUMBER_DEVICES
from gateway.bench.services import database_server, gateway, work_folder
from gateway.bench.stage import new_database
from gateway.database.migrate import migrate
from gateway.people import passwords

DEVICES: Final = 5000
ENDED: Final = 5000
NAME: Final = "massimiliano.della-rovere-buonconsiglio@assistenza-clienti.elettrodomestici.example"
PASSWORD: Final = "a kettle on a very long shelf"  # noqa: S105 - of a console that stands for a minute
LONG_ID: Final = "Frigocongelatore_combinato_da_incasso_con_dispenser_EU-2026-{:04d}"

_LONG_OWNERS: Final[LiteralString] = """
UPDATE bench_device SET owner_ref = 'contratto-di-assistenza-pluriennale-condominio-' || owner_ref || '-scala-B'
 WHERE n % 5 = 0
"""
_LONG_NAMES: Final[LiteralString] = """
UPDATE device SET model = 'frigocongelatore-combinato-da-incasso-no-frost-classe-a' WHERE device_id LIKE 'Frigo%';
UPDATE firmware_history SET firmware = '10.42.7-rc.3+build.20260118.fix-del-compressore-inverter'
 WHERE device_id LIKE 'Frigo%' AND firmware = '1.2.0';
UPDATE service_case SET team = 'assistenza-tecnica-di-secondo-livello-grandi-elettrodomestici-nord-est',
       assignee = 'massimiliano.della-rovere-buonconsiglio@assistenza-clienti.elettrodomestici.example',
       title = 'Il frigocongelatore combinato da incasso consuma molto più del solito e non raffredda a sufficienza'
 WHERE device_id LIKE 'Frigo%';
UPDATE quarantine SET detail = repeat('una parola dopo l''altra senza fine ', 20) WHERE device_id LIKE 'Frigo%';
UPDATE incident SET title = repeat('Compressori che si fermano dopo l''aggiornamento ', 3) WHERE state = 'open';
"""
_PERSON: Final[LiteralString] = """
INSERT INTO person (tenant_id, person_id, name, role, password, created_at) VALUES ('default', %s, %s, %s, %s, now())
"""
_TOKENS: Final[LiteralString] = """
INSERT INTO api_token (tenant_id, name, role, digest, created_at)
SELECT 'default', 'integrazione-con-il-gestionale-di-magazzino-' || n, 'viewer', sha256(n::text::bytea), now()
  FROM generate_series(1, 40) AS n
"""


@contextmanager
def crowded() -> Generator[tuple[str, str, str]]:
    """Where the console is, and who may sign in."""
    with work_folder() as folder, database_server(folder, None) as server:
        url = new_database(server, "crowded")
        asyncio.run(migrate(url))
        _furnish(url)
        sections = {"database": {"url": url}, "listen": {"port": 0}, "api": {"port": 0}}
        with gateway(folder, "crowded", sections) as running:
            yield running.api_url, NAME, PASSWORD


def _furnish(url: str) -> None:
    ids = [LONG_ID.format(n)[-64:] if n % 3 == 0 else f"bici-{n}" for n in range(DEVICES)]
    values = {"now": to_datetime(time.time()), "devices": DEVICES, "live": DEVICES, "ended": ENDED, "rows": 0}
    with psycopg.connect(url, autocommit=True) as conn:
        partitions = {each: partition_of(each) for each in ids}
        queries.register(conn, partitions, 0, hash_generated("unused"), with_assets=True)
        _ = conn.execute(NUMBER_DEVICES, {"device_ids": ids})
        _ = conn.execute(_LONG_OWNERS)
        for statement in FILL:
            _ = conn.execute(statement, values)
        _ = conn.execute(_LONG_NAMES)
        kept = passwords.keep_chosen(PASSWORD)
        _ = conn.execute(_PERSON, ("prs_long", NAME, "admin", kept))
        for number in range(200):
            _ = conn.execute(_PERSON, (f"prs_{number}", f"collega.numero-{number}@esempio.example", "agent", kept))
        _ = conn.execute(_TOKENS)
        queries.forget_fill(conn)
        queries.tidy(conn)
