"""Every sentence that the doctor can say is said in Italian at the console, too."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import gateway.doctor
from gateway.console.said import say_finding
from gateway.console.words import load_words
from gateway.doctor.finding import Finding
from gateway.doctor.machine import judge_disk, judge_expiry

ITALIAN = load_words()["it"]
FOLDER = Path(gateway.doctor.__file__).parent
_SAYS = 1  # of judge(what, says, fix, ok=…)


def _texts(node: ast.expr) -> Iterator[str]:
    """What an expression may say, with a word nobody knows for each value."""
    match node:
        case ast.Constant(value=str(text)) if " " in text:
            yield text
        case ast.JoinedStr(values=parts):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "xyz" for part in parts)
        case ast.IfExp(body=body, orelse=other):
            yield from _texts(body)
            yield from _texts(other)
        case ast.BoolOp(values=values):
            for value in values:
                yield from _texts(value)
        case ast.BinOp(left=left, right=right):
            for first in _texts(left):
                yield first
                yield from (first + rest for rest in _texts(right))
        case ast.Call(func=ast.Attribute(attr="join"), args=[ast.GeneratorExp(elt=told)]):
            yield from _texts(told)
        case _:
            return


def _sentences(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name(id="says" | "fix" | "why" | "left" | "_LOSES")], value=value):
                yield from _texts(value)
            case ast.AnnAssign(target=ast.Name(id="_LOSES"), value=ast.expr() as value):
                yield from _texts(value)
            case ast.keyword(arg="says" | "fix" | "without", value=value):
                yield from _texts(value)
            case ast.Call(func=ast.Name(id="judge"), args=[_, *told]):
                for each in told:
                    yield from _texts(each)
            case _:
                pass


SENTENCES = sorted(
    {
        text
        for path in FOLDER.glob("*.py")
        for text in _sentences(ast.parse(path.read_text("utf-8")))
        if text.replace("xyz", "").strip(" :.,=")
    }
)


def test_all_of_them_are_found() -> None:
    assert len(SENTENCES) > 90
    assert "autovacuum keeps up" in SENTENCES


@pytest.mark.parametrize("sentence", SENTENCES)
def test_it_is_said_in_italian(sentence: str) -> None:
    if sentence not in {"autovacuum = off", "in xyz ms", "xyz = off", "xyz: xyz"}:  # the same in every language
        assert ITALIAN.found(sentence) != sentence


def test_a_sentence_within_a_sentence_is_said_too() -> None:
    soon = say_finding(judge_expiry("certificate broker", 2 * 86_400.0, 0.0), ITALIAN)
    assert (soon.says, soon.fix) == (
        "valido per 2 giorni, fino al 1970-01-03",
        "rinnovarlo, poi riavviare il gateway",
    )
    assert say_finding(judge_disk("disk", 1 << 30, 10 << 30), ITALIAN).says == "1.0 GiB liberi su 10.0 GiB"
    topics = say_finding(Finding("broker topics", ok=False, says="a/b is refused, c/d at QoS 0 only"), ITALIAN)
    assert topics.says == "a/b è rifiutato, c/d solo con QoS 0"


def test_what_a_system_says_stays_as_it_is() -> None:
    says = "127.0.0.1:1883 takes no connection ([Errno 111] Connection refused)"
    found = say_finding(Finding("broker", ok=False, says=says), ITALIAN)
    assert found.says == "127.0.0.1:1883 non accetta connessioni ([Errno 111] Connection refused)"


def test_a_part_of_the_gateway_says_how_it_is_in_its_own_words() -> None:
    assert say_finding(Finding("gateway queue", ok=True, says="has room"), ITALIAN).says == "ha posto"
