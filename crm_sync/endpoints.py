"""How one endpoint is reached, and how patiently."""

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Final

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from crm_sync.guard import Allowance, BlockedTarget, check_url
from crm_sync.signing import parse_secret
from devices.profiles.model import SpanS

LEASE_S: Final = 60.0
"""How long a worker may be silent before its message is taken by another."""

_MINUTE: Final = 60.0
_HOUR: Final = 3600.0
STANDARD_SCHEDULE: Final = (
    0.0,
    5.0,
    5 * _MINUTE,
    30 * _MINUTE,
    *(hours * _HOUR for hours in (2, 5, 10, 14, 20, 24)),
)
"""The delays before each attempt that Standard Webhooks recommends: ten attempts within 75 hours and 35 minutes."""

PositiveSpanS = Annotated[SpanS, Field(gt=0)]
Port = Annotated[int, Field(ge=1, le=65535)]


def _parse_network(value: object) -> object:
    return ip_network(value) if isinstance(value, str) else value


NetworkInside = Annotated[IPv4Network | IPv6Network, BeforeValidator(_parse_network)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BreakerSettings(_Section):
    """When an origin that keeps failing is left alone; waiting for it uses up no attempt."""

    failures: Annotated[int, Field(ge=1)] = 5  # in a row…
    share: Annotated[float, Field(gt=0, le=1)] = 0.5  # …or this share of the last `calls` within `window`
    calls: Annotated[int, Field(ge=2)] = 20
    window: PositiveSpanS = _MINUTE
    probe_after: PositiveSpanS = 30.0  # then one message tries; each failure doubles the wait…
    probe_at_most: PositiveSpanS = 15 * _MINUTE  # …up to this


class DeliverySettings(_Section):
    """Where an endpoint is, how messages to it are signed, and when they are tried again."""

    url: str
    secret: SecretStr = SecretStr("")  # whsec_…; signs messages, and callbacks unless those have their own
    secret_file: str = ""  # read the secret from this file instead
    previous_secret: SecretStr = SecretStr("")  # while a secret is being replaced: signs too, and is believed too
    previous_secret_until: AwareDatetime | None = None  # then it neither signs nor is believed; None: while it is there
    callback_secret: SecretStr = SecretStr("")  # signs callbacks, where the CRM must have a secret of its own

    user: str = ""  # for APIs: who careloop is there: a user, or a client's id
    token: SecretStr = SecretStr("")  # for APIs: the token, password or client secret
    token_file: str = ""  # read the token from this file instead

    callback_token: SecretStr = SecretStr("")  # for APIs whose hooks bear a token, or a signature of their own
    previous_callback_token: SecretStr = SecretStr("")  # while that is being replaced: is believed too, as long

    allow_http: bool = False  # http:// for what runs inside
    allow_networks: tuple[NetworkInside, ...] = ()  # networks inside that may be reached, "10.20.0.0/16"
    ports: tuple[Port, ...] = ()  # besides 80 and 443
    ca_file: str = ""  # PEM file of the authority that signed the endpoint's certificate; empty: the public ones

    connect_timeout: Annotated[SpanS, Field(gt=0, le=LEASE_S / 4)] = 5.0
    timeout: Annotated[SpanS, Field(gt=0, le=LEASE_S / 2)] = 15.0  # of a whole attempt
    schedule: Annotated[tuple[SpanS, ...], Field(min_length=1, max_length=50)] = STANDARD_SCHEDULE
    jitter: Annotated[float, Field(ge=0, le=0.9)] = 0.2  # each delay is longer or shorter by up to this share
    refusal_tries: Annotated[int, Field(ge=1)] = 4  # attempts after which 404 and its like are believed
    max_in_flight: Annotated[int, Field(ge=1, le=100)] = 8  # requests at the same time, each for another case
    disable_after: PositiveSpanS = 120 * _HOUR  # of nothing but failure
    breaker: BreakerSettings = BreakerSettings()

    @property
    def allowance(self) -> Allowance:
        """What the guard lets this endpoint reach."""
        return Allowance(http=self.allow_http, networks=self.allow_networks, ports=self.ports)

    def is_previous_secret_good(self, now_s: float) -> bool:
        """Whether a secret that is being replaced still signs and is believed."""
        until = self.previous_secret_until
        return until is None or now_s < until.timestamp()

    @field_validator("schedule")
    @classmethod
    def _starts_at_once(cls, schedule: tuple[float, ...]) -> tuple[float, ...]:
        if schedule[0] != 0:
            message = "the first attempt is made at once: the schedule starts with 0"
            raise ValueError(message)
        return schedule

    @field_validator("secret", "previous_secret", "callback_secret")
    @classmethod
    def _is_a_secret(cls, secret: SecretStr) -> SecretStr:
        return must_be_a_secret(secret)

    @model_validator(mode="after")
    def _may_be_reached(self) -> "DeliverySettings":
        import httpx  # noqa: PLC0415 - takes long, and every command reads settings, most of them without endpoints

        try:
            url = httpx.URL(self.url)
        except httpx.InvalidURL as error:
            raise fault("a text that is no URL", str(error), "url") from error
        try:
            check_url(url, self.allowance)
        except BlockedTarget as error:
            shown = repr(url).removeprefix("URL('").removesuffix("')")  # repr() hides passwords
            raise fault(shown, error.detail, "url") from error
        return self

    @model_validator(mode="after")
    def _has_each_once(self) -> "DeliverySettings":
        for name, given, file in (("secret", self.secret, self.secret_file), ("token", self.token, self.token_file)):
            if given.get_secret_value() and file:
                raise fault(f"both {name} and {name}_file", "exactly one of them", name)
        return self


def must_be_a_secret(secret: SecretStr) -> SecretStr:
    """The secret, where it is left out or one that signs; else the fault of its setting, which does not show it."""
    if secret.get_secret_value():
        try:
            parse_secret(secret.get_secret_value())
        except ValueError as error:
            raise fault("a text that is none", str(error)) from None
    return secret


def fault(found: str, allowed: str, *field: str) -> ValidationError:
    """A fault that shows what was `found` in words: pydantic would show the secret, or the whole table with it."""
    error = PydanticCustomError("delivery", "{allowed}", {"allowed": allowed})
    return ValidationError.from_exception_data(
        "DeliverySettings", [InitErrorDetails(type=error, loc=field, input=found)]
    )
