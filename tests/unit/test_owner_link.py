"""Links that owners answer by: only ours are believed, and they say nothing about anybody."""

import base64
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from crm_sync.model import case_id_of
from crm_sync.owner_link import link_for, link_keys, make_token, read_token
from crm_sync.voice_settings import VoiceSettings
from devices.errors import ConfigError
from gateway.api.answer_pages import ENGLISH, GERMAN, ITALIAN, Words, question_page, words_for

OLD, NEW = (f"whsec_{base64.b64encode(bytes([byte]) * 32).decode()}" for byte in (1, 2))
CASE = case_id_of("default", "alm_1", "")
AT = 1_800_000_000.0


def voice(secret: str = NEW, **changes: object) -> VoiceSettings:
    return VoiceSettings.model_validate({"base_url": "https://care.example.com/", "secret": secret} | changes)


def token_of(link: str | None) -> str:
    assert link is not None
    assert link.startswith("https://care.example.com/v1/answers/")
    return link.rpartition("/")[2]


def test_a_link_says_which_case_until_when_and_for_whom() -> None:
    token = token_of(link_for(voice(), link_keys(voice()), "default", CASE, "crm-7731", now_s=AT))
    link = read_token(link_keys(voice()), "default", token)
    assert link is not None
    assert (link.case_id, link.expires_at_s) == (CASE, AT + 14 * 86_400)
    assert link.is_for("crm-7731")
    assert not link.is_for("crm-7732")
    assert not link.is_for(None)
    assert "7731" not in token


def test_without_an_address_there_is_no_link() -> None:
    assert link_for(VoiceSettings(), link_keys(VoiceSettings()), "default", CASE, "crm-1", now_s=AT) is None
    assert link_keys(VoiceSettings()) == []


def test_every_character_of_a_link_is_held_by_its_proof() -> None:
    keys = link_keys(voice())
    token = make_token(keys[0], "default", CASE, "crm-1", expires_at_s=AT)
    for at, character in enumerate(token):
        changed = token[:at] + ("a" if character != "a" else "b") + token[at + 1 :]
        assert read_token(keys, "default", changed) is None, at
    for changed in ("", token[:-1], token + "A", token.replace(".", ""), token.upper(), "é" * 60, f"{token}\n"):
        assert read_token(keys, "default", changed) is None


def test_another_tenants_link_is_not_believed() -> None:
    keys = link_keys(voice())
    assert read_token(keys, "other", make_token(keys[0], "default", CASE, "crm-1", expires_at_s=AT)) is None


def test_links_of_the_old_secret_work_while_it_is_replaced() -> None:
    token = token_of(link_for(voice(OLD), link_keys(voice(OLD)), "default", CASE, "crm-1", now_s=AT))
    during = read_token(link_keys(voice(NEW, previous_secret=OLD)), "default", token)
    assert during is not None
    assert during.is_for("crm-1")
    assert read_token(link_keys(voice(NEW)), "default", token) is None
    both = voice(NEW, previous_secret=OLD)
    fresh = token_of(link_for(both, link_keys(both), "default", CASE, "crm-1", now_s=AT))
    assert read_token(link_keys(voice(NEW)), "default", fresh) is not None


def test_the_secret_may_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "voice"
    file.write_text(f"{NEW}\n")
    settings = VoiceSettings(base_url="https://care.example.com", secret_file=str(file))
    assert link_keys(settings) == link_keys(voice())
    with pytest.raises(ConfigError):
        link_keys(VoiceSettings(base_url="https://care.example.com", secret_file=str(tmp_path / "none")))


@pytest.mark.parametrize(
    "wrong",
    [
        {"base_url": "https://care.example.com"},
        {"base_url": "care.example.com", "secret": NEW},
        {"base_url": "ftp://care.example.com", "secret": NEW},
        {"base_url": "https://care.example.com/?a=1", "secret": NEW},
        {"secret": "whsec_short"},
        {"secret": NEW, "secret_file": "/a/file"},
    ],
)
def test_settings_that_cannot_work_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError) as caught:
        VoiceSettings.model_validate(wrong)
    assert NEW not in str(caught.value)


def test_a_secret_is_not_shown() -> None:
    assert NEW not in repr(VoiceSettings(secret=SecretStr(NEW)))


def test_pages_speak_the_browsers_language() -> None:
    assert words_for("it-IT,it;q=0.9,en;q=0.8") is ITALIAN
    assert words_for("fr, de-AT;q=0.7") is GERMAN
    assert words_for("") is words_for("zz") is ENGLISH


@pytest.mark.parametrize("words", [ENGLISH, ITALIAN, GERMAN], ids=["en", "it", "de"])
def test_the_page_has_three_buttons_and_no_script(words: Words) -> None:
    page = question_page(words)
    assert page.count("<button") == 3
    assert "<script" not in page
    assert 'method="post"' in page
