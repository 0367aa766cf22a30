"""What holds for the words of every language that careloop speaks, and of every profile that comes with it."""

import re
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from crm_sync.model import Resolution
from crm_sync.wording.catalogue import load_wordings
from crm_sync.wording.wording import Wording
from devices.errors import ConfigError
from devices.profiles import load_profiles
from devices.profiles.model import Profile
from gateway.detect.model import AlarmChange
from tests.detect.stories import engine_for, judge, stories
from tests.unit.test_detect_unlike import calm, faulty
from tests.unit.test_detect_unlike import judge as judge_rows

WORDINGS = load_wordings().by_language
PROFILES = {name: profile for name, profile in load_profiles().items() if not profile.automatic}
TOO_SHORT_TO_TELL = frozenset({"a", "all", "in"})  # words of both languages
METRICS = frozenset({"load", "flow", "lpm", "pressure", "bar", "current", "vibration"})


@pytest.fixture(params=sorted(WORDINGS))
def wording(request: pytest.FixtureRequest) -> Wording:
    return WORDINGS[str(request.param)]


@pytest.fixture(scope="module")
def told() -> list[AlarmChange]:
    """All that every detector says of a series in which something goes wrong and right again."""
    return [
        change
        for story in stories().values()
        for change in judge(engine_for(story.profile()), story.profile(), story.ts_s, story.values)
    ]


@pytest.fixture(scope="module")
def told_of_rows() -> list[AlarmChange]:
    """The same of machines that are judged by all metrics together, or by their only one."""
    leaping = calm(1400)[:, 3:]
    leaping[1000:1100] += 8.0 * np.random.default_rng(1).normal(size=(100, 1))
    alone = [
        change for values in (faulty("step")[:, 3:], leaping) for change in judge_rows(values, 600.0, names=["load"])
    ]
    return [change for fault in ("step", "noise") for change in judge_rows(faulty(fault))] + alone


def test_it_has_an_ending_for_every_resolution(wording: Wording) -> None:
    assert set(wording.words.endings) == set(Resolution)


def test_it_tells_every_kind_of_alarm(wording: Wording) -> None:
    kinds = {"threshold", "record", "usage_drop", "usage_surge", "decline", "stuck", "event_burst", "silence"}
    assert kinds <= set(wording.words.titles)
    assert wording.language == "en" or kinds <= set(wording.words.signs)


def test_nothing_that_a_detector_says_is_left_in_english(wording: Wording, told: list[AlarmChange]) -> None:
    assert {change.event for change in told} >= {"raised", "cleared"}
    for change in told:
        for said in (change.explanation.expected, change.explanation.observed):
            left = _words(wording.phrase(said)) & _words(said) - TOO_SHORT_TO_TELL
            assert wording.language == "en" or not left, said


def test_nothing_that_is_said_of_rows_is_left_in_english(told_of_rows: list[AlarmChange]) -> None:
    texts = [change.explanation.text for change in told_of_rows]
    for said in ("leap from", "leaps from", "taken together", "lies again", "lie and go"):
        assert any(said in text for text in texts), said
    for change in told_of_rows:
        for said in (change.explanation.expected, change.explanation.observed, change.explanation.text):
            left = _words(WORDINGS["it"].phrase(said)) & _words(said) - TOO_SHORT_TO_TELL
            assert not left - METRICS, said


def _words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+", text.lower()))


@pytest.mark.parametrize("profile", PROFILES.values(), ids=list(PROFILES))
def test_a_profile_has_all_its_words_in_italian(profile: Profile) -> None:
    words = profile.translations["it"]
    assert words.title
    assert set(words.metrics) == set(profile.metrics)
    assert set(words.watches) == {watch.name for watch in profile.watches}
    told = profile.in_language("it-CH")
    for watch, named in zip(profile.watches, told.watches, strict=True):
        assert (not watch.description) == (named.description == watch.description), watch.name
    for name, command in profile.commands.items():
        assert (not command.description) == (told.commands[name].description == command.description), name
    for playbook, retold in zip(profile.playbooks, told.playbooks, strict=True):
        for name in ("title", "likely_cause", "what_to_say", "what_not_to_do"):
            assert getattr(retold, name) != getattr(playbook, name), (playbook.problem, name)


def test_a_company_puts_its_own_words_in_place(tmp_path: Path) -> None:
    (tmp_path / "it.toml").write_text('[headings]\nwhat_to_say = "Cosa dire al cliente"\n')
    wording = load_wordings("it", str(tmp_path)).of()
    assert wording.words.headings.what_to_say == "Cosa dire al cliente"
    assert wording.words.headings.what_not_to_do == "Che cosa non fare"


def test_a_language_of_ones_own_needs_all_words(tmp_path: Path) -> None:
    english = (resources.files("crm_sync.wording") / "en.toml").read_text("utf-8")
    (tmp_path / "de.toml").write_text(english.replace("What to say", "Was zu sagen ist"))
    german = load_wordings("de", str(tmp_path)).of()
    assert german.words.headings.what_to_say == "Was zu sagen ist"
    assert german.number(0.5) == "0,5"
    (tmp_path / "de.toml").write_text('[headings]\nwhat_to_say = "Was zu sagen ist"\n')
    with pytest.raises(ConfigError, match="course"):
        load_wordings("de", str(tmp_path))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[moments]\ntoday = 'at {hour}'", "nothing in braces but time"),
        ("[moments]\ntoday = 'at {time'", "braces close"),
        ("[moments]\nnow = 'now'", "Extra inputs"),
        ("[[phrases]]\nsaid = 'about {n}'\ntold = '{m}'", "does not have"),
        ("moments", "a TOML file"),
    ],
)
def test_a_wrong_word_is_told_with_its_file(tmp_path: Path, text: str, fault: str) -> None:
    (tmp_path / "en.toml").write_text(text)
    with pytest.raises(ConfigError) as error:
        load_wordings("en", str(tmp_path))
    assert fault in str(error.value)
    assert "en.toml" in str(error.value)


def test_an_unknown_language_is_told() -> None:
    with pytest.raises(ConfigError, match=r"crm\.language"):
        load_wordings("tlh")


def test_who_speaks_no_known_language_hears_the_companys() -> None:
    wordings = load_wordings("it")
    assert (wordings.of("en-GB").language, wordings.of("fi").language, wordings.of().language) == ("en", "it", "it")
