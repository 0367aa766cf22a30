"""careloop as a contestant, through each of its doors; the gateway is a process as anybody starts it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from psycopg import Connection
from psycopg.rows import TupleRow

from devices.errors import Retryable
from gateway.bench.contest import Meter, Result, Round
from gateway.bench.load import ANSWER_TIMEOUT_S, Senders
from gateway.bench.processor_time import family_s, own_s
from gateway.bench.queries import stored
from gateway.bench.services import Broker, Gateway

_LOOK_S: Final = 0.01


@dataclass(frozen=True, slots=True)
class Bench:
    """What all contestants share."""

    database_pid: int
    window: int  # packets that a connection may have unacknowledged

    def database_s(self) -> float:
        """Processor time of the database server."""
        return family_s(self.database_pid)


@dataclass(frozen=True, slots=True)
class Listen:
    """Devices connect to the gateway itself; done when it has acknowledged, and with that stored, every reading."""

    bench: Bench
    gateway: Gateway
    database: Connection[TupleRow]
    name: str = "listen"

    def take(self, given: Round) -> Result:
        """Send a round through the door."""
        before = stored(self.database)
        pid = self.gateway.process.pid
        with Senders("127.0.0.1", self.gateway.listen_port, given.streams) as senders:
            meter = Meter({"gateway": lambda: own_s(pid), "database": self.bench.database_s})
            senders.run(self.bench.window, wakes_after=given.wakes_after)
            result = meter.result(len(given))
        kept = stored(self.database) - before
        if kept != len(given):
            raise Retryable("not_stored", f"{len(given)} readings were acknowledged, {kept} stored")
        return result


@dataclass(frozen=True, slots=True)
class Subscribe:
    """The gateway is a client of a broker; done when it has stored every reading."""

    bench: Bench
    gateway: Gateway
    broker: Broker
    database: Connection[TupleRow]
    name: str = "subscribe"

    def take(self, given: Round) -> Result:
        """Send a round through the broker."""
        before = stored(self.database)
        gateway_pid, broker_pid = self.gateway.process.pid, self.broker.process.pid
        with Senders("127.0.0.1", self.broker.port, given.streams) as senders:
            meter = Meter(
                {
                    "gateway": lambda: own_s(gateway_pid),
                    "database": self.bench.database_s,
                    "broker": lambda: own_s(broker_pid),
                }
            )
            senders.run(self.bench.window, wakes_after=given.wakes_after)
            wait_for_rows(lambda: stored(self.database) - before, len(given))
            result = meter.result(len(given))
        self.broker.rest()
        return result


def wait_for_rows(count: Callable[[], int], wanted: int, look_s: float = _LOOK_S) -> None:
    """Wait until the rows are there. Raises Retryable when no more come, or more than there should be."""
    last, heard_s = -1, time.monotonic()
    while (found := count()) < wanted:
        if found != last:
            last, heard_s = found, time.monotonic()
        elif time.monotonic() - heard_s > ANSWER_TIMEOUT_S:
            raise Retryable("not_stored", f"{found} of {wanted} readings were stored, then none for a minute")
        time.sleep(look_s)
    if found != wanted:
        raise Retryable("stored_twice", f"{wanted} readings were sent, {found} stored")
