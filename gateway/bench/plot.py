"""The rate against the size of batches and of registries, as an SVG: two small panels, no library."""

from collections.abc import Mapping, Sequence
from math import log10
from statistics import median
from typing import Final
from xml.sax.saxutils import escape

from gateway.bench.contest import Result

_WIDTH: Final = 360
_HEIGHT: Final = 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 18, 34, 44
_INK: Final = "#374151"
_LINE: Final = "#2563eb"
_GRID: Final = "#e5e7eb"
_STEPS: Final = 4


def draw(batches: Mapping[int, Sequence[Result]], fleets: Mapping[int, Sequence[Result]], caption: str) -> str:
    """An SVG of `listen` at these sizes; each point is a median, its bar from the slowest round to the fastest."""
    panels = [
        _panel(results, words, at * _WIDTH)
        for at, (results, words) in enumerate(
            ((batches, "readings in a batch at most"), (fleets, "registered devices"))
        )
    ]
    width, height = 2 * _WIDTH, _HEIGHT + 24
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="system-ui, sans-serif" font-size="11" fill="{_INK}">'
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>{"".join(panels)}'
        f'<text x="{_LEFT}" y="{height - 8}" fill="#6b7280">{escape(caption)}</text></svg>\n'
    )


def _panel(results: Mapping[int, Sequence[Result]], words: str, left: float) -> str:
    rates = {size: sorted(result.per_s for result in runs) for size, runs in sorted(results.items()) if runs}
    if not rates:
        return ""
    step = _round_step(max(max(each) for each in rates.values()) / _STEPS)
    parts = [f'<g transform="translate({left:g} 0)">', f'<text x="{_LEFT}" y="18">readings/s stored, by {words}</text>']
    for number in range(_STEPS + 1):
        y = _y(number * step, step)
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{_GRID}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{number * step:,.0f}</text>')
    points: list[str] = []
    for size, runs in rates.items():
        x = _x(size, rates)
        points.append(f"{x:.1f},{_y(median(runs), step):.1f}")
        bar = f'y1="{_y(runs[0], step):.1f}" y2="{_y(runs[-1], step):.1f}"'
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" {bar} stroke="{_LINE}" stroke-opacity="0.35" stroke-width="5"/>')
        parts.append(f'<circle cx="{x:.1f}" cy="{_y(median(runs), step):.1f}" r="3.5" fill="{_LINE}"/>')
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{size:,}</text>')
    parts.append(f'<polyline points="{" ".join(points)}" fill="none" stroke="{_LINE}" stroke-width="1.5"/></g>')
    return "".join(parts)


def _x(size: int, sizes: Mapping[int, object]) -> float:
    low, high = log10(min(sizes)), log10(max(sizes))
    share = (log10(size) - low) / (high - low) if high > low else 0.5
    return _LEFT + 20 + share * (_WIDTH - _LEFT - _RIGHT - 40)


def _y(rate: float, step: float) -> float:
    return _HEIGHT - _BOTTOM - rate / (step * _STEPS) * (_HEIGHT - _TOP - _BOTTOM)


def _round_step(least: float) -> float:
    """The smallest of 1, 2, 2.5 and 5 times a power of ten that is not less."""
    power = 10.0 ** int(log10(least)) if least >= 1 else 1.0
    return next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= least)
