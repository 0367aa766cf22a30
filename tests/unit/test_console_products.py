"""What the console calls products and problems, and how it says when something began, in the reader's language."""

from datetime import UTC, datetime

from crm_sync.wording.catalogue import load_wordings
from devices.profiles import load_profiles
from gateway.console.pages.deliveries import pretty
from gateway.console.products import Product, Products
from gateway.console.show import Shown
from gateway.console.words import load_words
from gateway.detect.words import say_metric

PROFILES = load_profiles()
WORDS = load_words()
BEGAN = datetime(2026, 11, 16, 9, 45, tzinfo=UTC)


def products(language: str) -> Products:
    return Products(PROFILES, load_wordings().of(language), language)


def test_a_case_is_told_in_the_readers_language_whatever_it_was_written_in() -> None:
    english, italian = (products(language).of("fitness-band") for language in ("en", "it"))
    written = english.advice("battery-safety", "threshold").title
    told = italian.case("battery-safety", written)
    assert told != written
    assert english.case("battery-safety", told) == written
    assert italian.case("battery-safety", "Chosen by a person") == "Chosen by a person"
    assert italian.case("no-such-problem", written) == written
    assert italian.advice("battery-safety", "threshold").what_to_say.startswith("Per favore")
    assert italian.title("fitness-band") == "Braccialetto fitness"


def test_what_a_detector_said_names_the_metric_as_people_do() -> None:
    said = "Case temperature 52.9 °C, above its limit of 48 °C"
    italian = products("it").of("fitness-band")
    assert italian.said("case_temperature", said).startswith("Temperatura della cassa 52,9 °C")
    assert products("en").of("fitness-band").said("case_temperature", said) == said
    assert italian.said("steps", said).startswith("Case temperature")  # the sentence is not about that one
    assert italian.watch("battery-too-hot") == "Batteria troppo calda"
    assert italian.metric("event:brew_aborted") == "brew aborted"


def test_what_a_detector_said_names_an_event_as_its_profile_does_and_else_by_its_code_in_words() -> None:
    said = "Event brew aborted has come 6 times since 10:00 (2 hours)"
    english, italian = (products(language).of("coffee-machine") for language in ("en", "it"))
    assert english.said("event:brew_aborted", said) == "Brew broken off has come 6 times since 10:00 (2 hours)"
    assert italian.said("event:brew_aborted", said).startswith("Erogazione interrotta è venuto 6 volte")
    before = said.replace("brew aborted", "brew_aborted")
    assert english.said("event:brew_aborted", before).startswith("Brew broken off has come")
    unknown = say_metric("event:pump_ran_dry")
    assert unknown == "Event pump ran dry"
    assert english.said("event:pump_ran_dry", f"{unknown} has come 3 times") == "Event pump ran dry has come 3 times"
    assert (english.event("descaling_due"), italian.event("descaling_due")) == (
        "Descaling due",
        "Decalcificazione richiesta",
    )
    assert italian.event("pump_ran_dry") == "pump ran dry"
    assert say_metric("event:*") == "Any event"


def test_every_event_of_every_profile_has_a_title_in_both_languages() -> None:
    for profile in PROFILES.values():
        told = profile.in_language("it")
        for code, event in profile.events.items():
            assert event.title, (profile.model, code)
            assert told.events[code].title not in {"", event.title}, (profile.model, code)


def test_a_silence_that_goes_on_is_as_long_as_it_is_by_now() -> None:
    said = "No sign of life for 3 days, since 23 November 16:44; its limit is 3 days"
    english, italian = (products(language).of("coffee-machine") for language in ("en", "it"))
    assert english.said(None, said) == said
    assert english.said(None, said, 9 * 86_400.0) == said.replace("for 3 days", "for 9 days")
    assert italian.said(None, said, 9 * 86_400.0).startswith("Nessun segno di vita da 9 giorni, dal 23 nov")
    assert english.said(None, "none for 3 days", 9 * 86_400.0) == "none for 9 days"
    assert [english.said(None, said, ahead_s) for ahead_s in (0.0, -3600.0)] == [said, said]  # its clock is ahead
    for other in ("Heard again after 3 days of silence since 09:45", "none in 17 days", "none for pay"):
        assert english.said(None, other, 9 * 86_400.0) == other


def test_a_product_without_a_profile_has_general_advice() -> None:
    unknown: Product = products("en").of("no-such-model")
    assert unknown.title("no-such-model") == "no-such-model"
    assert unknown.advice("motor", "threshold").what_to_say
    assert unknown.watch("too-hot") == "too-hot"


def test_moments_in_a_sentence_are_the_readers_or_say_that_they_are_utc() -> None:
    shown = Shown(WORDS["en"], BEGAN.timestamp() + 86_400)
    text = str(shown.moments("above its limit since 16 November 09:45, last at 11:20 <b>", BEGAN))
    assert '<time datetime="2026-11-16T09:45:00+00:00" data-local>16 Nov 09:45 UTC</time>' in text
    assert "11:20 UTC" in text
    assert "&lt;b&gt;" in text
    assert str(shown.moments("since 09:45 UTC")) == "since 09:45 UTC"


def test_only_the_moment_at_which_it_began_becomes_the_readers() -> None:
    shown = Shown(WORDS["en"], BEGAN.timestamp() + 60 * 86_400)
    began = '<time datetime="2026-11-16T09:45:00+00:00" data-local>16 Nov 2026 09:45 UTC</time>'
    for day in ("16 November 2026 ", "16 novembre ", ""):
        told = str(shown.moments(f"since {day}09:45, for the last time 18 November 09:45", BEGAN))
        assert told == f"since {began}, for the last time 18 November 09:45 UTC"
    assert str(shown.moments("since 15 November 2026 09:45", BEGAN)) == "since 15 November 2026 09:45 UTC"
    assert str(shown.moments("since 16 November 09:45, then at 09:45", BEGAN)) == f"since {began}, then at 09:45 UTC"


def test_a_day_says_its_year() -> None:
    shown = Shown(WORDS["it"], BEGAN.timestamp())
    assert (shown.date(BEGAN.date()), shown.date(None)) == ("16 nov 2026", "—")


def test_what_a_device_told_is_shown_as_it_is() -> None:
    shown = Shown(WORDS["it"], BEGAN.timestamp())
    assert [shown.value(each) for each in (True, 1234.5, "hot", None)] == ["sì", "1.234", "hot", ""]


def test_a_moment_within_a_sentence_stays_one() -> None:
    shown = Shown(WORDS["en"], BEGAN.timestamp())
    said = WORDS["en"].say("being looked at until {when}", when=shown.when(BEGAN))
    assert said == f"being looked at until {shown.when(BEGAN)}"
    assert hasattr(said, "__html__")
    assert "&lt;" in WORDS["en"].say("until {when}, {who}", when=shown.when(BEGAN), who="<b>")


def test_what_was_sent_is_laid_out_where_it_is_json_and_left_alone_where_not() -> None:
    assert pretty('{"a":{"b":"è"}}') == '{\n  "a": {\n    "b": "è"\n  }\n}'
    assert (pretty("<html>"), pretty(None)) == ("<html>", "")
