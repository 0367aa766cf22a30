"""Node-RED as a contestant, where it is installed: what its users would draw, with the batching that makes it fast.

mqtt in (QoS 1) → join 500 → a function that inserts them with one statement through the npm package `pg`, which has to
be installed beside node-red. It validates and judges nothing, and acknowledges before anything is stored.
"""

import json
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from psycopg import Connection
from psycopg.rows import TupleRow

from gateway.bench.contest import Meter, Result, Round
from gateway.bench.load import Senders
from gateway.bench.ours import Bench, wait_for_rows
from gateway.bench.processor_time import own_s
from gateway.bench.queries import count_rows, empty_table
from gateway.bench.rows import METRICS
from gateway.bench.services import Broker, free_port, running, wait_for

TABLE: Final = "node_red"
_LOOK_S: Final = 0.1
_JOIN: Final = 500
_DRAWN: Final = {"z": "flow", "x": 100, "y": 100}  # a node without a place is taken for a configuration


@dataclass(frozen=True, slots=True)
class NodeRed:
    """A flow that runs; done when the table has every reading."""

    bench: Bench
    pid: int
    broker: Broker
    database: Connection[TupleRow]
    name: str = "node_red"

    def take(self, given: Round) -> Result:
        """Publish a round, and wait until the flow has inserted it."""
        empty_table(self.database, TABLE)
        broker_pid = self.broker.process.pid
        with Senders("127.0.0.1", self.broker.port, given.streams) as senders:
            meter = Meter(
                {
                    "client": lambda: own_s(self.pid),
                    "database": self.bench.database_s,
                    "broker": lambda: own_s(broker_pid),
                }
            )
            senders.run(self.bench.window, wakes_after=given.wakes_after)
            wait_for_rows(lambda: count_rows(self.database, TABLE), len(given), _LOOK_S)
            result = meter.result(len(given))
        self.broker.rest()
        return result


def find_node_red() -> Path | None:
    """Node-RED's program on the path, with `pg` where it can be required from; else None."""
    found = shutil.which("node-red")
    if found is None:
        return None
    program = Path(found).resolve()
    return program if any((folder / "node_modules" / "pg").exists() for folder in program.parents) else None


@contextmanager
def node_red(folder: Path, program: Path, broker: Broker, url: str) -> Generator[int]:
    """A Node-RED with the flow, subscribed; its process id."""
    home = folder / "node-red"
    home.mkdir()
    (home / "settings.js").write_text(_settings(program, url))
    (home / "settings.js").chmod(0o600)
    (home / "flows.json").write_text(json.dumps(_flow(broker.port)))
    before = broker.subscriptions
    command = ["node", program, "--userDir", home, "--settings", home / "settings.js", "flows.json"]
    log = folder / "node-red.log"
    with running(command, log) as process:
        wait_for(lambda: broker.subscriptions > before, process, log)
        yield process.pid


def _settings(program: Path, url: str) -> str:
    settings = {"uiHost": "127.0.0.1", "uiPort": free_port(), "httpAdminRoot": False, "flowFile": "flows.json"}
    require = f"require(require.resolve('pg', {{paths: [{json.dumps(os.fspath(program.parent))}]}}))"
    pool = f"new ({require}.Pool)({json.dumps({'connectionString': url, 'max': 4})})"
    return f"module.exports = {{...{json.dumps(settings)}, functionGlobalContext: {{pool: {pool}}}}}\n"


def _flow(port: int) -> list[dict[str, object]]:
    broker = {"id": "broker", "type": "mqtt-broker", "broker": "127.0.0.1", "port": str(port), "clientid": "node-red"}
    source = {"id": "in", "type": "mqtt in", "topic": "devices/+/telemetry", "qos": "1", "datatype": "json"}
    join = {"id": "join", "type": "join", "mode": "custom", "build": "array", "property": "", "propertyType": "full"}
    store: dict[str, object] = {"id": "store", "type": "function", "outputs": 0, "func": _FUNCTION, "libs": []}
    return [
        {"id": "flow", "type": "tab", "label": "ingest"},
        {**broker, "protocolVersion": "4", "keepalive": "60", "cleansession": True},
        {**source, **_DRAWN, "broker": "broker", "wires": [["join"]]},
        {**join, **_DRAWN, "count": str(_JOIN), "timeout": "0.5", "wires": [["store"]]},
        {**store, **_DRAWN, "wires": []},
    ]


_COLUMNS: Final = ", ".join(METRICS)
_ARRAYS: Final = ", ".join(f"${number + 3}::float8[]" for number in range(len(METRICS)))
# For a program of JavaScript, made of this file's constants.
_FUNCTION: Final = f"""
const rows = msg.payload;
const metrics = {json.dumps(METRICS)};
const values = [
    rows.map(m => m.topic.split('/')[1]),
    rows.map(m => new Date(m.payload.ts)),
    ...metrics.map(name => rows.map(m => m.payload.metrics[name])),
];
global.get('pool').query(
    'INSERT INTO {TABLE} (device_id, ts, {_COLUMNS}) SELECT * FROM unnest($1::text[], $2::timestamptz[], {_ARRAYS})'
    + ' ON CONFLICT DO NOTHING', values
).catch(error => node.error(error));
"""  # noqa: S608
