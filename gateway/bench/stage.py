"""Databases of one server, each with what a contestant finds when it comes on."""

import asyncio
from collections.abc import Sequence

import psycopg

from devices.credentials import hash_generated
from devices.ids import partition_of
from gateway.bench import queries
from gateway.bench.rows import PASSWORD
from gateway.database.embedded import EmbeddedPostgres, replace_database
from gateway.database.migrate import migrate


def new_database(server: EmbeddedPostgres, name: str) -> str:
    """Make an empty database; its URL."""
    with psycopg.connect(server.url, autocommit=True) as conn:
        queries.create_database(conn, f"bench_{name}")
    return replace_database(server.url, f"bench_{name}")


def registered(
    server: EmbeddedPostgres, name: str, device_ids: Sequence[str], *, idle: int = 0, with_assets: bool = False
) -> str:
    """Make a database whose registry knows these devices, and `idle` more that never send; its URL."""
    url = new_database(server, name)
    asyncio.run(migrate(url))
    partitions = {device_id: partition_of(device_id) for device_id in device_ids}
    with psycopg.connect(url) as conn:
        queries.register(conn, partitions, idle, hash_generated(PASSWORD), with_assets=with_assets)
    with psycopg.connect(url, autocommit=True) as conn:
        queries.tidy(conn)
    return url
