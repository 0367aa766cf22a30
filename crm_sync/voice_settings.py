"""The owner's voice: a signed link in outreach that asks what became of the fault."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from crm_sync.endpoints import fault, must_be_a_secret
from devices.profiles.model import SpanS


class VoiceSettings(BaseModel):
    """Where owners reach the answer page, and what their answers may do; without `base_url` no link is put in."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_url: str = ""  # under which owners reach this API from outside; …/v1/answers/… is put behind it
    secret: SecretStr = SecretStr("")  # whsec_…; signs links
    secret_file: str = ""  # read the secret from this file instead
    previous_secret: SecretStr = SecretStr("")  # while a secret is being replaced: links signed with it still work
    link_lasts: Annotated[SpanS, Field(gt=0)] = 14 * 86400.0
    wrong: Literal["retract", "note"] = "retract"  # what "nothing was wrong" does; a critical case is never retracted

    @field_validator("secret", "previous_secret")
    @classmethod
    def _is_a_secret(cls, secret: SecretStr) -> SecretStr:
        return must_be_a_secret(secret)

    @field_validator("base_url")
    @classmethod
    def _is_a_url(cls, text: str) -> str:
        if not text:
            return text
        import httpx  # noqa: PLC0415 - takes long, and every command reads settings, most of them without this one

        try:
            url = httpx.URL(text)
        except httpx.InvalidURL as error:
            raise fault("a text that is no URL", str(error)) from error
        if url.scheme not in {"http", "https"} or not url.host or url.query or url.fragment or url.userinfo:
            raise fault(text, "an address such as https://service.example.com, without a query")
        return text.rstrip("/")

    @model_validator(mode="after")
    def _can_be_signed(self) -> Self:
        given = bool(self.secret.get_secret_value()) + bool(self.secret_file)
        if given > 1 or (self.base_url and not given):
            raise fault(f"{given} of secret and secret_file", "exactly one of them, where base_url is set", "secret")
        return self
