"""How passwords of people are kept, and what makes one good enough."""

import base64
import hmac
import secrets
import unicodedata
from hashlib import scrypt, sha256
from typing import Final

SHORTEST: Final = 12
LONGEST: Final = 200

# RFC 7914; one of the settings that OWASP names as equals: 32 MiB, some 200 ms. The kept text says which were used.
_N: Final = 2**15
_R: Final = 8
_P: Final = 3
_MEMORY: Final = 128 * 1024 * 1024  # OpenSSL's bound, above what they need

_ONE_TIME_BYTES: Final = 15  # 120 random bits, 24 characters


def weakness_of(password: str, name: str) -> str | None:
    """What is wrong with a password that somebody chose, in words; None where nothing is."""
    if len(password) < SHORTEST:
        return f"a password has at least {SHORTEST} characters; a sentence is easy to remember"
    if len(password) > LONGEST:
        return f"a password has at most {LONGEST} characters"
    if name and name.casefold() in password.casefold():
        return "a password does not contain the name"
    if len(set(password)) < 5:  # noqa: PLR2004 - of "aaaaaaaaaaaa" and "121212121212" nobody needs more words
        return "a password is more than a few characters over and over"
    return None


def new_one_time() -> str:
    """A generated password, in groups that can be read out."""
    text = base64.b32encode(secrets.token_bytes(_ONE_TIME_BYTES)).decode().lower()
    return "-".join(text[at : at + 6] for at in range(0, len(text), 6))


def keep_chosen(password: str) -> str:
    """The text that is stored of a password that a person chose; costs some 200 ms of processor time."""
    salt = secrets.token_bytes(16)
    return _joined(f"scrypt:{_N}:{_R}:{_P}", salt, _stretch(password, salt, _N, _R, _P))


def keep_generated(password: str) -> str:
    """The text that is stored of a generated password, which nobody guesses, so that it need not be stretched."""
    salt = secrets.token_bytes(16)
    return _joined("sha256", salt, sha256(salt + password.encode()).digest())


def matches(password: str, kept: str) -> bool:
    """Whether this is the password, in constant time."""
    scheme, salt_text, digest_text = kept.split("$")
    salt, digest = base64.b64decode(salt_text), base64.b64decode(digest_text)
    if scheme == "sha256":
        return hmac.compare_digest(sha256(salt + password.strip().encode(errors="replace")).digest(), digest)
    _, n, r, p = scheme.split(":")
    return hmac.compare_digest(_stretch(password, salt, int(n), int(r), int(p)), digest)


def waste_as_much(password: str) -> None:
    """Take as long as a wrong password takes: how long an answer takes must not tell which names exist."""
    _stretch(password, b"\0" * 16, _N, _R, _P)


def _stretch(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    # The same letters typed on two systems are one password (NFKC, as NIST SP 800-63B advises); hashed first, for
    # scrypt alone takes a password and the same with NULs behind it for one.
    text = unicodedata.normalize("NFKC", password).encode(errors="replace")
    return scrypt(sha256(text).digest(), salt=salt, n=n, r=r, p=p, maxmem=_MEMORY)


def _joined(scheme: str, salt: bytes, digest: bytes) -> str:
    return f"{scheme}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"
