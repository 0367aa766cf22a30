"""Which engine carries the subscription."""

from gateway.doors.settings import SubscribeSettings
from gateway.doors.subscribe.fast_engine import FastSubscription
from gateway.doors.subscribe.paho_engine import PahoSubscription

Subscription = FastSubscription | PahoSubscription


def choose_engine(settings: SubscribeSettings) -> type[Subscription]:
    """The engine that is asked for; by default the fast one, and paho-mqtt for what that does not speak."""
    if settings.engine == "paho" or settings.transport != "tcp":
        return PahoSubscription
    return FastSubscription
