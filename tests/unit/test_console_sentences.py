"""What detectors say, as an Italian reads it in the console: whole sentences with the dates and numbers of Italian."""

import pytest

from crm_sync.wording.catalogue import load_wordings

SAID = """
Boiler temperature 147 °C, above its limit of 125 °C for 11 days since 16 November 09:16
Battery 15.9 °C, within its limit of 60 °C at present; it has been beyond it since 3 May 18:14, and is still watched
No sign of life for 3.2 days, since 3 May 2025 14:05; its longest usual silence is 2 hours
Event x has come at least 32 times since 26 May 19:34 (32 hours); its limit is 6 within 24 hours
by chance this happens less than once in 3 million times
Shots: no use since 20 May 02:00 (7.8 days), where some is expected within 3.6 days; a habit known for 26 days
"""
TOLD = """
Boiler temperature 147 °C, sopra il limite di 125 °C da 11 giorni, dal 16 novembre 09:16
Battery 15,9 °C, per ora entro il limite di 60 °C; era oltre dal 3 maggio 18:14, e lo si sorveglia ancora
Nessun segno di vita da 3,2 giorni, dal 3 maggio 2025 14:05; il suo silenzio più lungo è di solito 2 ore
Event x è venuto almeno 32 volte dal 26 maggio 19:34 (32 ore); il suo limite è 6 entro 24 ore
per caso capita meno di una volta su 3 milioni
Shots: nessun uso dal 20 maggio 02:00 (7,8 giorni), dove se ne aspetta entro 3,6 giorni; un'abitudine nota da 26 giorni
"""


PAIRS = list(zip(SAID.strip().splitlines(), TOLD.strip().splitlines(), strict=True))


@pytest.mark.parametrize(("said", "told"), PAIRS)
def test_a_detectors_sentence_is_told_in_italian(said: str, told: str) -> None:
    assert load_wordings().of("it").phrase(said) == told
