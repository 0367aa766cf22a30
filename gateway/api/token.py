"""The settings' own bearer token: an admin's, for this machine's commands."""

import os
import secrets
from pathlib import Path

from devices.errors import ConfigError, Fault
from gateway.settings import Settings


def resolve_token(settings: Settings) -> str:
    """The token of the settings, or of its file, or one that is made once and kept in the state folder."""
    if settings.api.token.get_secret_value():
        return settings.api.token.get_secret_value()
    if settings.api.token_file:
        return _read(Path(settings.api.token_file).expanduser())
    path = settings.state.folder / "api-token"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        unfinished = path.with_name(f"{path.name}.{os.getpid()}")
        unfinished.touch(mode=0o600)
        unfinished.write_text(secrets.token_urlsafe(32) + "\n", "utf-8")
        unfinished.rename(path)
    return _read(path)


def _read(path: Path) -> str:
    try:
        token = path.read_text("utf-8").strip()
    except OSError as error:
        raise ConfigError(
            [Fault("api.token_file", str(path), f"a file that can be read ({error.strerror})")]
        ) from error
    if not token:
        raise ConfigError([Fault("api.token_file", f"{path}, which is empty", "a file that holds the token")])
    return token
