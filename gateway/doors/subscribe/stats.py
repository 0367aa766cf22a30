"""What a subscription has seen."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SubscribeStats:
    """What the subscription has seen since it started."""

    connected: int  # times
    lost: int  # times a connection ended, or did not come about
    received: int
    redelivered: int  # marked by the broker as sent before
    acknowledged: int
    too_late: int  # settled when their connection was gone: the broker sends them again
    unsettled: int  # now with the pipeline
