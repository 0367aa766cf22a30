"""Settings of the two doors."""

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from devices.profiles.model import SpanS
from gateway.authority import GATEWAY, Authority, Grant
from gateway.doors.mqtt.codes import LARGEST_PACKET
from gateway.doors.routes import PARTITION, RouteError, RoutePattern

LONGEST_CLIENT_ID: Final = 128

Port = Annotated[int, Field(ge=0, le=65_535)]
Window = Annotated[int, Field(ge=1, le=65_535)]
PositiveSpanS = Annotated[SpanS, Field(gt=0)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RouteSettings(_Section):
    """A topic pattern besides the default ones, what it carries, and in which codec.

    Without a pattern: the topics that the codec, a dialect, has of its own.
    """

    pattern: str = ""
    carries: Literal["telemetry", "events", "status", "command_ack"] = "telemetry"
    codec: str = "json"
    partition: Literal["ignored", "checked"] = "ignored"  # what stands at the level {partition}

    @field_validator("pattern")
    @classmethod
    def _can_be_matched(cls, pattern: str) -> str:
        try:
            return "/".join(RoutePattern.parse(pattern).levels) if pattern else ""
        except RouteError as error:
            raise ValueError(str(error)) from error

    @model_validator(mode="after")
    def _has_a_partition_to_check(self) -> "RouteSettings":
        if self.partition == "checked" and PARTITION not in self.pattern.split("/"):
            message = f"partition = checked needs a pattern with a level {PARTITION}"
            raise ValueError(message)
        return self


def _patterns(texts: tuple[str, ...]) -> tuple[str, ...]:
    if not texts:
        message = "at least one device id, or a pattern of some"
        raise ValueError(message)
    for text in texts:
        if not re.fullmatch(r"[A-Za-z0-9_*-]+", text.replace(GATEWAY, "*")):
            message = f"{text!r} is no device id, nor a pattern of one: A-Z a-z 0-9 _ -, * for any of these, {GATEWAY}"
            raise ValueError(message)
    return texts


class GatewaySettings(_Section):
    """A device that may speak for others: an edge node for what is attached to it."""

    device: Annotated[str, AfterValidator(lambda text: _patterns((text,))[0])]
    speaks_for: Annotated[tuple[str, ...], AfterValidator(_patterns)]


class TlsSettings(_Section):
    """The listen door's certificate, and whether devices must show one too; an empty certificate means no TLS."""

    certificate: str = ""
    key: str = ""
    client_ca: str = ""
    client_certificates: Literal["required", "optional"] = "required"  # asked for only with client_ca

    @property
    def enabled(self) -> bool:
        """Whether devices must speak TLS."""
        return bool(self.certificate)

    @model_validator(mode="after")
    def _is_whole(self) -> "TlsSettings":
        if bool(self.certificate) != bool(self.key):
            message = "certificate and key belong together: give both, or neither"
            raise ValueError(message)
        if self.client_ca and not self.certificate:
            message = "client_ca needs a certificate and a key for careloop itself"
            raise ValueError(message)
        return self


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a socket bound to `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class ListenSettings(_Section):
    """Devices connect to careloop itself."""

    enabled: bool = True
    tls: TlsSettings = TlsSettings()  # stands before host, which depends on it
    host: str = "127.0.0.1"
    port: Port = 1883
    max_connections: Annotated[int, Field(ge=1)] = 20_000  # devices logged in
    max_connections_per_address: Annotated[int, Field(ge=0)] = 0  # logged in or not; 0: any number
    connections_per_s: Annotated[float, Field(gt=0)] = 500.0  # let up to the door; more wait their turn
    max_waiting: Annotated[int, Field(ge=1)] = 10_000  # for their turn
    max_half_open: Annotated[int, Field(ge=1)] = 1000  # in their TLS handshake, or before CONNECT is answered
    connect_timeout: PositiveSpanS = 10.0  # for the TLS handshake, and then for CONNECT
    max_keep_alive: Annotated[SpanS, Field(ge=0, le=65_535)] = (
        1200.0  # told to MQTT 5 devices that ask for more; 0: any
    )
    receive_maximum: Window = 1000  # packets one connection may have unacknowledged
    max_packet_bytes: Annotated[int, Field(ge=1024, le=LARGEST_PACKET)] = 1_048_576
    failed_logins_burst: Annotated[int, Field(ge=0)] = 20  # per address and per user name; 0 turns the limit off
    failed_logins_per_minute: Annotated[float, Field(gt=0)] = 10.0
    gateways: tuple[GatewaySettings, ...] = ()

    @field_validator("host")
    @classmethod
    def _is_not_open_to_all(cls, host: str, info: ValidationInfo) -> str:
        tls = info.data.get("tls")
        if isinstance(tls, TlsSettings) and not tls.enabled and not is_loopback(host):
            message = "without listen.tls only a loopback address (127.0.0.1, ::1, localhost)"
            raise ValueError(message)
        return host

    def authority(self) -> Authority:
        """Which device may speak for which others."""
        return Authority([Grant(gateway.device, gateway.speaks_for) for gateway in self.gateways])


def _client_id(text: str) -> str:
    if not text or "\0" in text or len(text.encode()) > LONGEST_CLIENT_ID:
        message = f"1 to {LONGEST_CLIENT_ID} bytes of text"
        raise ValueError(message)
    return text


class BrokerTlsSettings(_Section):
    """TLS towards the broker."""

    enabled: bool = False
    ca: str = ""  # PEM file; empty trusts the system's authorities
    certificate: str = ""
    key: str = ""


class SubscribeSettings(_Section):
    """careloop is a client of a broker."""

    enabled: bool = False
    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    port: Annotated[Port, Field(ge=1)] = 1883
    transport: Literal["tcp", "websockets"] = "tcp"
    engine: Literal["auto", "fast", "paho"] = "auto"  # auto: fast for tcp, with TLS or without, paho for WebSockets
    websocket_path: str = "/mqtt"
    tls: BrokerTlsSettings = BrokerTlsSettings()
    username: str = ""
    password: SecretStr = SecretStr("")
    password_file: str = ""
    client_id: Annotated[str, AfterValidator(_client_id)] = "careloop-gateway"  # names the session on the broker
    protocol: Literal["auto", "5", "3.1.1"] = "auto"  # auto: 5, and 3.1.1 where the broker refuses it
    session_expiry: Annotated[SpanS, Field(le=4_294_967_295)] = (
        7 * 86_400.0
    )  # how long the broker keeps our session while we are away
    receive_maximum: Annotated[int, Field(ge=1, le=65_534)] = 60_000  # what comes in half a second, and more
    keep_alive: Annotated[SpanS, Field(ge=1, le=65_535)] = 30.0
    connect_timeout: PositiveSpanS = 10.0
    reconnect_min: PositiveSpanS = 0.5
    reconnect_max: PositiveSpanS = 60.0

    @model_validator(mode="after")
    def _fits_together(self) -> "SubscribeSettings":
        if self.password.get_secret_value() and self.password_file:
            message = "give password or password_file, not both"
            raise ValueError(message)
        if self.reconnect_max < self.reconnect_min:
            message = "reconnect_max must not be below reconnect_min"
            raise ValueError(message)
        if self.engine == "fast" and self.transport != "tcp":
            message = f"engine fast speaks tcp only, not {self.transport}: leave engine at auto"
            raise ValueError(message)
        return self

    def read_password(self) -> str:
        """The password, wherever it is kept; "" when there is none. Raises OSError."""
        if self.password_file:
            return Path(self.password_file).expanduser().read_text("utf-8").rstrip("\r\n")
        return self.password.get_secret_value()
