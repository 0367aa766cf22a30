"""How often strangers may guess: at the listen door and where people sign in."""

import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from devices.ids import is_device_id

_REMEMBERED: Final = 10_000
_HARDLY: Final = 0.5  # a level that no failure has left


class FailedLogins:
    """Who has failed to log in too often: remote addresses and user names, each with a bucket that slowly refills.

    Nobody locks a device out by guessing at its password from elsewhere: a user name that has succeeded from an address
    is not held up there by what others do, until it fails there itself; and a name that is guessed at may still be
    tried from an address that has not failed. Nor do those who try again and again in vain keep out others who share
    their address, where some of what an address may fail is left to names that have not failed there. What is
    remembered is bounded; the oldest is forgotten first.
    """

    def __init__(
        self,
        burst: int,
        per_minute: float,
        monotonic: Callable[[], float],
        *,
        bucket_of: Callable[[str], str] | None = None,
        left_to_others: int = 0,
    ) -> None:
        """`burst` failures in a row are free; 0 turns the limit off. `bucket_of` says what names are counted under.

        `left_to_others` of an address's `burst` are for names that have not failed there: one that has is no longer
        looked at after `burst - left_to_others` failures of that address.
        """
        self._burst = burst
        self._left_to_others = left_to_others
        self._bucket_of = bucket_of or _name
        self._per_s = per_minute / 60.0
        self._monotonic = monotonic
        self._failures: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()  # key: level, at
        self._trusted: OrderedDict[tuple[str, str], None] = OrderedDict()  # address, user name
        self._doubted: OrderedDict[tuple[str, str], None] = OrderedDict()  # likewise

    def allows(self, address: str, username: str) -> bool:
        """Whether a login may be tried."""
        address, username = network_of(address), self._bucket_of(username)
        if self._burst == 0 or (address, username) in self._trusted:
            return True
        limit, failed_here = self._burst - 0.5, self._level(("address", address))
        left = self._left_to_others if (address, username) in self._doubted else 0
        return failed_here < limit - left and (failed_here < _HARDLY or self._level(("name", username)) < limit)

    def failed(self, address: str, username: str) -> None:
        """A login was tried in vain."""
        self.doubt(address, username)
        address, username = network_of(address), self._bucket_of(username)
        self._trusted.pop((address, username), None)
        for key in (("address", address), ("name", username)):
            self._failures[key] = (self._level(key) + 1.0, self._monotonic())
            self._failures.move_to_end(key)
        while len(self._failures) > _REMEMBERED:
            self._failures.popitem(last=False)

    def doubt(self, address: str, username: str) -> None:
        """A login would have been in vain, had it been looked at."""
        _remember(self._doubted, (network_of(address), self._bucket_of(username)))

    def succeeded(self, address: str, username: str) -> None:
        """A login went well."""
        key = (network_of(address), self._bucket_of(username))
        self._doubted.pop(key, None)
        _remember(self._trusted, key)

    def _level(self, key: tuple[str, str]) -> float:
        level, at_s = self._failures.get(key, (0.0, 0.0))
        return max(0.0, level - (self._monotonic() - at_s) * self._per_s)


def _remember(some: OrderedDict[tuple[str, str], None], key: tuple[str, str]) -> None:
    some[key] = None
    some.move_to_end(key)
    if len(some) > _REMEMBERED:
        some.popitem(last=False)


def network_of(address: str) -> str:
    """Whom an address stands for: an IPv6 address by its /64, which is what one customer has."""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network((address.partition("%")[0], 64), strict=False).network_address)
    except ValueError:
        return address


def _name(username: str) -> str:
    """User names are device ids; whatever is not one shares one bucket, so that long names cost no memory."""
    return username if is_device_id(username) else ""
