"""From `[[routes]]` and the installed codecs to `Routes`."""

from collections.abc import Mapping, Sequence

from devices.errors import ConfigError, Fault
from devices.payloads import Codec
from devices.payloads.dialect import is_dialect
from gateway.doors.routes import RoutePattern, RouteRule, Routes
from gateway.doors.settings import RouteSettings
from gateway.intake import Route


def build_routes(settings: Sequence[RouteSettings], codecs: Mapping[str, Codec]) -> Routes:
    """The routes in force. Raises ConfigError with every fault at once."""
    rules: list[RouteRule] = []
    answers: dict[str, None] = {}
    faults: list[Fault] = []
    taken: set[str] = set()
    for number, route in enumerate(settings):
        codec = codecs.get(route.codec)
        if codec is None:
            faults.append(Fault(f"routes.{number}.codec", route.codec, f"one of {', '.join(sorted(codecs))}"))
            continue
        own_topics = codec.topics if is_dialect(codec) else ()
        answers.update(dict.fromkeys(codec.answers if is_dialect(codec) else ()))
        if not route.pattern and not own_topics:
            allowed = f"a topic pattern such as plant/{{device_id}}/readings; {route.codec} has no topics of its own"
            faults.append(Fault(f"routes.{number}.pattern", "nothing", allowed))
            continue
        topics = route.pattern.replace("{any}", "+") or f"codec {route.codec}"
        if topics in taken:
            allowed = "a pattern of its own: of two that are the same, the second would never be reached"
            faults.append(Fault(f"routes.{number}.pattern", route.pattern or "nothing, twice", allowed))
        taken.add(topics)
        kind = Route[route.carries.upper()]
        rules += [
            RouteRule(RoutePattern.parse(pattern, names_device=False), kind, route.codec, route.partition == "checked")
            for pattern in ([route.pattern] if route.pattern else own_topics)
        ]
    if faults:
        raise ConfigError(faults)
    return Routes(rules, [RoutePattern.parse(pattern, names_device=False) for pattern in answers])
