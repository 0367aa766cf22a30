"""What devices sent, as text where it is one."""

from gateway.console.readable import MOST, readable


def test_a_text_that_is_cut_within_a_letter_is_a_text_still() -> None:
    raw = b"x" + "\N{DEGREE SIGN}".encode() * MOST
    for length in (MOST, MOST + 1, len(raw)):  # as a capture keeps it, and as quarantine does
        assert readable(raw[:length]) == "x" + "\N{DEGREE SIGN}" * (MOST // 2 - 1)


def test_what_is_no_text_is_shown_in_hexadecimal() -> None:
    assert readable(b"\x00\xff") == "00 ff"
    assert readable(b"\xff" * 3000) == " ".join(["ff"] * 500)
    assert readable(b'{"temperature": 21.5}') == '{"temperature": 21.5}'
    assert readable(b"21 \xc2") == "32 31 20 c2"  # nothing was cut from it
