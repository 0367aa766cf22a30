"""A small OpenID provider: one person is signed in there, and its answers may be spoilt; in memory, or over HTTP."""

import base64
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
from joserfc import jwt
from joserfc.jwk import RSAKey

ISSUER = "https://login.example.com/realms/service"


@dataclass
class Provider:
    """Believes whoever comes that they are `claims`."""

    claims: dict[str, Any] = field(default_factory=lambda: {"sub": "u-1", "preferred_username": "ada"})
    client_id: str = "careloop"
    issuer: str = ISSUER
    client_secret: str = "hush"
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "k1", "use": "sig", "alg": "RS256"}))
    signs_with: RSAKey | None = None  # another key than the published one
    spoil: dict[str, Any] = field(default_factory=dict[str, Any])  # claims of the token that are other than right
    asked: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    key_fetches: int = 0
    lasts_s: float = 300  # each token
    gives_refresh: bool = False
    refreshes: int = 0
    is_away: bool = False
    away_status: int = 503
    asked_away: int = 0  # how often, while it was away

    def connect(self) -> httpx.AsyncClient:
        """A client that reaches nobody else."""
        return httpx.AsyncClient(transport=httpx.MockTransport(self.answer))

    def approve(self, url: str) -> str:
        """What the browser is sent back with, once the person has said yes."""
        asked = {name: values[0] for name, values in parse_qs(url.partition("?")[2]).items()}
        assert asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256"
        assert asked["client_id"] == self.client_id
        code = f"code-{len(self.asked)}"
        self.asked[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"

    def answer(self, request: httpx.Request) -> httpx.Response:
        """What it says to the gateway."""
        path = request.url.path.removeprefix("/realms/service")
        if path == "/.well-known/openid-configuration":
            places = {"authorization_endpoint": "/auth", "token_endpoint": "/token", "jwks_uri": "/keys"}
            return httpx.Response(200, json={"issuer": self.issuer, **{k: self.issuer + v for k, v in places.items()}})
        if path == "/keys":
            self.key_fetches += 1
            return httpx.Response(200, json={"keys": [self.key.as_dict(private=False)]})
        assert path == "/token"
        form = {name: values[0] for name, values in parse_qs(request.content.decode()).items()}
        if self.is_away:
            self.asked_away += 1
            return httpx.Response(self.away_status)
        if form["grant_type"] == "refresh_token":
            return self._refresh(form)
        asked = self.asked.pop(form["code"], None)
        if asked is None or not self._fits(form, asked):
            return httpx.Response(400, json={"error": "invalid_grant"})
        return self._give({"nonce": asked["nonce"]})

    def _refresh(self, form: dict[str, str]) -> httpx.Response:
        if not self.gives_refresh or form["refresh_token"] != f"refresh-{self.refreshes}":
            return httpx.Response(400, json={"error": "invalid_grant"})
        self.refreshes += 1  # each is good once
        return self._give({})

    def _give(self, more: dict[str, str]) -> httpx.Response:
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": self.client_id, "iat": now, "exp": now + self.lasts_s, **more}
        token = jwt.encode(
            {"alg": "RS256", "kid": "k1"}, {**claims, **self.claims, **self.spoil}, self.signs_with or self.key
        )
        given = {"id_token": token, "access_token": "x", "token_type": "Bearer"}
        return httpx.Response(
            200, json=given | ({"refresh_token": f"refresh-{self.refreshes}"} if self.gives_refresh else {})
        )

    def _fits(self, form: dict[str, str], asked: dict[str, str]) -> bool:
        challenge = base64.urlsafe_b64encode(sha256(form["code_verifier"].encode()).digest()).decode().rstrip("=")
        return (
            challenge == asked["code_challenge"]
            and form["redirect_uri"] == asked["redirect_uri"]
            and (form["client_id"], form["client_secret"]) == (self.client_id, self.client_secret)
        )


@contextmanager
def serve_provider() -> Generator[Provider]:
    """A provider that browsers reach: whoever comes is sent back at once, as they are signed in there."""
    provider = Provider()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if urlsplit(self.path).path.endswith("/auth"):
                self._send(httpx.Response(303, headers={"Location": provider.approve(self.path)}))
            else:
                self._send(provider.answer(httpx.Request("GET", f"http://provider{self.path}")))

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self._send(provider.answer(httpx.Request("POST", f"http://provider{self.path}", content=body)))

        def _send(self, answer: httpx.Response) -> None:
            self.send_response(answer.status_code)
            for name in ("location", "content-type"):
                if name in answer.headers:
                    self.send_header(name, answer.headers[name])
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as its parent calls it
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        provider.issuer = f"http://127.0.0.1:{server.server_address[1]}/realms/service"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield provider
        server.shutdown()
