"""What the Health page says of how much happens in which time."""

from gateway.console.pages.health import rate_rows
from gateway.console.show import Shown
from gateway.console.words import load_words
from gateway.pipeline.pace import Rates


def test_rates_are_told_in_the_readers_language() -> None:
    rates = Rates(1234.5, 20.04, 0.5, 0.25)
    english, italian = (rate_rows(rates, (3, 14), Shown(load_words()[language], 0.0)) for language in ("en", "it"))
    assert english[0] == ("readings stored", "1,234 a second over the last minute, 20 over the last hour")
    assert english[1] == ("batches", "0.5 a second over the last minute, 0.25 over the last hour")
    assert english[2] == ("cases", "3 in the last day, 2 a day over the last week")
    assert italian[2] == ("pratiche", "3 nell'ultimo giorno, 2 al giorno nell'ultima settimana")
