"""Sheets of panels, one below the other, each with words under it; saved as the file's name says."""

import textwrap
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, cast

from devices.errors import CareloopError, ConfigError, Fault

Axes = Any
"""Of matplotlib, whose methods have no types for what they take by name."""

INK: Final = "#1f2937"
SOFT: Final = "#6b7280"
FAINT: Final = "#e5e7eb"
LINE: Final = "#2563eb"
ALARM: Final = "#dc2626"
EXPECTED: Final = "#16a34a"
UNKNOWN: Final = "#9ca3af"
OTHER: Final = "#d97706"

SUFFIXES: Final = frozenset({".png", ".svg"})
WIDTH_IN: Final = 11.0
PANEL_IN: Final = 2.1
LINE_IN: Final = 0.19
TITLE_IN: Final = 0.75
GAP_IN: Final = 0.62  # below a panel, for its axis
WRAP: Final = 165
WRAP_SUBTITLE: Final = 140
DOTS_PER_INCH: Final = 130
STYLE: Final[dict[str, Any]] = {
    "font.size": 9,
    "font.family": ["DejaVu Sans"],
    "text.color": INK,
    "text.parse_math": False,  # a device may have two dollar signs in its name
    "axes.edgecolor": FAINT,
    "axes.labelcolor": SOFT,
    "axes.titlesize": 10,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "timezone": "UTC",
    "svg.fonttype": "none",
    "svg.hashsalt": "careloop",
    "legend.frameon": False,
}


class Panel(Protocol):
    """Something that can be drawn."""

    @property
    def words(self) -> Sequence[str]:
        """What is said under it."""
        ...

    def draw(self, axes: Axes) -> None:
        """Draw it."""
        ...


@dataclass(frozen=True, slots=True)
class Sheet:
    """A whole picture."""

    title: str
    subtitle: str
    panels: Sequence[Panel]


def check_name(path: Path) -> None:
    """Raises ConfigError where a picture cannot be saved under a name."""
    if path.suffix.lower() not in SUFFIXES:
        raise ConfigError([Fault("--plot", str(path), "a name that ends in .png or .svg")])
    if not path.absolute().parent.is_dir():
        raise ConfigError([Fault("--plot", str(path), "a file in a folder that exists")])


def save(sheet: Sheet, path: Path) -> None:
    """Draw a sheet into a file. Raises CareloopError."""
    import matplotlib as mpl  # noqa: PLC0415 - takes most of a second, and only pictures need it
    from matplotlib.figure import Figure  # noqa: PLC0415

    said = [_wrapped(panel.words) for panel in sheet.panels]
    heights = [PANEL_IN + GAP_IN + LINE_IN * len(lines) for lines in said]
    below = textwrap.wrap(sheet.subtitle, WRAP_SUBTITLE)
    title_in = TITLE_IN + LINE_IN * max(0, len(below) - 1)
    height_in = title_in + sum(heights)
    with cast("Any", mpl).rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # then a box stands there
        figure = cast("Any", Figure)(figsize=(WIDTH_IN, height_in))
        figure.text(0.06, 1 - 0.3 / height_in, sheet.title, fontsize=13, fontweight="bold", va="center")
        for number, line in enumerate(below):
            figure.text(0.06, 1 - (0.55 + LINE_IN * number) / height_in, line, color=SOFT, va="center")
        top_in = height_in - title_in
        for panel, lines, height in zip(sheet.panels, said, heights, strict=True):
            bottom_in = top_in - 0.25 - (PANEL_IN - 0.25)
            panel.draw(figure.add_axes((0.06, bottom_in / height_in, 0.89, (PANEL_IN - 0.25) / height_in)))
            for number, line in enumerate(lines):
                y_in = bottom_in - 0.45 - LINE_IN * number
                figure.text(0.06, y_in / height_in, line, fontsize=8, color=INK, va="center")
            top_in -= height
        try:
            figure.savefig(path, dpi=DOTS_PER_INCH, facecolor="white", metadata=_metadata(path))
        except OSError as error:
            raise CareloopError("picture_not_saved", f"{path}: {error.strerror}") from error


def _metadata(path: Path) -> dict[str, Any]:
    """Nothing that differs between two drawings of the same."""
    return {"Date": None} if path.suffix.lower() == ".svg" else {"Software": None}


def _wrapped(words: Sequence[str]) -> list[str]:
    return [line for each in words for line in textwrap.wrap(each, WRAP, subsequent_indent="     ")]
