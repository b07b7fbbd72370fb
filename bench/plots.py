"""Plots as SVG: horizontal bars of medians, with a line from the fastest to the slowest round.

Each bar has its value beside it, so that nothing is read off an axis. A picture brings its own background and follows
the reader's choice of light or dark.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from bench.measured import number

_WIDTH, _ROW, _TOP, _BOTTOM = 860, 30, 64, 16
_VALUES, _LETTER = 96, 7.0
_STYLE = """\
text { font: 13px system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif; fill: #1f2328 }
.title { font-size: 15px; font-weight: 600 }
.soft { fill: #59636e }
.card { fill: #ffffff; stroke: #d1d9e0 }
.ours { fill: #0969da }
.other { fill: #8c959f }
.range { stroke: #1f2328; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc }
  .soft { fill: #9198a1 }
  .card { fill: #0d1117; stroke: #3d444d }
  .ours { fill: #4493f8 }
  .other { fill: #656c76 }
  .range { stroke: #f0f6fc }
}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One subject: its rounds, and whether it is ours."""

    name: str
    rounds: Sequence[float]
    median: float
    is_ours: bool


def bars(title: str, unit: str, rows: Sequence[Bar]) -> str:
    """The picture. Where the largest is more than thirty times the smallest the scale is logarithmic, and says so."""
    highest = max((max(row.rounds) for row in rows), default=1.0)
    lowest = min((min(row.rounds) for row in rows), default=1.0)
    is_logarithmic = lowest > 0 and highest > 30 * lowest
    left = 32 + round(_LETTER * max((len(row.name) for row in rows), default=0))
    room = _WIDTH - left - _VALUES - 16
    floor = 10 ** math.floor(math.log10(lowest)) if is_logarithmic else 0.0

    def along(value: float) -> float:
        if is_logarithmic:
            return room * math.log(value / floor) / math.log(highest / floor)
        return room * max(0.0, value) / highest if highest > 0 else 0.0

    height = _TOP + _ROW * len(rows) + _BOTTOM
    scale = f"{unit}{'; logarithmic scale' if is_logarithmic else ''}; bar: median, line: least to most of the rounds"
    said = f"{title}: " + ", ".join(f"{row.name} {number(row.median)}" for row in rows)
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        f'role="img" aria-label="{escape(said, {chr(34): "&quot;"})}">',
        f"<style>\n{_STYLE}</style>",
        f'<rect class="card" x="0.5" y="0.5" width="{_WIDTH - 1}" height="{height - 1}" rx="6"/>',
        f'<text class="title" x="16" y="27">{escape(title)}</text>',
        f'<text class="soft" x="16" y="47">{escape(scale)}</text>',
    ]
    for position, row in enumerate(rows):
        drawn += _row(row, left, _TOP + _ROW * position, along)
    return "\n".join([*drawn, "</svg>", ""])


def _row(row: Bar, left: int, top: int, along: Callable[[float], float]) -> list[str]:
    middle, least, most = top + _ROW / 2, along(min(row.rounds)), along(max(row.rounds))
    bar = along(row.median)
    value = left + max(bar, most) + 8
    return [
        f'<text x="{left - 10}" y="{middle + 4.5:.1f}" text-anchor="end">{escape(row.name)}</text>',
        f'<rect class="{"ours" if row.is_ours else "other"}" x="{left}" y="{top + 6}" width="{max(bar, 1):.1f}" '
        f'height="{_ROW - 12}" rx="2"/>',
        f'<path class="range" d="M{left + least:.1f} {middle:.1f}H{left + most:.1f}"/>',
        f'<text x="{value:.1f}" y="{middle + 4.5:.1f}">{number(row.median)}</text>',
    ]
