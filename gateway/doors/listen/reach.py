"""What a device may reach through its connection: the topics that it may publish on, and those that it may hear."""

from dataclasses import dataclass

from gateway.authority import Authority
from gateway.doors.routes import DEVICE, GATEWAY, Match, RoutePattern, Routes
from gateway.intake import Route


@dataclass(frozen=True, slots=True)
class Reach:
    """Its own topics, and those of devices that it may speak for."""

    routes: Routes
    authority: Authority

    def match(self, device_id: str, topic: str) -> Match | None:
        """What a topic carries, of which device; None when `device_id` may not publish there.

        A topic that names no device is the connection's own. One that names the connection it comes by must name this
        one, whoever's device it is: an edge node's counting is not for others to disturb.
        """
        match = self.routes.match(topic)
        if not match.device_id:
            return Match(match.route, device_id, match.codec)
        if self.routes.speaker(topic) not in ("", device_id):
            return None
        if match.device_id == device_id:
            return match
        is_known = match.route is not Route.UNKNOWN
        return match if is_known and self.authority.may(device_id, match.device_id) else None

    def may_hear(self, device_id: str, topic_filter: str) -> bool:
        """Whether a dialect may have something to tell this device on such topics."""
        levels = topic_filter.split("/")
        return any(_is_own(pattern, levels, device_id) for pattern in self.routes.answers)


def _is_own(pattern: RoutePattern, levels: list[str], device_id: str) -> bool:
    found = pattern.read(levels)
    if found is None or "#" in levels:
        return False
    return found.get(GATEWAY, found.get(DEVICE, device_id)) == device_id
