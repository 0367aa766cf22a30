"""A subscription to a broker on loopback."""

import random
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import structlog

from devices.clock import SystemClock
from gateway.doors.routes import Routes
from gateway.doors.settings import SubscribeSettings
from gateway.doors.subscribe.choose import Subscription, choose_engine
from gateway.intake import Intake
from tests.doors.intake import eventually
from tests.services.mosquitto import Mosquitto
from tests.services.patience import PATIENCE_S

TELEMETRY = "devices/d1/telemetry"


def new_subscription(intake: Intake, port: int, routes: Routes | None = None, **settings: Any) -> Subscription:
    """A subscription that comes back fast."""
    quick: dict[str, Any] = {"reconnect_min": 0.05, "reconnect_max": 0.2, **settings}
    chosen = SubscribeSettings(port=port, **quick)
    return choose_engine(chosen)(
        chosen,
        intake,
        routes or Routes(),
        SystemClock(),
        structlog.get_logger(),
        random.Random(1),
    )


@asynccontextmanager
async def subscribed(
    intake: Intake, port: int, routes: Routes | None = None, **settings: Any
) -> AsyncGenerator[Subscription]:
    """A subscription that is connected, for the length of a `with`."""
    subscription = new_subscription(intake, port, routes, **settings)
    await subscription.start()
    try:
        await eventually(lambda: subscription.healthy)
        yield subscription
    finally:
        await subscription.stop()


def publish(broker: Mosquitto, *lines: str, topic: str = TELEMETRY, qos: int = 1, more: tuple[str, ...] = ()) -> None:
    """Publish lines with the broker's own client; returns when the broker has acknowledged them."""
    subprocess.run(
        [
            *(broker.binaries.mosquitto_pub, "-h", broker.host, "-p", str(broker.port)),
            *("-q", str(qos), "-t", topic, *more, "-l"),
        ],
        input="".join(f"{line}\n" for line in lines).encode(),
        check=True,
        timeout=PATIENCE_S,
    )
