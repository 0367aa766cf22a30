"""Settings of people's sign-in."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from devices.profiles.model import SpanS
from gateway.people.model import Role

_ROLES: Final = "|".join(Role)


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class OidcSettings(_Section):
    """Sign-in at an OpenID provider; off while `issuer` is empty."""

    issuer: str = ""
    client_id: str = ""
    client_secret: SecretStr = SecretStr("")
    client_secret_file: str = ""
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    name_claim: str = "preferred_username"
    role_claim: str = "groups"
    roles: tuple[Annotated[str, Field(pattern=rf"^.+= *({_ROLES})$")], ...] = ()  # a value of that claim = a role
    default_role: Role | Literal[""] = ""  # of those whom no role is named for; empty: they are not let in
    session_max: Annotated[SpanS, Field(gt=0, le=7 * 86400.0)] = 12 * 3600.0
    allow_http: bool = False

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.issuer and not self.client_id:
            message = "an issuer needs a client_id"
            raise ValueError(message)
        if self.issuer and not self.issuer.startswith(("https://", "http://" if self.allow_http else "https://")):
            message = "an issuer is an https:// address (allow_http opens http, for tests)"
            raise ValueError(message)
        return self

    def role_of(self, values: Iterable[str]) -> Role | None:
        """The highest role that one of these values has, else the default one; None where there is neither."""
        named = {value.strip(): Role(role.strip()) for value, _, role in (each.rpartition("=") for each in self.roles)}
        found = [named[value] for value in values if value in named]
        return max(found, key=lambda role: role.rank, default=self.default_role or None)

    def secret(self) -> str:
        """The client's secret, which may be in a file; empty for a public client."""
        if self.client_secret_file:
            return Path(self.client_secret_file).expanduser().read_text("utf-8").strip()
        return self.client_secret.get_secret_value()


class PeopleSettings(_Section):
    """Sessions, and what guards the sign-in."""

    session_idle: Annotated[SpanS, Field(gt=0)] = 12 * 3600.0
    session_max: Annotated[SpanS, Field(gt=0)] = 7 * 86400.0
    failed_sign_ins_burst: Annotated[int, Field(ge=0)] = 10
    failed_sign_ins_per_minute: Annotated[float, Field(gt=0)] = 2.0
    requests_per_s: Annotated[float, Field(gt=0)] = 100.0
    requests_burst: Annotated[int, Field(ge=1)] = 1000
    oidc: OidcSettings = OidcSettings()
