"""Texts with places, and paths into answers."""

import pytest

from crm_sync.adapters.rest.limits import Bucket, Limits
from crm_sync.adapters.rest.template import UnknownWord, Values, fill, fill_path, is_same, look_up, places

VALUES = Values(
    {"id": 7, "word": "a/b c", "none": None, "deep": {"list": [1, {"x": True}]}, "severity": "major"},
    {"priority": {"major": 2, "*": 4}, "strict": {"minor": 1}},
)


def test_a_text_that_is_one_place_keeps_its_type() -> None:
    assert fill("{id}", VALUES) == 7
    assert fill("{none}", VALUES) is None
    assert fill("{deep.list[-1].x}", VALUES) is True
    assert fill("{severity|priority}", VALUES) == 2
    assert fill("{word|priority}", VALUES) == 4


def test_places_in_a_text_are_text() -> None:
    assert fill("#{id} {none}{deep.list[1].x}", VALUES) == "#7 true"
    assert fill("{{id}} {{", VALUES) == "{id} {"


def test_tables_and_arrays_are_filled_through() -> None:
    assert fill({"a_{id}": ["{word}", {"b": 1.5}], "c": False}, VALUES) == {"a_7": ["a/b c", {"b": 1.5}], "c": False}


def test_nothing_leaves_its_segment_of_a_path() -> None:
    assert fill_path("/t/{word}/x?y={id}", VALUES) == "/t/a%2Fb%20c/x?y=7"


@pytest.mark.parametrize("path", ["/t/{none}", "/t/{dots}/x"])
def test_what_would_be_another_path_is_refused(path: str) -> None:
    with pytest.raises(UnknownWord, match="cannot stand in a path"):
        fill_path(path, Values({"none": None, "dots": ".."}, {}))


def test_a_word_that_no_map_has_is_an_error() -> None:
    with pytest.raises(UnknownWord, match=r"maps\.strict has neither 'major'"):
        fill("{severity|strict}", VALUES)


@pytest.mark.parametrize("wrong", ["{", "a } b", "{Title}", "{a..b}", "{ }"])
def test_what_is_no_place_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"brace|JMESPath"):
        list(places(wrong))


def test_places_are_found_wherever_they_stand() -> None:
    assert list(places({"{a}": ["{b.c[0]|m}", 3]})) == [("a", None), ("b", "m")]


@pytest.mark.parametrize(
    ("found", "wanted", "same"),
    [
        ("70", 70, True),
        (70.0, "70", True),
        ("urgent ", "urgent", True),
        (None, "", True),
        ("true", True, True),
        (1, True, False),
        ("low", "urgent", False),
        (None, "x", False),
        (["a"], ["a"], True),
        (["a"], "a", False),
    ],
)
def test_what_a_helpdesk_keeps_may_have_another_type(found: object, wanted: object, same: bool) -> None:
    assert is_same(found, wanted) is same  # pyright: ignore[reportArgumentType]


def test_a_path_that_does_not_fit_finds_nothing() -> None:
    assert look_up("contains(@, 'x')", 3) is None
    assert look_up("a.b", [1]) is None


def test_a_bucket_lets_a_delivery_run_up_a_debt_and_pays_it_back() -> None:
    bucket = Bucket(Limits(requests=2, per=20), 0.0)
    assert bucket.wait_s(0.0) == 0
    for _ in range(4):
        bucket.spend(0.0)
    assert bucket.wait_s(0.0) == pytest.approx(30.0)
    assert bucket.wait_s(30.0) == 0
    assert bucket.wait_s(10_000.0) == 0
