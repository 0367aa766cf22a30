"""Which topic carries what: patterns with `{device_id}` and fixed levels, each naming a codec.

A level of a pattern is fixed text, or stands for any text:

    {device_id}    the device
    {gateway_id}   the device through which it is connected, where it has no connection of its own
    {command_id}   the command that is acknowledged
    {partition}    a level that spreads devices; looked at only where the route says so
    {any}, +       any level
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from devices.ids import is_device_id, partition_of
from gateway.intake import Route

DEVICE: Final = "{device_id}"
GATEWAY: Final = "{gateway_id}"
COMMAND: Final = "{command_id}"
PARTITION: Final = "{partition}"
ANY: Final = ("{any}", "+")
VARIABLE: Final = frozenset({DEVICE, GATEWAY, COMMAND, PARTITION, *ANY})
_ONCE: Final = (DEVICE, GATEWAY, COMMAND, PARTITION)
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
    def parse(cls, text: str, *, names_device: bool = True) -> "RoutePattern":
        """Split a pattern; only a dialect's may leave the device to the connection. Raises RouteError."""
        levels = tuple(text.split("/"))
        if names_device and levels.count(DEVICE) != 1:
            message = f"{text!r} must have exactly one level {DEVICE}"
            raise RouteError(message)
        for variable in _ONCE:
            if levels.count(variable) > 1:
                message = f"{text!r} may have one level {variable}"
                raise RouteError(message)
        for level in levels:
            if level not in VARIABLE and any(sign in level for sign in "+#{}\0"):
                known = ", ".join(sorted(VARIABLE))
                message = f"{text!r}: a level is fixed text, or one of {known}; not {level!r}"
                raise RouteError(message)
        if levels[0].startswith("$"):
            message = f"{text!r}: topics that begin with $ are the broker's own"
            raise RouteError(message)
        return cls(levels)

    @property
    def topic_filter(self) -> str:
        """The MQTT topic filter that subscribes to everything this pattern matches."""
        return "/".join("+" if level in VARIABLE else level for level in self.levels)

    @property
    def fixed_at(self) -> tuple[int, ...]:
        """Where the fixed levels stand."""
        return tuple(at for at, level in enumerate(self.levels) if level not in VARIABLE)

    def read(self, levels: Sequence[str]) -> Mapping[str, str] | None:
        """What stands at the variable levels of a topic, or of a topic filter; None where it is of another pattern."""
        if len(levels) != len(self.levels):
            return None
        pairs = list(zip(self.levels, levels, strict=True))
        if any(own != level for own, level in pairs if own not in VARIABLE):
            return None
        return {own: level for own, level in pairs if own in _ONCE}


@dataclass(frozen=True, slots=True)
class RouteRule:
    """A pattern, what its topics carry, and the codec of their payloads."""

    pattern: RoutePattern
    route: Route
    codec: str
    checks_partition: bool = False  # the level {partition} must be the device's, or the topic is none of ours


def _rule(pattern: str, route: Route) -> RouteRule:
    return RouteRule(RoutePattern.parse(pattern), route, "json")


DEFAULT_RULES: Final = (
    _rule("devices/{device_id}/telemetry", Route.TELEMETRY),
    _rule("devices/{device_id}/events", Route.EVENTS),
    _rule("devices/{device_id}/status", Route.STATUS),
    _rule("devices/{device_id}/commands/{command_id}/ack", Route.COMMAND_ACK),
)


class _Shape(NamedTuple):
    """All rules whose fixed levels stand at the same places: one dictionary look-up decides among them."""

    fixed_at: tuple[int, ...]
    device_at: int  # -1: the topic names no device
    rules: dict[tuple[str, ...], RouteRule]


class Routes:
    """Finds what a topic carries, in time that depends on the number of pattern shapes, not of patterns."""

    def __init__(self, rules: Iterable[RouteRule] = (), answers: Iterable[RoutePattern] = ()) -> None:
        """Take further rules, which win over the default ones; on the topics of `answers` devices are told things."""
        self.rules: Sequence[RouteRule] = (*rules, *DEFAULT_RULES)
        self.answers: Sequence[RoutePattern] = tuple(answers)
        self._by_size: dict[int, list[_Shape]] = {}
        for rule in self.rules:
            self._add(rule)

    def _add(self, rule: RouteRule) -> None:
        levels, fixed_at = rule.pattern.levels, rule.pattern.fixed_at
        device_at = levels.index(DEVICE) if DEVICE in levels else -1
        key = tuple(levels[at] for at in fixed_at)
        shapes = self._by_size.setdefault(len(levels), [])
        for shape in shapes:
            if shape.fixed_at == fixed_at and shape.device_at == device_at:
                shape.rules.setdefault(key, rule)
                return
        shapes.append(_Shape(fixed_at, device_at, {key: rule}))

    def match(self, topic: str) -> Match:
        """What `topic` carries and of which device.

        A topic that no rule knows is `Route.UNKNOWN`; below ``devices/{device_id}/`` it still names a device.
        """
        levels = topic.split("/")
        rule, device_id = self._find(levels)
        if rule is not None:
            return Match(rule.route, device_id, rule.codec)
        if device_id:  # whose partition is another one
            return Match(Route.UNKNOWN, device_id, "")
        named = len(levels) >= _HOME_LEVELS and levels[0] == "devices" and is_device_id(levels[1])
        return Match(Route.UNKNOWN, levels[1] if named else "", "")

    def speaker(self, topic: str) -> str:
        """The device whose connection a topic says that it comes by; "" where it is that of the device itself."""
        levels = topic.split("/")
        rule, _ = self._find(levels)
        if rule is None or GATEWAY not in rule.pattern.levels:
            return ""
        return levels[rule.pattern.levels.index(GATEWAY)]

    def misplaced(self, topic: str) -> str | None:
        """What is wrong with a topic of ours whose partition is not its device's; None for any other."""
        rule, device_id = self._find(topic.split("/"))
        if rule is None and device_id:
            return f"the level {PARTITION} of this topic must be {partition_of(device_id)} for {device_id}"
        return None

    def _find(self, levels: list[str]) -> tuple[RouteRule | None, str]:
        """The rule of a topic, and its device; the device alone where only its partition is another."""
        misplaced = ""
        for shape in self._by_size.get(len(levels), ()):
            rule = shape.rules.get(tuple([levels[at] for at in shape.fixed_at]))
            if rule is None:
                continue
            device_id = levels[shape.device_at] if shape.device_at >= 0 else ""
            if shape.device_at >= 0 and not is_device_id(device_id):
                continue
            if not rule.checks_partition or _is_in_its_partition(rule, levels, device_id):
                return rule, device_id
            misplaced = device_id
        return None, misplaced

    def topic_filters(self) -> tuple[str, ...]:
        """The MQTT topic filters that together subscribe to every route, without doubles."""
        return tuple(dict.fromkeys(rule.pattern.topic_filter for rule in self.rules))


def _is_in_its_partition(rule: RouteRule, levels: Sequence[str], device_id: str) -> bool:
    return levels[rule.pattern.levels.index(PARTITION)] == str(partition_of(device_id))
