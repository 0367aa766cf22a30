"""Where the console sends a browser: nowhere but to its own pages."""

import pytest

from gateway.console.parts import safe_path


@pytest.mark.parametrize(
    "text",
    ["//elsewhere", "/\\elsewhere", "https://elsewhere/", "elsewhere", "//[", "http://[", "/\t/[", "javascript:x", ""],
)
def test_what_is_no_page_of_ours_is_the_first_page(text: str) -> None:
    assert safe_path(text) == "/"


def test_a_page_of_ours_stays_what_it_is() -> None:
    assert safe_path("/cases/c-1?show=all") == "/cases/c-1?show=all"
