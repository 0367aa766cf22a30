"""Tokens that are granted for a while, as OAuth's client credentials and signed assertions are."""

from collections.abc import Callable
from urllib.parse import parse_qs

from simulators.crm.vendors.desk import Asked, Reply, bearer


class Granting:
    """Grants a token to whoever knows the secret, or brings an assertion that is believed."""

    def __init__(
        self, secret: str, believes: Callable[[str, float], bool] | None = None, *, tells_life: bool = True
    ) -> None:
        self.secret = secret
        self.granted = 0
        self.tokens: set[str] = set()
        self._believes = believes
        self._tells_life = tells_life

    def grant(self, asked: Asked) -> Reply:
        """A new token; the one before stays good until somebody revokes it."""
        form = {name: values[0] for name, values in parse_qs(asked.body.decode()).items()}
        is_known = form.get("client_secret") == self.secret
        if "assertion" in form:
            is_known = self._believes is not None and self._believes(form["assertion"], asked.at_s)
        if not is_known:
            return Reply(400, {"error": "invalid_grant", "error_description": "who are you?"})
        self.granted += 1
        token = f"granted-token-{self.granted}"
        self.tokens.add(token)
        life = {"expires_in": 3599} if self._tells_life else {}
        return Reply(200, {"access_token": token, "token_type": "Bearer", **life})

    def knows(self, asked: Asked) -> bool:
        """Whether a request bears a token that is still good."""
        return bearer(asked) in self.tokens
