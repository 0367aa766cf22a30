"""A signed statement of who careloop is, for the grant of RFC 7523."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:  # its cryptography takes long to load, and every process that knows of CRMs loads this
    from joserfc.jwk import RSAKey

LIFE_S: Final = 120  # Salesforce wants at most three minutes
GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"


@dataclass(frozen=True, slots=True)
class Claims:
    """What is stated."""

    issuer: str  # the client's id
    subject: str
    audience: str


def read_key(pem: str) -> "RSAKey":
    """The private key in a PEM text. Raises ValueError."""
    from joserfc.errors import JoseError  # noqa: PLC0415 - see above
    from joserfc.jwk import RSAKey  # noqa: PLC0415

    try:
        key = RSAKey.import_key(pem)
    except (ValueError, TypeError, JoseError) as error:  # TypeError: it wants a password
        raise ValueError(f"no PEM of an RSA key without a password ({error})") from None
    if not key.is_private:
        raise ValueError("the PEM of a public key, which signs nothing")
    return key


def assertion(key: "RSAKey", claims: Claims, now_s: float) -> str:
    """The token, good for two minutes from `now_s`."""
    from joserfc import jwt  # noqa: PLC0415

    stated = {"iss": claims.issuer, "sub": claims.subject, "aud": claims.audience, "exp": int(now_s) + LIFE_S}
    return jwt.encode({"alg": "RS256"}, stated, key, algorithms=["RS256"])
