"""What other rooms say in English is told in Italian, too."""

from datetime import UTC, datetime
from typing import Any

import pytest

from crm_sync.owners.standing import Standing
from crm_sync.policy.model import Reason
from crm_sync.policy.shown import DecisionView
from gateway.console.said import say_check, say_order, say_owner
from gateway.console.show import Shown
from gateway.console.words import load_words

AT = datetime(2026, 3, 3, 22, tzinfo=UTC)
ENGLISH, ITALIAN = (Shown(load_words()[language], AT.timestamp()) for language in ("en", "it"))


def order(**changes: Any) -> dict[str, Any]:
    known = {"is_numbered": True, "missing": 0, "clock": "right", "offset_s": 2.0, "is_sure": True}
    return {**known, "moved_at": None, "moved_by_s": None, **changes}


@pytest.mark.parametrize(
    ("told", "english", "italian"),
    [
        (
            order(),
            "nothing is missing; clock right, to within 2 s",
            "non manca nulla; orologio giusto, entro 2 s",
        ),
        (
            order(is_numbered=False, clock="none", offset_s=None),
            "it does not number its messages; no clock: what it sends bears the time of its receipt",
            "non numera i suoi messaggi; nessun orologio: ciò che invia porta l'ora di ricezione",
        ),
        (
            order(missing=3, clock="ahead", offset_s=7200.0, is_sure=False, moved_at=AT, moved_by_s=-3600.0),
            (
                "3 messages never reached us; clock 2 h ahead; it may send local time as UTC; not yet sure; "
                "it went 1 h back on 3 Mar 2026, as for daylight saving"
            ),
            (
                "3 messaggi non sono mai arrivati; orologio avanti di 2 h; forse invia l'ora locale come UTC; "
                "non ancora certo; è tornato indietro di 1 h il 3 mar 2026, come per l'ora legale"
            ),
        ),
    ],
)
def test_gaps_and_clocks_are_told_in_both_languages(told: dict[str, Any], english: str, italian: str) -> None:
    assert (say_order(told, ENGLISH), say_order(told, ITALIAN)) == (english, italian)


def test_an_owner_is_told_of_in_both_languages() -> None:
    refusal = DecisionView(
        None, "alm_1", "a-1", "d-1", "own-1", "step", "email", "grant", "refuse", Reason.LEGAL_HOLD, {}, AT, AT
    )
    assert say_owner("own-1", [refusal], [], Standing(), ENGLISH) == (
        "own-1 was never contacted. What was left undone: a legal matter is open with the owner; "
        "would be allowed again from 3 Mar 2026 22:00 UTC."
    )
    said = say_owner("own-1", [refusal], [], Standing(), ITALIAN)
    assert said.startswith("own-1 non è mai stato contattato. Che cosa non si è fatto: ")
    assert "legal matter" not in said
    assert say_owner("own-9", [], [], Standing(), ITALIAN).startswith("Nulla è mai stato deciso su own-9")


def test_how_parts_are_is_told_in_italian() -> None:
    words = ITALIAN.words
    assert say_check("has not answered for 12 s (the database does not answer)", words) == (
        "non risponde da 12 s (la base di dati non risponde)"
    )
    assert say_check("full for 7 s; the doors hold back", words) == "piena da 7 s; gli ingressi trattengono"
    assert say_check("PostgreSQL 17", words) == "PostgreSQL 17"
