"""When a certificate ends, read from its DER form (X.509, RFC 5280 section 4.1)."""

from datetime import UTC, datetime
from typing import Final

_LONG: Final = 0x80
_VERSION: Final = 0xA0  # [0] EXPLICIT, absent in version 1
_UTC_TIME: Final = 0x17
_CENTURY: Final = 50  # RFC 5280 4.1.2.5.1: a two-digit year from 50 on is of the last century
_BEFORE_VALIDITY: Final = 3  # serial number, signature algorithm, issuer


class CertificateError(Exception):
    """This is no certificate that can be read."""


def not_after_s(der: bytes) -> float:
    """The end of a certificate's validity in epoch seconds. Raises CertificateError."""
    try:
        _, certificate, _ = _element(der)
        _, signed, _ = _element(certificate)
        kind, _, rest = _element(signed)
        if kind != _VERSION:
            rest = signed
        for _ in range(_BEFORE_VALIDITY):
            _, _, rest = _element(rest)
        _, validity, _ = _element(rest)
        _, _, end = _element(validity)
        kind, text, _ = _element(end)
        return _instant_s(kind, text.decode("ascii"))
    except (IndexError, ValueError) as error:
        raise CertificateError(f"no certificate that can be read ({error})") from error


def _element(data: bytes) -> tuple[int, bytes, bytes]:
    """The first element's tag and contents, and what follows it."""
    kind, length, start = data[0], data[1], 2
    if length & _LONG:
        start = 2 + (length & ~_LONG)
        length = int.from_bytes(data[2:start])
    if len(data) < start + length:
        raise ValueError("it is cut off")
    return kind, data[start : start + length], data[start + length :]


def _instant_s(kind: int, text: str) -> float:
    if kind == _UTC_TIME:
        text = ("19" if int(text[:2]) >= _CENTURY else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC).timestamp()
