"""The brief in the words that an agent reads."""

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest

from crm_sync.brief import CaseFacts, generic_playbook, write_brief, write_ending
from crm_sync.model import AlarmState, CaseAlarm, Resolution, Subject
from crm_sync.wording.catalogue import load_wordings
from crm_sync.wording.wording import display_unit
from devices.profiles import load_profiles
from devices.profiles.model import Playbook, Severity

NOW = datetime(2026, 3, 3, 11, 0, tzinfo=UTC).timestamp()
ENGLISH = load_wordings().of("en")
ITALIAN = load_wordings().of("it")
HOUR = 3600.0
DAY = 86400.0
MACHINE = load_profiles()["coffee-machine"]
SUBJECT = Subject(
    "default",
    "cm-42",
    "asset-42",
    model="coffee-machine",
    serial="CM-88231",
    warranty_until=date(2027, 5, 4),
    firmware="2.4.1",
    owner_ref="own-1",
    time_zone="Europe/Berlin",
)
HOT = CaseAlarm(
    alarm_id="alm_1",
    case_id=None,
    watch="boiler-too-hot",
    kind="threshold",
    metric="boiler_temperature",
    severity=Severity.CRITICAL,
    state=AlarmState.ACTIVE,
    suppressed=None,
    started_at_s=NOW - HOUR,
    decided_ts_s=NOW,
    text="Too hot",
    expected="at most 125 °C",
    observed="131 °C",
    window_s=HOUR,
    evidence=((NOW - 2 * HOUR, 118.0), (NOW - HOUR, 127.0), (NOW, 131.2345)),
)


def brief(*alarms: CaseAlarm, subject: Subject = SUBJECT, **changes: Any) -> str:
    playbook = next(each for each in MACHINE.playbooks if each.problem == "boiler")
    return write_brief(replace(CaseFacts(subject, MACHINE, playbook, alarms or (HOT,), NOW, ENGLISH), **changes))


def test_the_whole_brief_of_a_hot_boiler() -> None:
    assert brief() == (
        "What happened\n"
        "Boiler temperature: 131 °C; allowed is at most 125 °C. It began today at 11:00 local time.\n"
        "  Readings: 118 °C (10:00), 127 °C (11:00), 131.2 °C (12:00)\n\n"
        "Likely cause\n"
        "A temperature sensor or a relay that sticks; the thermal fuse is the last guard.\n\n"
        "What to say\n"
        "Please switch the machine off at the wall and do not use it. We will bring you a replacement.\n\n"
        "What not to do\n"
        "Do not have the owner descale, open or test the machine.\n\n"
        "The product\n"
        "Coffee machine, serial CM-88231, firmware 2.4.1. In warranty until 4 May 2027. Device cm-42."
    )


def test_the_whole_brief_in_italian() -> None:
    machine = MACHINE.in_language("it")
    playbook = next(each for each in machine.playbooks if each.problem == "boiler")
    assert brief(profile=machine, playbook=playbook, wording=ITALIAN) == (
        "Che cosa è successo\n"
        "Temperatura della caldaia: 131 °C; consentito: al massimo 125 °C. È cominciato oggi alle 11:00, ora locale.\n"
        "  Letture: 118 °C (10:00), 127 °C (11:00), 131,2 °C (12:00)\n\n"
        "Causa probabile\n"
        "Un sensore di temperatura o un relè che si blocca; il termofusibile è l'ultima difesa.\n\n"
        "Che cosa dire\n"
        "Per favore stacchi la macchina dalla presa e non la usi. Le portiamo un apparecchio sostitutivo.\n\n"
        "Che cosa non fare\n"
        "Non far decalcificare, aprire o provare la macchina al proprietario.\n\n"
        "Il prodotto\n"
        "Macchina da caffè, matricola CM-88231, firmware 2.4.1. In garanzia fino al 4 maggio 2027. Dispositivo cm-42."
    )


def test_another_day_in_italian() -> None:
    text = brief(replace(HOT, started_at_s=NOW - 5 * DAY), wording=ITALIAN)
    assert "È cominciato giovedì 26 febbraio alle 12:00, ora locale." in text


def test_it_names_no_person() -> None:
    assert "own-1" not in brief()


def test_without_a_zone_it_says_utc() -> None:
    assert "It began today at 10:00 UTC." in brief(subject=replace(SUBJECT, time_zone=None))
    assert "It began today at 10:00 UTC." in brief(subject=replace(SUBJECT, time_zone="Middle/Earth"))


@pytest.mark.parametrize(
    ("ago_s", "words"),
    [
        (13 * HOUR, "yesterday at 23:00"),
        (6 * DAY, "on Wednesday 25 February at 12:00"),
        (100 * DAY, "on Sunday 23 November 2025 at 12:00"),
    ],
)
def test_moments_as_people_say_them(ago_s: float, words: str) -> None:
    assert f"It began {words} local time." in brief(replace(HOT, started_at_s=NOW - ago_s))


def test_a_daily_sum_is_shown_by_its_day() -> None:
    midnight = NOW - NOW % DAY
    sums = tuple((midnight - days * DAY, float(days)) for days in range(9, 0, -1))
    text = brief(replace(HOT, kind="usage_drop", metric="shots", observed="12", expected="about 63", evidence=sums))
    assert "Shots: 12; usual here is about 63." in text
    assert "Readings: 9 (22 Feb), 7 (24 Feb), 6 (25 Feb), 4 (27 Feb), 3 (28 Feb), 1 (2 Mar)" in text


def test_several_signs_are_a_list_and_the_oldest_are_left_out() -> None:
    text = brief(*(replace(HOT, alarm_id=f"alm_{n}") for n in range(8)))
    assert text.count("- Boiler temperature") == 6
    assert "Besides, 2 earlier signs." in text


def test_what_is_over_and_what_was_retracted() -> None:
    over = replace(HOT, alarm_id="alm_2", state=AlarmState.CLEARED)
    wrong = replace(HOT, alarm_id="alm_3", state=AlarmState.RETRACTED, metric="pump_pressure")
    text = brief(HOT, over, wrong)
    assert text.count("and is over.") == 1
    assert "Pump pressure" not in text


def test_silence_is_told_as_not_knowing() -> None:
    text = brief(replace(HOT, state=AlarmState.UNKNOWN))
    assert "has fallen silent, as noticed today at 12:00: whether the fault is still there is not known." in text


def test_a_relapse_says_when_it_had_been_resolved() -> None:
    assert "It had been resolved yesterday at 12:00, and came back." in brief(resolved_before_s=NOW - DAY)


def test_a_kind_that_is_not_known_here_tells_itself() -> None:
    assert "Twelve faults in an hour. It began" in brief(replace(HOT, kind="burst", text="Twelve faults in an hour"))


@pytest.mark.parametrize(
    ("until", "words"),
    [
        (None, "Warranty not recorded."),
        (date(2026, 3, 2), "Out of warranty since 2 March 2026."),
        (date(2026, 3, 3), "In warranty, which ends today (3 March 2026)."),
        (date(2026, 3, 4), "In warranty, which ends tomorrow (4 March 2026)."),
        (date(2026, 3, 20), "In warranty, which ends in 17 days (20 March 2026)."),
    ],
)
def test_the_warranty(until: date | None, words: str) -> None:
    assert words in brief(subject=replace(SUBJECT, warranty_until=until))


def test_the_automatic_profile_gives_a_title_too() -> None:
    playbook = generic_playbook(None, "motor_temperature", "threshold", ENGLISH)
    assert playbook.title == "The product runs outside its limits: motor temperature"
    assert generic_playbook(MACHINE, "connection", "silence", ENGLISH).title == "The coffee machine has gone quiet"


def test_it_stays_short_whatever_comes_in() -> None:
    long = "x" * 50_000
    playbook = Playbook(problem="boiler", title="t", likely_cause=long, what_to_say=long, what_not_to_do=long)
    alarms = tuple(replace(HOT, observed=long, expected=long, text=long) for _ in range(50))
    assert len(brief(*alarms, playbook=playbook).encode()) < 10_000


def test_endings() -> None:
    assert write_ending(Resolution.RECOVERED_IN_TELEMETRY, SUBJECT, NOW, NOW, ENGLISH) == (
        "The product has been back to normal since today at 12:00 local time. Nothing is left to do."
    )
    for resolution in Resolution:
        assert "12:00 local time" in write_ending(resolution, SUBJECT, NOW, NOW, ENGLISH)


@pytest.mark.parametrize(
    ("value", "words"),
    [(3.0, "3"), (0.12345, "0.1235"), (131.2345, "131.2"), (12345.678, "12346"), (float("nan"), "none")],
)
def test_numbers(value: float, words: str) -> None:
    assert ENGLISH.number(value) == words


@pytest.mark.parametrize(("code", "words"), [("Cel", " °C"), ("%", "%"), ("1", ""), ("{shot}", ""), ("bar", " bar")])
def test_units(code: str, words: str) -> None:
    assert display_unit(code) == words


@pytest.mark.parametrize(("seconds", "words"), [(40, "40 seconds"), (7200, "2 hours"), (260_000, "3 days")])
def test_spans(seconds: float, words: str) -> None:
    assert ENGLISH.span(seconds) == words


def test_a_burst_is_named_by_its_event_not_by_a_series() -> None:
    burst = replace(
        HOT,
        kind="event_burst",
        watch="breaks-off-brewing",
        metric="event:brew_aborted",
        text="Event brew_aborted has come 6 times since 10:00 (2 hours)",
        expected="hardly ever one",
        observed="6 times in 2 hours",
    )
    assert "Event brew_aborted has come 6 times" in brief(burst)
    told = brief(burst, wording=ITALIAN)
    assert "event:" not in told
    assert "6 times" in told or "6 volte" in told
