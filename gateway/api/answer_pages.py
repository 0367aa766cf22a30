"""The pages that an owner sees: three buttons and a word of thanks, in the language of their browser.

They say nothing about the product or the person: whoever the link is passed on to learns nothing from it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Final

from crm_sync.owners.answers import Answer

HEADERS: Final[Mapping[str, str]] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex, nofollow, noarchive",
}


@dataclass(frozen=True, slots=True)
class Words:
    """What the pages say in one language."""

    language: str
    question: str
    answers: Mapping[Answer, str]
    thanks: str
    again: str
    gone: str
    later: str


ENGLISH: Final = Words(
    "en",
    "We wrote to you about your product. What became of it?",
    {
        Answer.SOLVED: "It is solved",
        Answer.NOT_SOLVED: "It is not solved",
        Answer.WRONG: "Nothing was wrong",
    },
    "Thank you. We have noted your answer:",
    "Thank you. You have told us already:",
    "This link is not valid any more. Please write to our customer service.",
    "We cannot note your answer at the moment. Please try again in a few minutes.",
)
ITALIAN: Final = Words(
    "it",
    "Le abbiamo scritto a proposito del Suo prodotto. Com'è andata?",
    {
        Answer.SOLVED: "Il problema è risolto",
        Answer.NOT_SOLVED: "Il problema non è risolto",
        Answer.WRONG: "Non c'era nessun problema",
    },
    "Grazie. Abbiamo registrato la Sua risposta:",
    "Grazie. Ci aveva già risposto:",
    "Questo collegamento non è più valido. Si rivolga al nostro servizio clienti.",
    "Al momento non possiamo registrare la Sua risposta. Riprovi tra qualche minuto.",
)
GERMAN: Final = Words(
    "de",
    "Wir haben Ihnen zu Ihrem Produkt geschrieben. Was ist daraus geworden?",
    {
        Answer.SOLVED: "Es ist behoben",
        Answer.NOT_SOLVED: "Es ist nicht behoben",
        Answer.WRONG: "Es fehlte nichts",
    },
    "Danke. Wir haben Ihre Antwort vermerkt:",
    "Danke. Sie haben uns schon geantwortet:",
    "Dieser Link gilt nicht mehr. Bitte wenden Sie sich an unseren Kundendienst.",
    "Wir können Ihre Antwort gerade nicht vermerken. Bitte versuchen Sie es in einigen Minuten noch einmal.",
)
_KNOWN: Final[Mapping[str, Words]] = {words.language: words for words in (ENGLISH, ITALIAN, GERMAN)}


def words_for(accepted: str) -> Words:
    """The first language of an Accept-Language header that the pages know, else English; weights are not looked at."""
    for part in accepted[:200].split(","):
        known = _KNOWN.get(part.split(";")[0].strip().lower()[:2])
        if known is not None:
            return known
    return ENGLISH


def question_page(words: Words) -> str:
    """Three buttons; without a script, and nothing happens before one of them is pressed."""
    buttons = "\n".join(
        f'<button name="answer" value="{answer}">{escape(label)}</button>' for answer, label in words.answers.items()
    )
    return _page(words, words.question, f'<form method="post">\n{buttons}\n</form>')


def answered_page(words: Words, answer: Answer, *, is_new: bool) -> str:
    """Thanks, and which answer counts."""
    return _page(
        words, words.thanks if is_new else words.again, f"<p><strong>{escape(words.answers[answer])}</strong></p>"
    )


def sorry_page(words: Words, text: str) -> str:
    """One sentence."""
    return _page(words, text, "")


_STYLE: Final = (
    "body{font:1.1rem/1.5 system-ui,sans-serif;max-width:32rem;margin:10vh auto;padding:0 1rem;color:#1c1c1c}"
    "h1{font-size:1.3rem}button{display:block;width:100%;margin:.8rem 0;padding:.9rem;font:inherit;"
    "border:1px solid #767676;border-radius:.4rem;background:#fff;color:inherit}"
    "button:focus-visible{outline:3px solid #1a56b0;outline-offset:2px}"
)


def _page(words: Words, heading: str, body: str) -> str:
    return (
        f'<!doctype html>\n<html lang="{words.language}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="robots" content="noindex, nofollow">\n<meta name="referrer" content="no-referrer">\n'
        f"<title>{escape(heading)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{escape(heading)}</h1>\n{body}\n</main>\n</body>\n</html>\n"
    )
