"""Sign-in at an OpenID provider: authorization code with PKCE, state and nonce (OpenID Connect Core, RFC 7636)."""

import asyncio
import base64
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlencode

import httpx

from devices.errors import ConfigError, Fault
from gateway.people import queries
from gateway.people.audit import record
from gateway.people.model import Actor, Role, SignedIn, SignInRefused
from gateway.people.people import People, digest_of, new_person_id
from gateway.people.queries import Account, Connection, NewPerson, OidcAttempt
from gateway.people.settings import OidcSettings

if TYPE_CHECKING:  # its cryptography takes long to load, and most houses have no provider
    from joserfc.jwk import KeySet

CALLBACK: Final = "/v1/session/oidc/callback"
ATTEMPT_FOR: Final = timedelta(minutes=10)
ASK_AGAIN: Final = timedelta(minutes=1)
MOST_VOWS: Final = 10_000
_LATEST_S: Final = 4e9
_NOT_IN_NAMES: Final = re.compile(r"[^\w.@+ -]")
_KNOWN_FOR_S: Final = 3600.0
_LEEWAY_S: Final = 60
_TIMEOUT_S: Final = 10.0
_AWAY: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})  # says nothing of whoever asks
# Signatures by a key that only the provider has: no "none", nothing with a secret that we know too.
_ALGORITHMS: Final = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]


@dataclass(frozen=True, slots=True)
class _Provider:
    """What the provider says of itself."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    at_s: float


@dataclass(frozen=True, slots=True)
class _Vow:
    """What a provider is asked with whether it still answers for somebody."""

    subject: str
    token: str


@dataclass(frozen=True, slots=True)
class Begun:
    """Where the browser goes, and what it brings back as a cookie."""

    url: str
    state: str


def _client() -> httpx.AsyncClient:
    return httpx.AsyncClient(timeout=_TIMEOUT_S, follow_redirects=False)


class OidcSignIn:
    """Sign-in of one gateway's people at one provider."""

    def __init__(
        self, settings: OidcSettings, people: People, connect: Callable[[], httpx.AsyncClient] = _client
    ) -> None:
        self._settings = settings
        self._people = people
        self._connect = connect
        self._provider: _Provider | None = None
        self._keys: KeySet | None = None
        self._looking = asyncio.Lock()
        self._vows: dict[bytes, _Vow] = {}  # by the digest of the session
        self._away_s = 0.0  # when it was last found to be away, on the monotonic clock
        people.voucher = self.vouch

    async def begin(self, redirect_uri: str, return_to: str) -> Begun:
        """Send a browser to the provider. Raises SignInRefused where it does not answer."""
        provider = await self._discover()
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        now = datetime.now(UTC)
        attempt = OidcAttempt(
            self._people.tenant_id, digest_of(state), nonce, verifier, _local(return_to), now + ATTEMPT_FOR
        )
        async with self._people.pool.connection() as conn:
            await queries.insert_attempt(conn, attempt, now)
        asked = {
            "response_type": "code",
            "client_id": self._settings.client_id,
            "redirect_uri": redirect_uri,
            "scope": " ".join(self._settings.scopes),
            "state": state,
            "nonce": nonce,
            "code_challenge": base64.urlsafe_b64encode(sha256(verifier.encode()).digest()).decode().rstrip("="),
            "code_challenge_method": "S256",
        }
        joint = "&" if "?" in provider.authorization_endpoint else "?"
        return Begun(f"{provider.authorization_endpoint}{joint}{urlencode(asked)}", state)

    async def finish(self, state: str, code: str, redirect_uri: str, address: str) -> tuple[SignedIn, str]:
        """A browser comes back: its session, and where it wanted to go. Raises SignInRefused."""
        async with self._people.pool.connection() as conn:
            attempt = await queries.take_attempt(conn, digest_of(state))
        if attempt is None or attempt.expires_at < datetime.now(UTC):
            raise SignInRefused("wrong", "this sign-in was not begun here, or took too long; begin again")
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri}
        answer = await self._ask_for_token({**form, "code_verifier": attempt.verifier})
        claims = await self._claims(answer, attempt.nonce)
        role = self._role(claims)
        if role is None:
            raise SignInRefused("unknown", "the provider knows you, but nothing says what you may do here")
        async with self._people.pool.connection() as conn, conn.transaction():
            signed_in = await self._let_in(conn, claims, role, address)
        self._keep(digest_of(signed_in.token), str(claims["sub"]), answer)
        return signed_in, attempt.return_to

    async def vouch(self, digest: bytes, came_s: float) -> datetime | None:
        """Until when the provider answers for a session, asked when its last word runs out; None: no longer.

        A provider that is away for a while signs nobody out: it is asked again soon, for as long as a session lasts.
        Whoever came (on the monotonic clock) before it was found to be away need not wait for that once more.
        """
        vow = self._vows.get(digest)
        if vow is None:
            return None
        if came_s < self._away_s:
            return datetime.now(UTC) + ASK_AGAIN
        try:
            answer = await self._ask_for_token({"grant_type": "refresh_token", "refresh_token": vow.token})
            claims = await self._claims(answer, None) if "id_token" in answer else None
        except SignInRefused as refused:
            if refused.reason == "provider":
                self._away_s = time.monotonic()
                return datetime.now(UTC) + ASK_AGAIN
            self._vows.pop(digest, None)
            return None
        role = None if claims is None else self._role(claims)
        if claims is not None:
            if role is None or claims["sub"] != vow.subject:
                self._vows.pop(digest, None)
                return None
            async with self._people.pool.connection() as conn, conn.transaction():
                account = await queries.find_by_oidc(conn, self._people.tenant_id, self._settings.issuer, vow.subject)
                if account is not None:
                    await _give_role(conn, account, role)
        self._keep(digest, vow.subject, {"refresh_token": vow.token, **answer})
        return _good_until(claims, answer)

    def _keep(self, digest: bytes, subject: str, answer: Mapping[str, Any]) -> None:
        """Remember what the provider is asked again with; here alone, never in the database."""
        token = answer.get("refresh_token")
        if not isinstance(token, str):
            return
        self._vows.pop(digest, None)
        self._vows[digest] = _Vow(subject, token)
        while len(self._vows) > MOST_VOWS:
            del self._vows[next(iter(self._vows))]

    async def _let_in(self, conn: Connection, claims: Mapping[str, Any], role: Role, address: str) -> SignedIn:
        """The session of a provider's subject, who becomes a person at the first one; the provider says the role."""
        tenant_id, issuer, subject = self._people.tenant_id, self._settings.issuer, str(claims["sub"])
        account = await queries.find_by_oidc(conn, tenant_id, issuer, subject)
        if account is None:
            name = _named(str(claims.get(self._settings.name_claim) or claims.get("email") or subject))
            new = NewPerson(
                tenant_id,
                new_person_id(),
                name,
                role,
                datetime.now(UTC),
                oidc_issuer=issuer,
                oidc_subject=subject,
            )
            if not await queries.insert_person(conn, new):
                # Who a name belongs to here, no provider says: nobody takes over an account by being called like it.
                raise SignInRefused("unknown", f"there is somebody else of the name {name} here; ask an admin")
        elif account.disabled_at is not None:
            raise SignInRefused("unknown", "you may no longer sign in here")
        else:
            await _give_role(conn, account, role)
        account = await queries.find_by_oidc(conn, tenant_id, issuer, subject)
        assert account is not None  # it was found, or has just been written
        return await self._people.begin(conn, account, {"from": address, "issuer": issuer}, _good_until(claims, {}))

    def _role(self, claims: Mapping[str, Any]) -> Role | None:
        said: object = claims.get(self._settings.role_claim)
        values = cast("list[object]", said) if isinstance(said, list) else [said]
        return self._settings.role_of(str(value) for value in values)

    async def _ask_for_token(self, form: Mapping[str, str]) -> dict[str, Any]:
        """What the provider answers for a code, or for what it gave with one before. Raises SignInRefused."""
        provider = await self._discover()
        asked = {**form, "client_id": self._settings.client_id}
        secret = self._settings.secret()
        return await self._ask("POST", provider.token_endpoint, {**asked, "client_secret": secret} if secret else asked)

    async def _claims(self, answer: Mapping[str, Any], nonce: str | None) -> Mapping[str, Any]:
        """What the provider says of whom it signed in, believed only with its signature and, at first, its nonce."""
        from joserfc import jwt  # noqa: PLC0415 - see above
        from joserfc.errors import JoseError  # noqa: PLC0415

        provider = await self._discover()
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise SignInRefused("wrong", "the provider did not say who you are")
        claims = await self._verified(token, provider)
        registry = jwt.JWTClaimsRegistry(
            leeway=_LEEWAY_S,
            iss={"essential": True, "value": self._settings.issuer},
            aud={"essential": True, "value": self._settings.client_id},
            sub={"essential": True},
            exp={"essential": True},
        )
        try:
            registry.validate(claims)
        except JoseError as error:
            raise SignInRefused("wrong", f"the provider's word is not for this sign-in: {error}") from error
        if nonce is not None and claims.get("nonce") != nonce:
            raise SignInRefused("wrong", "the provider's word is for another sign-in")
        if isinstance(claims["aud"], list) and claims.get("azp", self._settings.client_id) != self._settings.client_id:
            raise SignInRefused("wrong", "the provider's word is for another client")
        return claims

    async def _verified(self, token: str, provider: _Provider) -> dict[str, Any]:
        """The claims of a token with a good signature; keys are fetched anew once, for providers change them."""
        from joserfc import jwt  # noqa: PLC0415
        from joserfc.errors import JoseError  # noqa: PLC0415

        for is_again in (False, True):
            try:
                return dict(jwt.decode(token, await self._key_set(provider, anew=is_again), _ALGORITHMS).claims)
            except (JoseError, ValueError) as error:
                if is_again:
                    raise SignInRefused("wrong", "the provider's signature is not good") from error
        raise AssertionError

    async def _key_set(self, provider: _Provider, *, anew: bool) -> "KeySet":
        from joserfc.jwk import KeySet  # noqa: PLC0415

        if self._keys is None or anew:
            said: Any = await self._ask("GET", provider.jwks_uri)
            self._keys = KeySet.import_key_set(said)
        return self._keys

    async def _discover(self) -> _Provider:
        """What the provider says of itself, asked once an hour."""
        async with self._looking:
            known = self._provider
            if known is not None and time.monotonic() - known.at_s < _KNOWN_FOR_S:
                return known
            issuer = self._settings.issuer
            said = await self._ask("GET", f"{issuer.rstrip('/')}/.well-known/openid-configuration")
            places = [said.get(name) for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")]
            if said.get("issuer") != issuer or not all(self._is_usable(place) for place in places):
                raise SignInRefused("provider", "the provider's description of itself cannot be used")
            self._provider = _Provider(*(str(place) for place in places), at_s=time.monotonic())
            return self._provider

    def _is_usable(self, place: object) -> bool:
        schemes = ("https://", "http://") if self._settings.allow_http else ("https://",)
        return isinstance(place, str) and place.startswith(schemes)

    async def _ask(self, method: str, url: str, form: Mapping[str, str] | None = None) -> dict[str, Any]:
        try:
            async with self._connect() as client:
                answer = await client.request(method, url, data=form, headers={"Accept": "application/json"})
                answer.raise_for_status()
                said: object = answer.json()
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
            if form is not None and error.response.is_client_error and status not in _AWAY:
                raise SignInRefused("wrong", "the provider does not accept this sign-in; begin again") from error
            raise SignInRefused("provider", "the sign-in provider does not answer as it should", 30.0) from error
        except (httpx.HTTPError, ValueError) as error:
            raise SignInRefused("provider", "the sign-in provider does not answer", 30.0) from error
        if not isinstance(said, dict):
            raise SignInRefused("provider", "the sign-in provider does not answer as it should", 30.0)
        return said  # pyright: ignore[reportUnknownVariableType]


async def _give_role(conn: Connection, account: Account, role: Role) -> None:
    """Let somebody do what the provider says, and keep that it was another role before."""
    if account.role != role:
        await queries.set_role(conn, account.person_id, role)
        whose = Actor(account.tenant_id, account.name, role, "person", account=account.person_id)
        told = {"role": str(role), "before": account.role, "why": "provider"}
        await record(conn, whose, "person.change", account.name, told)


def _good_until(claims: Mapping[str, Any] | None, answer: Mapping[str, Any]) -> datetime:
    """For how long a provider's word holds: as its token says, else as it says of what came with it."""
    if claims is not None:
        return datetime.fromtimestamp(min(float(claims["exp"]), _LATEST_S), UTC)
    lasts_s: object = answer.get("expires_in")
    return datetime.now(UTC) + (timedelta(seconds=float(lasts_s)) if isinstance(lasts_s, int | float) else ASK_AGAIN)


def _named(said: str) -> str:
    """A name as people here have them: none that reads like a token's signature, or cannot be stored."""
    return _NOT_IN_NAMES.sub("_", said)[:100].strip() or "_"


def _local(path: str) -> str:
    """A page of ours: nobody is sent elsewhere by a link that looks like ours."""
    is_ours = path.startswith("/") and not path.startswith(("//", "/\\")) and "\\" not in path and path.isprintable()
    return path if is_ours else "/"


def open_oidc(settings: OidcSettings, people: People) -> OidcSignIn | None:
    """Sign-in at the settings' provider, if they name one. Raises ConfigError where its secret cannot be read."""
    if not settings.issuer:
        return None
    try:
        settings.secret()
    except OSError as error:
        found, wanted = settings.client_secret_file, f"a file that can be read ({error.strerror})"
        raise ConfigError([Fault("people.oidc.client_secret_file", found, wanted)]) from error
    return OidcSignIn(settings, people)
