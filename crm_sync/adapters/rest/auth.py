"""Shows a helpdesk who careloop is."""

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Final, cast
from urllib.parse import quote, quote_plus, urlencode

import httpx
import msgspec

from crm_sync.adapters.contract import Outcome, Result
from crm_sync.adapters.http import Exchange, Request, read_token
from crm_sync.adapters.rest.assertion import GRANT, Claims, assertion, read_key
from crm_sync.adapters.rest.classify import CallFailed
from crm_sync.adapters.rest.request import Origin
from crm_sync.adapters.rest.spec import Auth
from crm_sync.adapters.rest.template import Json, Values, as_text, look_up
from crm_sync.settings import EndpointSettings
from devices.errors import ConfigError, Fault

_EARLY_S: Final = 30.0  # a token is renewed so long before it ends
_LIFE_S: Final = 300.0  # of a token that does not say how long it lives

Send = Callable[[Request], Awaitable[Exchange]]


class _Granted(msgspec.Struct):
    access_token: str
    expires_in: float = _LIFE_S


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the endpoint's settings hold."""

    user: str
    token: str


def read_credentials(settings: EndpointSettings, auth: Auth) -> Credentials:
    """User and token of an endpoint. Raises ConfigError."""
    where = f"crm.endpoints.{settings.name}"
    token = read_token(settings)
    if auth.kind != "none" and not token:
        raise ConfigError([Fault(f"{where}.token", "nothing", f"a token, or token_file, for auth.kind {auth.kind}")])
    if auth.kind in {"basic", "client_credentials", "jwt_bearer"} and not settings.user:
        raise ConfigError([Fault(f"{where}.user", "nothing", f"a user, or client id, for auth.kind {auth.kind}")])
    if auth.kind == "jwt_bearer":
        try:
            read_key(token)
        except ValueError as error:
            raise ConfigError([Fault(f"{where}.token", "a text that is none", f"a private key: {error}")]) from None
    return Credentials(settings.user, token)


class Authority:
    """The headers that let us in; a token that is granted for a while is asked for once, by whoever comes first."""

    def __init__(
        self,
        auth: Auth,
        credentials: Credentials,
        origin: Origin,
        *,
        now_s: Callable[[], float] = time.monotonic,
        real_now_s: Callable[[], float] = time.time,
    ) -> None:
        """`origin` is where tokens are granted, if the file names no other server."""
        self._auth = auth
        self._credentials = credentials
        self._origin = origin
        self._now_s = now_s
        self._real_now_s = real_now_s
        self._granted = ""
        self._until_s = 0.0
        self._asking = asyncio.Lock()

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be kept of an answer."""
        held = self._credentials
        pair = base64.b64encode(f"{held.user}:{held.token}".encode()).decode()
        plain = [each for each in (held.token, self._granted, pair if held.token else "") if each]
        in_addresses = [written for each in plain for written in (quote(each, safe=""), quote_plus(each))]
        return tuple(dict.fromkeys([*plain, *in_addresses]))

    @property
    def is_renewable(self) -> bool:
        """Whether another token can be had when one is refused."""
        return self._auth.is_granted

    async def headers(self, send: Send) -> Mapping[str, str]:
        """The headers for a call. Raises CallFailed where no token is granted."""
        auth, held = self._auth, self._credentials
        match auth.kind:
            case "none":
                return {}
            case "bearer":
                return {"authorization": f"Bearer {held.token}"}
            case "basic":
                pair = base64.b64encode(f"{held.user}:{held.token}".encode()).decode()
                return {"authorization": f"Basic {pair}"}
            case "header":
                return {auth.header.lower(): f"{auth.prefix}{held.token}"}
            case "parameter":  # in the address: see admit
                return {}
            case "login":
                return {auth.header.lower(): f"{auth.prefix}{await self._grant(send)}"}
            case "client_credentials" | "jwt_bearer":
                return {"authorization": f"Bearer {await self._grant(send)}"}

    def admit(self, request: Request, headers: Mapping[str, str]) -> Request:
        """A request that shows who we are."""
        admitted = replace(request, headers={**request.headers, **headers})
        if self._auth.kind != "parameter":
            return admitted
        url = httpx.URL(request.url).copy_set_param(self._auth.parameter, self._credentials.token)
        return replace(admitted, url=str(url))

    def forget(self, refused: Mapping[str, str]) -> None:
        """The token in these headers was refused: ask for another, unless somebody has already."""
        if self._granted and any(text.endswith(self._granted) for text in refused.values()):
            self._until_s = 0.0

    async def _grant(self, send: Send) -> str:
        async with self._asking:
            if self._now_s() < self._until_s:
                return self._granted
            exchange = await send(self._question())
            granted = self._read(exchange)
            if granted is None:
                raise CallFailed(_refusal(exchange))
            self._granted = granted.access_token
            self._until_s = self._now_s() + max(granted.expires_in - _EARLY_S, 1.0)
            return self._granted

    def _question(self) -> Request:
        """What a token is asked for with."""
        auth, held = self._auth, self._credentials
        if auth.login is not None:
            return self._origin.request(auth.login, Values({"user": held.user, "token": held.token}, {}))
        headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
        url = auth.grant_url or self._origin.url + auth.grant_path
        return Request(url, headers, urlencode(self._form()).encode())

    def _read(self, exchange: Exchange) -> _Granted | None:
        """The token in an answer; None where there is none."""
        login = self._auth.login
        try:
            if login is None:
                return msgspec.json.decode(exchange.body, type=_Granted)
            told = cast("Json", msgspec.json.decode(exchange.body)) if exchange.status in login.success else None
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return None
        token = as_text(look_up(self._auth.token_at, told))
        return _Granted(token, self._auth.life) if token else None

    def _form(self) -> dict[str, str]:
        auth, held = self._auth, self._credentials
        if auth.kind == "jwt_bearer":
            claims = Claims(held.user, auth.subject, auth.audience)
            return {"grant_type": GRANT, "assertion": assertion(read_key(held.token), claims, self._real_now_s())}
        form = {"grant_type": "client_credentials", "client_id": held.user, "client_secret": held.token}
        return {**form, "scope": auth.scope} if auth.scope else form


def _refusal(exchange: Exchange) -> Outcome:
    """Why no token came: the other side is unwell, has had too many questions, or does not let us in."""
    if exchange.status is None or httpx.codes.is_server_error(exchange.status):
        return Outcome(Result.RETRYABLE, "no_token", status=exchange.status)
    if exchange.status == HTTPStatus.TOO_MANY_REQUESTS:
        return Outcome(Result.RATE_LIMITED, "no_token", status=exchange.status)
    return Outcome(Result.AUTH, "no_token", status=exchange.status)
