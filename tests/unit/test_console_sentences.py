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
the device is known as kettle-2.1 now, no longer as v1.5; whether the trouble since 3 May 14:05 is over cannot be \
told, for it is not watched any more
Shots rose by 1,200: unlike itself at this time of day; expected was 2.5 to 4
Boiler 98.3 °C: unlike itself at this time of day; expected was 71.6 to 74.2 °C, by 55 days of its own past, and this \
is out by 9.3 times that range
Errors: its use has lately been 12.1 times this device's habit of 3.93 a day; it has been more since 3 May 14:05 \
(33 hours); going by Shots, 1.1 times the habit was to be expected
Distance: its use has lately been 0.34 times this device's habit of 5,390 m a day; it has been less since 3 May 14:05 \
(33 hours); going by Steps, 1.02 times the habit was to be expected
Distance: its use has lately been 0.34 times this device's habit of 5,390 m a day; it has been less since 3 May 14:05 \
(33 hours)
Distance: its use is as usual again, 0.95 times the habit; it was less since 3 May 14:05
Flow has drifted down to 57.7 lately: its own level was 68.6, and this is 3.06 times as far as it usually varies
5 of 8 metrics of this device have drifted away from their own past since 3 May 14:05, together more than chance does: \
Temperature 12.5 °C, was 11 °C; Pressure -2.5 bar, was 3.1 bar
"""
TOLD = """
Boiler temperature 147 °C, sopra il limite di 125 °C da 11 giorni, dal 16 novembre 09:16
Battery 15,9 °C, per ora entro il limite di 60 °C; era oltre dal 3 maggio 18:14, e lo si sorveglia ancora
Nessun segno di vita da 3,2 giorni, dal 3 maggio 2025 14:05; il suo silenzio più lungo è di solito 2 ore
Event x è venuto almeno 32 volte dal 26 maggio 19:34 (32 ore); il suo limite è 6 entro 24 ore
per caso capita meno di una volta su 3 milioni
Shots: nessun uso dal 20 maggio 02:00 (7,8 giorni), dove se ne aspetta entro 3,6 giorni; un'abitudine nota da 26 giorni
il dispositivo ora è noto come kettle-2.1, non più come v1.5; se il guasto dal 3 maggio 14:05 sia finito non si può \
dire, perché non lo si sorveglia più
Shots in aumento di 1.200: diverso dal solito a quest'ora; ci si aspettava da 2,5 a 4
Boiler 98,3 °C: diverso dal solito a quest'ora; ci si aspettava da 71,6 a 74,2 °C, dopo 55 giorni di vita, e ne è \
fuori di 9,3 volte quell'intervallo
Errors: l'uso è ultimamente 12,1 volte l'abitudine di questo dispositivo (3,93 al giorno); è di più \
dal 3 maggio 14:05 (33 ore); stando a Shots, c'era da aspettarsi 1,1 volte l'abitudine
Distance: l'uso è ultimamente 0,34 volte l'abitudine di questo dispositivo (5.390 m al giorno); è di meno \
dal 3 maggio 14:05 (33 ore); stando a Steps, c'era da aspettarsi 1,02 volte l'abitudine
Distance: l'uso è ultimamente 0,34 volte l'abitudine di questo dispositivo (5.390 m al giorno); è di meno \
dal 3 maggio 14:05 (33 ore)
Distance: l'uso è di nuovo come al solito, 0,95 volte l'abitudine; era di meno dal 3 maggio 14:05
Flow è scesa ultimamente a 57,7: il suo livello era 68,6, e questo è 3,06 volte quanto varia di solito
5 misure su 8 di questo dispositivo si sono allontanate dal loro passato dal 3 maggio 14:05, insieme più di quanto \
faccia il caso: Temperature 12,5 °C, era 11 °C; Pressure -2,5 bar, era 3,1 bar
"""


PAIRS = list(zip(SAID.strip().splitlines(), TOLD.strip().splitlines(), strict=True))


@pytest.mark.parametrize(("said", "told"), PAIRS)
def test_a_detectors_sentence_is_told_in_italian(said: str, told: str) -> None:
    assert load_wordings().of("it").phrase(said) == told
