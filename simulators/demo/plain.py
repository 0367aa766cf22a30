"""The demo's console: as wide as the terminal, or plain lines where there is none."""

import sys
from typing import Final, TextIO, cast

from rich.console import Console

PLAIN_WIDTH: Final = 110  # of lines in a file or a log, which nobody's window breaks


class _Trimmed:
    """Writes lines without the blanks that a table ends them with; a pipe wants text, not a picture of a screen."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._held = ""  # what may yet turn out to end a line

    def write(self, text: str) -> int:
        """Write all but trailing blanks."""
        whole = self._held + text
        lines = whole.split("\n")
        kept = lines[-1].rstrip(" ")
        self._held = lines[-1][len(kept) :]
        self._file.write("\n".join([line.rstrip(" ") for line in lines[:-1]] + [kept]))
        return len(text)

    def flush(self) -> None:
        """Pass on what was written."""
        self._file.flush()

    def isatty(self) -> bool:
        """It is for no terminal."""
        return False


def make_console(file: TextIO | None = None) -> Console:
    """A console for standard output: as wide as the terminal, or plain lines where there is none."""
    target = sys.stdout if file is None else file
    if target.isatty():
        return Console(file=target, highlight=False)
    return Console(file=cast("TextIO", _Trimmed(target)), width=PLAIN_WIDTH, highlight=False)
