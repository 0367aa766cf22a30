"""What devices sign in with.

A generated secret has 256 random bits: nobody guesses it, so one salted SHA-256 protects it, and a whole fleet may
reconnect at once without burning the gateway's processors. A password that a person chose is stretched with scrypt.
"""

import hmac
import secrets
from dataclasses import dataclass
from hashlib import scrypt, sha256
from typing import Final, Literal, Protocol

Scheme = Literal["sha256", "scrypt"]


SECRET_BYTES: Final = 32
SALT_BYTES: Final = 16
SHORTEST_GENERATED: Final = 32
"""Characters below which a password cannot be a generated secret: 16 random bytes in hexadecimal."""

# RFC 7914; 16 MiB and some 50 ms a check. Other figures need a scheme of another name.
_SCRYPT_N: Final = 2**14
_SCRYPT_R: Final = 8
_SCRYPT_P: Final = 1


@dataclass(frozen=True, slots=True)
class Hashed:
    """A secret in the form in which it is kept."""

    scheme: Scheme
    salt: bytes
    digest: bytes


class Checkable(Protocol):
    """What a password can be checked against: a Hashed, or a Credential of the registry."""

    @property
    def scheme(self) -> Scheme:
        """How the digest was made."""
        ...

    @property
    def salt(self) -> bytes:
        """What was mixed into it."""
        ...

    @property
    def digest(self) -> bytes:
        """What is left of the secret."""
        ...


def new_secret() -> str:
    """A generated secret: 256 random bits in hexadecimal, which every shell and every form takes as they are."""
    return secrets.token_hex(SECRET_BYTES)


def hash_generated(secret: str) -> Hashed:
    """How a generated secret is kept."""
    salt = secrets.token_bytes(SALT_BYTES)
    return Hashed("sha256", salt, _digest("sha256", salt, secret.encode()))


def hash_chosen(password: str) -> Hashed:
    """How a password that a person chose is kept; takes some 50 ms of processor time."""
    salt = secrets.token_bytes(SALT_BYTES)
    return Hashed("scrypt", salt, _digest("scrypt", salt, password.encode()))


def verify(credential: Checkable, password: str | bytes) -> bool:
    """Whether this is the password, in constant time; some 50 ms where it was a chosen one."""
    given = password.encode(errors="surrogatepass") if isinstance(password, str) else password
    return hmac.compare_digest(_digest(credential.scheme, credential.salt, given), credential.digest)


def _digest(scheme: Scheme, salt: bytes, password: bytes) -> bytes:
    if scheme == "sha256":
        return sha256(salt + password).digest()
    # Hashed first: scrypt alone takes a password and the same with NULs behind it for one (HMAC pads its key).
    return scrypt(sha256(password).digest(), salt=salt, n=_SCRYPT_N, r=_SCRYPT_R, p=_SCRYPT_P)
