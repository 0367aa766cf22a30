"""Who may connect, decided in memory; the registry in the database is followed as it changes."""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from typing import Protocol

from devices.credentials import verify
from devices.registry.model import Credential


class Authenticator(Protocol):
    """Turns what a CONNECT brings into a device, or nothing."""

    def authenticate(
        self, username: str | None, password: bytes | None, client_id: str, certificate_names: Sequence[str]
    ) -> str | None:
        """The device that proved who it is. `certificate_names` are those of a verified client certificate."""
        ...

    def is_slow(self, username: str | None, password: bytes | None) -> bool:
        """Whether `authenticate` would take milliseconds, so that it belongs into a thread."""
        ...

    def credential_of(self, username: str | None, password: bytes | None) -> int | None:
        """By which credential `authenticate` has just let a device in; None where it was a certificate."""
        ...

    def stands(self, device_id: str, credential_id: int) -> bool:
        """Whether a credential is still good for a device."""
        ...


class RegistryAuthenticator:
    """The registry's live credentials, in memory.

    A device proves itself with its password under its id as user name, or with a client certificate that bears its id;
    with both, the certificate must not name another device. A chosen password costs a scrypt once; after that a keyed
    digest of it, which never leaves memory, makes reconnecting cheap.
    """

    def __init__(self, *, with_certificates: bool = False) -> None:
        """`with_certificates`: also know the devices that have no password."""
        self._with_certificates = with_certificates
        self._credentials: dict[str, tuple[Credential, ...]] = {}
        self._devices: set[str] = set()
        self._proved: dict[str, tuple[int, bytes]] = {}  # by device: which credential, and a digest
        self._key = secrets.token_bytes(32)

    def authenticate(
        self, username: str | None, password: bytes | None, client_id: str, certificate_names: Sequence[str]
    ) -> str | None:
        """The device that proved who it is, or None; `client_id` proves nothing."""
        del client_id
        certified = [name for name in certificate_names if name in self._devices]
        if password is not None:
            if not username or not self._knows_password(username, password):
                return None
            return username if not certified or username in certified else None
        if username:
            return username if username in certified else None
        return certified[0] if len(certified) == 1 else None

    def is_slow(self, username: str | None, password: bytes | None) -> bool:
        """Whether a scrypt would have to be computed."""
        if not username or password is None:
            return False
        if not any(credential.scheme == "scrypt" for credential in self._credentials.get(username, ())):
            return False
        return not self._has_proved(username, password)

    def credential_of(self, username: str | None, password: bytes | None) -> int | None:
        """By which credential `authenticate` has just let a device in; None where it was a certificate."""
        if not username or password is None:
            return None
        if self._has_proved(username, password):
            return self._proved[username][0]
        generated = [one for one in self._credentials.get(username, ()) if one.scheme != "scrypt"]
        return next((one.credential_id for one in generated if verify(one, password)), None)

    def stands(self, device_id: str, credential_id: int) -> bool:
        """Whether a credential is still good for a device."""
        return credential_id in _ids(self._credentials.get(device_id, ()))

    def put(self, device_id: str, credentials: Sequence[Credential]) -> bool:
        """Let a device in with exactly these credentials; whether that took one away from it."""
        lost = bool(_ids(self._credentials.get(device_id, ())) - _ids(credentials))
        if credentials:
            self._credentials[device_id] = tuple(credentials)
        else:
            self._credentials.pop(device_id, None)
        if lost:
            self._proved.pop(device_id, None)
        if self._with_certificates:
            self._devices.add(device_id)
        return lost

    def remove(self, device_id: str) -> bool:
        """Let a device in no longer; whether it might have been."""
        was_known = device_id in self._devices or device_id in self._credentials
        self._credentials.pop(device_id, None)
        self._proved.pop(device_id, None)
        self._devices.discard(device_id)
        return was_known

    def _knows_password(self, username: str, password: bytes) -> bool:
        credentials = self._credentials.get(username, ())
        if self._has_proved(username, password):
            return True
        for credential in credentials:
            if verify(credential, password):
                if credential.scheme == "scrypt":
                    self._proved[username] = (credential.credential_id, self._digest(username, password))
                return True
        return False

    def _has_proved(self, username: str, password: bytes) -> bool:
        credential_id, proved = self._proved.get(username, (0, b""))
        if credential_id not in _ids(self._credentials.get(username, ())):  # revoked, perhaps while it was being proved
            return False
        return hmac.compare_digest(proved, self._digest(username, password))

    def _digest(self, username: str, password: bytes) -> bytes:
        return hmac.digest(self._key, username.encode() + b"\0" + password, hashlib.sha256)


def _ids(credentials: Sequence[Credential]) -> set[int]:
    return {credential.credential_id for credential in credentials}
