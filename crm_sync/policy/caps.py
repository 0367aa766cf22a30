"""How often is too often: rolling windows over all contacts of one owner."""

from collections.abc import Iterable, Sequence

from crm_sync.contact_settings import CapSettings


def next_allowed_s(caps: Iterable[CapSettings], contacts_s: Sequence[float], now_s: float) -> float:
    """`now_s` if one more contact exceeds no cap, else the first moment at which it exceeds none.

    A window is half open: a contact exactly `within` ago no longer counts. Contacts that lie ahead, because a clock
    was set back, count from their own time on.
    """
    newest_first = sorted(contacts_s, reverse=True)
    allowed_s = now_s
    for cap in caps:
        if len(newest_first) >= cap.contacts:
            allowed_s = max(allowed_s, newest_first[cap.contacts - 1] + cap.within)
    return allowed_s


def binding(caps: Iterable[CapSettings], contacts_s: Sequence[float], now_s: float) -> CapSettings | None:
    """The cap that makes the owner wait longest; None where none does."""
    waits = [(next_allowed_s([cap], contacts_s, now_s), cap) for cap in caps]
    longest = max(waits, key=lambda each: each[0], default=None)
    return longest[1] if longest is not None and longest[0] > now_s else None
