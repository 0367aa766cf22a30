"""Which topic carries what: patterns with `{device_id}` and fixed levels, each naming a codec."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from devices.ids import is_device_id
from gateway.intake import Route

DEVICE: Final = "{device_id}"
COMMAND: Final = "{command_id}"
_HOME_LEVELS: Final = len(("devices", DEVICE))


class RouteError(ValueError):
    """A pattern that cannot be a route; the message says why."""


class Match(NamedTuple):
    """What a topic turned out to be; `device_id` is "" when it names none."""

    route: Route
    device_id: str
    codec: str


@dataclass(frozen=True, slots=True)
class RoutePattern:
    """A pattern such as ``devices/{device_id}/telemetry``, split into levels."""

    levels: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> "RoutePattern":
        """Split a pattern. Raises RouteError."""
        levels = tuple(text.split("/"))
        if levels.count(DEVICE) != 1:
            message = f"{text!r} must have exactly one level {DEVICE}"
            raise RouteError(message)
        if levels.count(COMMAND) > 1:
            message = f"{text!r} may have one level {COMMAND}"
            raise RouteError(message)
        for level in levels:
            if level in (DEVICE, COMMAND):
                continue
            if any(sign in level for sign in "+#{}\0"):
                message = f"{text!r}: a level is fixed text, {DEVICE} or {COMMAND}, not {level!r}"
                raise RouteError(message)
        if levels[0].startswith("$"):
            message = f"{text!r}: topics that begin with $ are the broker's own"
            raise RouteError(message)
        return cls(levels)

    @property
    def topic_filter(self) -> str:
        """The MQTT topic filter that subscribes to everything this pattern matches."""
        return "/".join("+" if level in (DEVICE, COMMAND) else level for level in self.levels)

    @property
    def shape(self) -> tuple[tuple[int, ...], int]:
        """Where the variable levels stand, and how many levels there are."""
        variable = tuple(at for at, level in enumerate(self.levels) if level in (DEVICE, COMMAND))
        return variable, len(self.levels)


@dataclass(frozen=True, slots=True)
class RouteRule:
    """A pattern, what its topics carry, and the codec of their payloads."""

    pattern: RoutePattern
    route: Route
    codec: str


def _rule(pattern: str, route: Route) -> RouteRule:
    return RouteRule(RoutePattern.parse(pattern), route, "json")


DEFAULT_RULES: Final = (
    _rule("devices/{device_id}/telemetry", Route.TELEMETRY),
    _rule("devices/{device_id}/events", Route.EVENTS),
    _rule("devices/{device_id}/status", Route.STATUS),
    _rule("devices/{device_id}/commands/{command_id}/ack", Route.COMMAND_ACK),
)


class _Shape(NamedTuple):
    """All rules whose variable levels stand at the same places: one dictionary look-up decides among them."""

    size: int
    fixed_at: tuple[int, ...]
    device_at: int
    rules: dict[tuple[str, ...], RouteRule]


class Routes:
    """Finds what a topic carries, in time that depends on the number of pattern shapes, not of patterns."""

    def __init__(self, rules: Iterable[RouteRule] = ()) -> None:
        """Take further rules; they win over the default ones where both match."""
        self.rules: Sequence[RouteRule] = (*rules, *DEFAULT_RULES)
        self._by_size: dict[int, list[_Shape]] = {}
        for rule in self.rules:
            self._add(rule)

    def _add(self, rule: RouteRule) -> None:
        levels = rule.pattern.levels
        variable, size = rule.pattern.shape
        fixed_at = tuple(at for at in range(size) if at not in variable)
        device_at = levels.index(DEVICE)
        key = tuple(levels[at] for at in fixed_at)
        shapes = self._by_size.setdefault(size, [])
        for shape in shapes:
            if shape.fixed_at == fixed_at and shape.device_at == device_at:
                shape.rules.setdefault(key, rule)
                return
        shapes.append(_Shape(size, fixed_at, device_at, {key: rule}))

    def match(self, topic: str) -> Match:
        """What `topic` carries and of which device.

        A topic that no rule knows is `Route.UNKNOWN`; below ``devices/{device_id}/`` it still names a device.
        """
        levels = topic.split("/")
        for shape in self._by_size.get(len(levels), ()):
            rule = shape.rules.get(tuple([levels[at] for at in shape.fixed_at]))
            if rule is not None and is_device_id(levels[shape.device_at]):
                return Match(rule.route, levels[shape.device_at], rule.codec)
        named = len(levels) >= _HOME_LEVELS and levels[0] == "devices" and is_device_id(levels[1])
        return Match(Route.UNKNOWN, levels[1] if named else "", "")

    def topic_filters(self) -> tuple[str, ...]:
        """The MQTT topic filters that together subscribe to every route, without doubles."""
        return tuple(dict.fromkeys(rule.pattern.topic_filter for rule in self.rules))
