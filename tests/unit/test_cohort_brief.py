"""What agents read of many devices at once: in both languages, with a company's own words in their place."""

from dataclasses import replace
from pathlib import Path

import pytest

from crm_sync.cases.cohort_brief import CohortWriter
from crm_sync.cases.desk import Desk
from crm_sync.incidents import Finding, IncidentNotice
from crm_sync.settings import CrmSettings
from crm_sync.wording.catalogue import load_wordings
from devices.profiles import load_profiles

NOW_S = 1_772_535_600.0  # 3 March 2026, 11:00 UTC
FIRMWARE = IncidentNotice(
    tenant_id="default",
    incident_id="inc_1",
    event="opened",
    kind="bad_firmware",
    model="coffee-machine",
    firmware="2.5.0",
    region="north",
    problems=("boiler", "pump-noise"),
    severity="major",
    title="Coffee machine in north: firmware 2.5.0 brings trouble: boiler",
    says="the English words",
    team="quality",
    devices=60,
    recorded_at_s=NOW_S,
    findings=(
        Finding(60, 60, 0.26, problem="boiler", region="north"),
        Finding(7, 120, 1.75, problem="pump-noise", others=2000, others_affected=31),
    ),
)
DIP = IncidentNotice(
    tenant_id="default",
    incident_id="inc_2",
    event="opened",
    kind="fleet_dip",
    model=None,
    firmware=None,
    region=None,
    problems=("fleet_dip",),
    severity="major",
    title="Many devices of the whole fleet have fallen silent or out of use at once",
    says="the English words",
    team="quality",
    devices=500,
    recorded_at_s=NOW_S,
    findings=(
        Finding(
            500,
            1500,
            12.4,
            scope="*",
            by_model={
                "coffee-machine": 200,
                "e-bike": 150,
                "washing-machine": 90,
                "fitness-band": 50,
                "x1": 6,
                "x2": 4,
            },
        ),
    ),
)


def writer(notice: IncidentNotice, language: str = "en", folder: str = "") -> CohortWriter:
    return CohortWriter(Desk(CrmSettings(), load_profiles(), wordings=load_wordings(language, folder)), notice)


def test_a_firmware_is_told_in_english() -> None:
    told = writer(FIRMWARE)
    title = "Coffee machine in north: firmware 2.5.0 brings trouble: the boiler runs too hot and pump noise"
    assert told.title() == title
    assert told.brief().startswith(
        "What happened\n"
        "60 of 60 devices (100 %) with firmware 2.5.0 of Coffee machine in north have this trouble since they got it: "
        "the boiler runs too hot. About 0.26 would be usual. "
        "Nobody is left without it to compare with: it was compared with the time before.\n"
        "7 of 120 devices (5.8 %) with firmware 2.5.0 of Coffee machine have this trouble since they got it: "
        "pump noise. Of the 2000 that run another firmware it is 31 (1.6 %). About 1.8 would be usual.\n\n"
    )
    assert "What to do\nStop the rollout" in told.brief()


def test_a_firmware_is_told_in_italian() -> None:
    told = writer(FIRMWARE, "it")
    assert told.title().startswith(
        "Macchina da caffè in north: il firmware 2.5.0 porta un guasto: la caldaia è troppo calda"
    )
    brief = told.brief()
    assert "60 dispositivi su 60 (100 %) con il firmware 2.5.0 di Macchina da caffè in north" in brief
    assert "Di solito sarebbero circa 0,26." in brief
    assert [line for line in brief.splitlines() if line.startswith("Che cosa")] == [
        "Che cosa è successo",
        "Che cosa fare",
        "Che cosa dire",
        "Che cosa non fare",
    ]


@pytest.mark.parametrize("language", ["en", "it"])
def test_a_dip_names_its_largest_models(language: str) -> None:
    told = writer(DIP, language).brief()
    assert {"en": "90 Washing machine, 50 Fitness band and 2 more models", "it": "e altri 2 modelli"}[language] in told
    assert {"en": "of the whole fleet", "it": "dell'intera flotta"}[language] in writer(DIP, language).title()


def test_nothing_of_it_is_the_same_in_both_languages() -> None:
    for notice in (FIRMWARE, DIP):
        english, italian = writer(notice).brief(), writer(notice, "it").brief()
        assert not {line for line in english.splitlines() if line} & set(italian.splitlines())


@pytest.mark.parametrize(("going_on", "says"), [(0, "have recovered."), (3, "3 of its 40 alarms go on")])
def test_its_end_says_how_many_go_on(going_on: int, says: str) -> None:
    ended = replace(FIRMWARE, event="ended", alarms=40, going_on=going_on)
    assert says in writer(ended).ending(NOW_S)
    assert "today at 11:00 UTC" in writer(ended).ending(NOW_S)
    assert "oggi alle 11:00 UTC" in writer(ended, "it").ending(NOW_S)


def test_a_company_says_it_in_its_own_words(tmp_path: Path) -> None:
    (tmp_path / "it.toml").write_text(
        '[cohort]\nfirmware_title_in = "Fermi tutti: {firmware}"\n'
        '[cohort_advice.bad_firmware]\nwhat_to_do = "Chiamare il signor Rossi."\n'
    )
    told = writer(FIRMWARE, "it", str(tmp_path))
    assert told.title() == "Fermi tutti: 2.5.0"
    assert "Chiamare il signor Rossi." in told.brief()
    assert "Non inviare a nessuno un pezzo" in told.brief()


def test_a_notice_of_before_keeps_the_words_it_came_with() -> None:
    old = replace(FIRMWARE, findings=())
    assert writer(old, "it").title() == FIRMWARE.title
    assert "Che cosa è successo\nthe English words" in writer(old, "it").brief()
