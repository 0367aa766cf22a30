"""Why a message was refused, in Italian: every sentence that the decoders can say."""

import ast
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.console.words import load_words

ENGLISH, ITALIAN = (load_words()[language] for language in ("en", "it"))
ROOT = Path(__file__).resolve().parents[2]


def said() -> Iterator[str]:
    """The details of all faults that are named with their reason in the code, filled in with a name."""
    for path in itertools.chain((ROOT / "devices").rglob("*.py"), (ROOT / "gateway").rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(call, ast.Call) and any("QuarantineReason." in ast.unparse(each) for each in call.args):
                yield from (text for each in call.args if (text := _text(each)) is not None and " " in text)


def _text(node: ast.expr) -> str | None:
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "'name'" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def test_every_sentence_has_italian_words() -> None:
    sentences = set(said())
    assert len(sentences) > 40
    same = {each for each in sentences if ITALIAN.refused(each) == each}
    assert same == {"'name': 'name'"}


@pytest.mark.parametrize(
    ("detail", "italian"),
    [
        ("t is 900.0; physically it lies in [-20.0, 200.0]", "t è 900.0; fisicamente sta tra -20.0 e 200.0"),
        ("ts 9 is 7 s beyond what is allowed; clock 9 min ahead (from 2 looks, not yet sure)",
         "ts 9 è 7 s oltre il consentito; orologio avanti di 9 min (da 2 sguardi, non ancora sicuro)"),
        ("clock 15 min ahead; it went 92 s back on 19 May 2026",
         "orologio avanti di 15 min; è tornato indietro di 92 s il 19 maggio 2026"),
        ("t is stored as 1.0 for this time; told as 2.0",
         "t per questo momento è memorizzato come 1.0; comunicato come 2.0"),
        ("record 3: 'v' is a string, not a number", "record 3: 'v' è una stringa, non un numero"),
        ("ts the number 7 is neither RFC 3339 with an offset nor epoch milliseconds, from 1970 to 9999",
         "ts il numero 7 non è né RFC 3339 con scostamento né millisecondi dall'epoca, dal 1970 al 9999"),
        ("something that a plug-in says", "something that a plug-in says"),
        ("metric {a} is {0}", "la metrica {a} è {0}"),
    ],
)  # fmt: skip
def test_what_is_filled_in_is_said_in_italian_too(detail: str, italian: str) -> None:
    assert ITALIAN.refused(detail) == italian
    assert ENGLISH.refused(detail) == detail


def test_what_is_too_long_to_be_a_sentence_of_ours_is_not_looked_through() -> None:
    assert ITALIAN.refused("the number 7") == "il numero 7"
    endless = f"the number {'7' * 100_000}"
    assert ITALIAN.refused(endless) == endless
