"""What a helpdesk's words mean in careloop's."""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from crm_sync.adapters.contract import Hook, RecordChange
from crm_sync.adapters.rest.documents import read_document
from crm_sync.adapters.rest.hearing import Contacts, Inbound, Reading, Tickets
from crm_sync.adapters.rest.instants import parse_instant_s
from crm_sync.adapters.rest.template import Json, as_text, look_up
from crm_sync.owners.told import Contacted, HumanCase, OwnerNews
from crm_sync.signing import BadSignature, SignatureReason

_AS_BASE64: Final = str.maketrans("-_", "+/")
_MOST_SIGNATURES: Final = 8  # of one header: more are nobody's rotation


def read_changes(reading: Reading, items: Sequence[Json]) -> list[RecordChange]:
    """Those items whose status means something here."""
    found: list[RecordChange] = []
    for item in items:
        stands = as_text(look_up(reading.status, item))
        status = reading.statuses.get(stands)
        if status is None:
            continue
        word = as_text(look_up(reading.outcome, item)) if reading.outcome else ""
        version = as_text(look_up(reading.version, item)) if reading.version else ""
        found.append(
            RecordChange(
                case_id=_name(reading.key, item),
                external_id=_name(reading.id, item),
                status=status,
                outcome=reading.outcomes.get(word),
                version=_as_version(version),
                customer_said=_name(reading.customer_said, item) or "",
                word=stands,
            )
        )
    return found


def _name(path: str | None, item: Json) -> str | None:
    """What an item is called; PostgreSQL's text cannot hold a NUL."""
    return (as_text(look_up(path, item)).replace("\x00", "") or None) if path else None


def _as_version(text: str) -> int | None:
    """A count, or an instant in milliseconds; None for what is neither."""
    if text.isdecimal() and text.isascii() and len(text) < 19:  # noqa: PLR2004 - a bigint's digits
        return int(text)
    epoch_s = parse_instant_s(text)
    return None if epoch_s is None else int(epoch_s * 1000)


def read_contacts(contacts: Contacts, items: Sequence[Json], owners: Sequence[str]) -> list[OwnerNews]:
    """Those items that say who was contacted when; `owners` are theirs."""
    found: list[OwnerNews] = []
    for item, named in zip(items, owners, strict=True):
        owner, reference = named.replace("\x00", ""), _name(contacts.id, item)
        at_s = parse_instant_s(as_text(look_up(contacts.at, item)))
        if not owner or reference is None or at_s is None:
            continue
        human = contacts.human is None or as_text(look_up(contacts.human, item)) in contacts.humans
        found.append(Contacted(owner, reference, at_s, _name(contacts.channel, item), by_human=human))
    return found


def read_tickets(tickets: Tickets, items: Sequence[Json], owners: Sequence[str]) -> list[OwnerNews]:
    """Those items that are tickets of people, and about somebody; `owners` are theirs."""
    found: list[OwnerNews] = []
    for item, named in zip(items, owners, strict=True):
        owner = named.replace("\x00", "") or None
        device, reference = _name(tickets.device, item), _name(tickets.id, item)
        at_s = parse_instant_s(as_text(look_up(tickets.at, item)))
        if reference is None or at_s is None or (owner is None and device is None) or _name(tickets.ours, item):
            continue
        is_open = as_text(look_up(tickets.status, item)) in tickets.open
        found.append(HumanCase(reference, is_open, at_s, owner, device))
    return found


class RestInbound:
    """A helpdesk's own hooks."""

    def __init__(
        self,
        inbound: Inbound,
        secret: str,
        previous: str = "",
        until_s: float | None = None,
        *,
        has_duplicates: bool = False,
    ) -> None:
        """`secret` is the token, or the key of signatures; the `previous` one is believed, too, until then."""
        self._inbound = inbound
        self._secret = secret.encode()
        self._previous = previous.encode()
        self._until_s = until_s
        self._has_duplicates = has_duplicates

    def verify(self, hook: Hook, now_s: float) -> str:
        """Believe a hook that bears the token, or a signature over its very bytes. Raises BadSignature."""
        inbound = self._inbound
        headers = {name.lower(): value for name, value in hook.headers.items()}
        given = hook.query.get(inbound.parameter) if inbound.parameter else headers.get(inbound.header.lower())
        if given is None:
            raise BadSignature(SignatureReason.MISSING_HEADER)
        timestamp = self._timestamp(headers, now_s)
        shown = [_decoded(inbound, each) for each in _signatures(inbound, given)]
        wanted = [self._wanted(secret, timestamp, hook.body) for secret in self._good(now_s)]
        matches = [hmac.compare_digest(one, another) for one in wanted for another in shown if another is not None]
        if not any(matches):
            raise BadSignature(SignatureReason.NO_MATCH)
        delivery = headers.get(inbound.delivery_header.lower(), "") if inbound.delivery_header else ""
        return delivery[:200] or hashlib.sha256(timestamp.encode() + b"." + hook.body).hexdigest()

    def read(self, body: bytes) -> Sequence[RecordChange]:
        """The changes that a hook's body tells. Raises ValueError."""
        told = read_document(self._inbound.format, body)
        events = look_up(self._inbound.events, told)
        return self.changes(events if isinstance(events, list) else [events])

    def changes(self, events: Sequence[Json]) -> Sequence[RecordChange]:
        """What events tell that are read already."""
        return [replace(each, may_be_duplicate=self._has_duplicates) for each in read_changes(self._inbound, events)]

    def _timestamp(self, headers: Mapping[str, str], now_s: float) -> str:
        inbound = self._inbound
        if not inbound.timestamp_header:
            return ""
        text = headers.get(inbound.timestamp_header.lower())
        if text is None:
            raise BadSignature(SignatureReason.MISSING_HEADER)
        if inbound.timestamp_pattern:
            found = re.search(inbound.timestamp_pattern, text)
            text = "" if found is None else found[found.re.groups and 1]
        signed_s = parse_instant_s(text)
        if signed_s is None:
            raise BadSignature(SignatureReason.BAD_TIMESTAMP)
        if abs(now_s - signed_s) > inbound.tolerance:
            raise BadSignature(SignatureReason.TOO_OLD if signed_s < now_s else SignatureReason.TOO_NEW)
        return text

    def _good(self, now_s: float) -> Sequence[bytes]:
        """The secrets that are believed now."""
        is_over = self._until_s is not None and now_s >= self._until_s
        return [self._secret] if is_over or not self._previous else [self._secret, self._previous]

    def _wanted(self, secret: bytes, timestamp: str, body: bytes) -> bytes:
        """What somebody shows who knows a secret."""
        if self._inbound.kind == "token":
            return secret
        before, _, after = self._inbound.signed.replace("{timestamp}", timestamp).partition("{body}")
        return hmac.digest(secret, before.encode() + body + after.encode(), self._inbound.algorithm)


def _signatures(inbound: Inbound, given: str) -> list[str]:
    """What may be a signature in what a hook shows. Raises BadSignature where nothing is."""
    if inbound.signatures:
        found = [each[each.re.groups and 1] for each in re.finditer(inbound.signatures, given)][:_MOST_SIGNATURES]
    else:
        found = [given.removeprefix(inbound.prefix).strip()] if given.startswith(inbound.prefix) else []
    if not found:
        raise BadSignature(SignatureReason.NO_MATCH)
    return found


def _decoded(inbound: Inbound, shown: str) -> bytes | None:
    """What is shown, as bytes to compare; None for what cannot be one."""
    try:
        if inbound.kind == "token":
            return shown.encode()
        if inbound.encoding == "hex":
            return bytes.fromhex(shown)
        plain = shown.translate(_AS_BASE64).rstrip("=")  # some write it for URLs, or without its end
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (ValueError, binascii.Error):
        return None
