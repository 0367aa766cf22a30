"""What a new device, or one with a new password, needs to know."""

import json
import shlex
from dataclasses import dataclass

from devices.profiles.model import Profile
from gateway.running import find_gateway
from gateway.settings import Settings


@dataclass(frozen=True, slots=True)
class Welcome:
    """How a device connects; `try_it` is a command that sends a first reading, None without a listen door."""

    device_id: str
    username: str
    password: str
    host: str | None
    port: int | None
    tls: bool
    topic: str
    try_it: str | None


def welcome(settings: Settings, device_id: str, password: str, profile: Profile | None) -> Welcome:
    """For the listen door of the gateway that runs on these settings, or else of the settings themselves."""
    topic = f"devices/{device_id}/telemetry"
    if not settings.listen.enabled:
        return Welcome(device_id, device_id, password, None, None, tls=False, topic=topic, try_it=None)
    running = find_gateway(settings)
    host = (running and running.listen_host) or settings.listen.host
    port = (running and running.listen_port) or settings.listen.port
    tls = settings.listen.tls.enabled
    there = _address(host, tls=tls)
    command = ["mosquitto_pub", "-h", there, "-p", str(port), "-u", device_id, "-P", password, "-i", device_id]
    command += ["--cafile", "YOUR-CA.pem"] if tls else []
    command += ["-q", "1", "-t", topic, "-m", json.dumps({"metrics": _first_metrics(profile)})]
    return Welcome(device_id, device_id, password, host, port, tls=tls, topic=topic, try_it=shlex.join(command))


def _address(host: str, *, tls: bool) -> str:
    """Where to connect to: not all addresses at once, and with TLS by the name that the certificate has."""
    if host not in {"0.0.0.0", "::"}:  # noqa: S104  # compared with, not bound to
        return host
    return "YOUR-GATEWAY" if tls else "127.0.0.1"


def _first_metrics(profile: Profile | None) -> dict[str, float]:
    """A value that the profile allows for its first metric."""
    for name, metric in profile.metrics.items() if profile else ():
        low = metric.minimum if metric.minimum is not None else 0.0
        high = metric.maximum if metric.maximum is not None else max(low, 1.0)
        return {name: min(max(1.0, low), high)}
    return {"temperature": 21.5}
