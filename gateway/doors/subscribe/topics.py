"""What topics were found to carry."""

from collections.abc import Sequence
from typing import Final, cast

from gateway.doors.routes import Match, Routes
from gateway.intake import Route

_REMEMBERED: Final = 65_536
_LONGEST_REMEMBERED: Final = 200


class RememberedTopics:
    """Looks a topic up in the routes once, as long as not too many others have come since."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes
        self.matches: dict[str, Match] = {}  # of the topics that are remembered now

    def match_all(self, topics: Sequence[str]) -> Sequence[Match]:
        """What each of the topics carries."""
        known = list(map(self.matches.get, topics))
        if None not in known:
            return cast("list[Match]", known)
        return [match or self.match(topic) for match, topic in zip(known, topics, strict=True)]

    def match(self, topic: str) -> Match:
        """What a topic that is not remembered carries."""
        match = self._routes.match(topic)
        if match.route in (Route.UNKNOWN, Route.COMMAND_ACK) or len(topic) > _LONGEST_REMEMBERED:
            return match  # each comes once, or is none that we should spend memory on
        if len(self.matches) >= _REMEMBERED:
            self.matches.clear()
        self.matches[topic] = match
        return match
