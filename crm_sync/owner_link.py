"""The link by which an owner says what became of a fault: it says which case, to whom, until when, and proves it.

``{case}.{expiry}.{owner}.{proof}``: the case's id without its prefix, whole seconds since 1970 in hexadecimal, eight
bytes by which the owner's reference is recognised under the same key, and eighteen bytes of HMAC-SHA256 over all of it.
Nothing in it tells who the owner is to anybody without the key.
"""

import base64
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from crm_sync.signing import parse_secret
from crm_sync.voice_settings import VoiceSettings
from devices.errors import ConfigError, Fault

PATH: Final = "/v1/answers/"
_CASE: Final = "case_"
_OWNER_BYTES: Final = 8
_PROOF_BYTES: Final = 18
_TOKEN: Final = re.compile(r"([0-9A-Za-z]{1,40})\.([0-9a-f]{1,10})\.([\w-]{11})\.([\w-]{24})", re.ASCII)

_LINK: Final = re.compile(r"((?:/|%2F)v1(?:/|%2F)answers(?:/|%2F))[\w.%-]+", re.ASCII | re.IGNORECASE)


def without_links(text: str) -> str:
    """A text in which no owner's link can be followed: who has one speaks for its owner."""
    return _LINK.sub(r"\1…", text)


@dataclass(frozen=True, slots=True)
class OwnerLink:
    """A link that was believed."""

    case_id: str
    expires_at_s: float
    _owner: bytes
    _key: bytes
    _tenant_id: str

    def is_for(self, owner_ref: str | None) -> bool:
        """Whether it was given to this owner."""
        if owner_ref is None:
            return False
        return hmac.compare_digest(self._owner, _owner_mark(self._key, self._tenant_id, owner_ref))


def link_for(
    settings: VoiceSettings, keys: Sequence[bytes], tenant_id: str, case_id: str, owner_ref: str, *, now_s: float
) -> str | None:
    """The address that an owner is given, signed with the first of the keys; None without address or key."""
    if not settings.base_url or not keys:
        return None
    token = make_token(keys[0], tenant_id, case_id, owner_ref, expires_at_s=now_s + settings.link_lasts)
    return f"{settings.base_url}{PATH}{token}"


def make_token(key: bytes, tenant_id: str, case_id: str, owner_ref: str, *, expires_at_s: float) -> str:
    """The last part of a link."""
    case, expiry = case_id.removeprefix(_CASE), f"{int(expires_at_s):x}"
    owner = _owner_mark(key, tenant_id, owner_ref)
    proof = _proof(key, tenant_id, case, expiry, owner)
    return ".".join((case, expiry, _text(owner), _text(proof)))


def read_token(keys: Sequence[bytes], tenant_id: str, token: str) -> OwnerLink | None:
    """What a link says, if one of the keys made it; whether it has expired is the caller's to ask."""
    found = _TOKEN.fullmatch(token)
    if found is None:
        return None
    case, expiry, owner, proof = found.groups()
    for key in keys:
        mark = base64.urlsafe_b64decode(owner + "=")
        if hmac.compare_digest(proof, _text(_proof(key, tenant_id, case, expiry, mark))):
            return OwnerLink(f"{_CASE}{case}", float(int(expiry, 16)), mark, key, tenant_id)
    return None


def link_keys(settings: VoiceSettings) -> list[bytes]:
    """The keys that links are believed with, the one that signs first; none where links are off. Raises ConfigError."""
    present = settings.secret.get_secret_value()
    if settings.secret_file:
        try:
            present = Path(settings.secret_file).expanduser().read_text("utf-8").strip()
            parse_secret(present)
        except OSError as error:
            fault = Fault("crm.voice.secret_file", settings.secret_file, f"a file that can be read ({error.strerror})")
            raise ConfigError([fault]) from error
        except ValueError as error:  # UnicodeDecodeError is one
            raise ConfigError([Fault("crm.voice.secret_file", "a file that holds none", str(error))]) from None
    return [parse_secret(secret) for secret in (present, settings.previous_secret.get_secret_value()) if secret]


def _owner_mark(key: bytes, tenant_id: str, owner_ref: str) -> bytes:
    return hmac.digest(key, f"owner\x00{tenant_id}\x00{owner_ref}".encode(), "sha256")[:_OWNER_BYTES]


def _proof(key: bytes, tenant_id: str, case: str, expiry: str, owner: bytes) -> bytes:
    content = f"answer\x00{tenant_id}\x00{case}\x00{expiry}\x00".encode() + owner
    return hmac.digest(key, content, "sha256")[:_PROOF_BYTES]


def _text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
