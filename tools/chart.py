"""A line chart as SVG text: readable on a light and on a dark page, on paper and without colour.

Pure: values in, text out, the same for the same values. Lines differ in colour (Okabe and Ito's
set, told apart by the colour-blind too), in dashes and in the shape of their points; each point
says its value when it is pointed at.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 84, 58
TICKS = 5
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
DASHES = ("", "8 4", "2 3", "10 3 2 3", "5 5", "1 4")
LEGEND_WIDTH = 168
STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #333 }
  .title { font-size: 16px; font-weight: 600 }
  .grid { stroke: #8884; stroke-width: 1 }
  .axis { stroke: #888; stroke-width: 1 }
  @media (prefers-color-scheme: dark) { text { fill: #ddd } }
"""


@dataclass(frozen=True)
class Line:
    """One series; `points` are (x, y), x ascending and above 0, y not below 0."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Chart:
    """What is drawn. The x axis is logarithmic, the y axis begins at 0."""

    title: str
    x_label: str
    y_label: str
    x_ticks: Sequence[tuple[float, str]]
    lines: Sequence[Line]


def render(chart: Chart) -> str:
    """The chart. Raises `ValueError` where a point cannot be drawn."""
    values = [point for line in chart.lines for point in line.points]
    if any(x <= 0 or y < 0 or not math.isfinite(x + y) for x, y in values):
        raise ValueError(f"{chart.title}: a point is off the axes")
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{escape(chart.title)}</title>",
        f"<style>{STYLE}</style>",
        _text(LEFT, 24, chart.title, kind="title"),
    ]
    if values:
        parts += _drawn(chart, values)
    else:
        parts.append(_text(WIDTH / 2, HEIGHT / 2, "not measured yet", anchor="middle"))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _drawn(chart: Chart, values: Sequence[tuple[float, float]]) -> list[str]:
    places = [math.log2(x) for x, _ in [*values, *chart.x_ticks]]
    low, high = min(places), max(places)
    step = round_up(max(y for _, y in values) / TICKS)
    across, up = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def at_x(x: float) -> float:
        return LEFT + across * ((math.log2(x) - low) / (high - low) if high > low else 0.5)

    def at_y(y: float) -> float:
        return HEIGHT - BOTTOM - up * y / (step * TICKS)

    parts = []
    for tick in range(TICKS + 1):
        y = at_y(tick * step)
        kind = "grid" if tick else "axis"
        parts.append(f'<path class="{kind}" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(_text(LEFT - 8, y + 4, f"{tick * step:g}", anchor="end"))
    for x, label in chart.x_ticks:
        parts.append(_text(at_x(x), HEIGHT - BOTTOM + 20, label, anchor="middle"))
    middle = TOP + up / 2
    parts.append(_text(LEFT + across / 2, HEIGHT - 12, chart.x_label, anchor="middle"))
    parts.append(
        f'<text transform="rotate(-90 16 {middle:g})" x="16" y="{middle:g}" '
        f'text-anchor="middle">{escape(chart.y_label)}</text>'
    )
    for index, line in enumerate(chart.lines):
        if not line.points:
            continue
        colour, dash = COLOURS[index % len(COLOURS)], DASHES[index % len(DASHES)]
        stroke = f'fill="none" stroke="{colour}" stroke-width="2.5" stroke-dasharray="{dash}"'
        path = " ".join(f"{at_x(x):.1f},{at_y(y):.1f}" for x, y in line.points)
        parts.append(f'<polyline {stroke} points="{path}"/>')
        names = dict(chart.x_ticks)
        for x, y in line.points:
            said = escape(f"{line.name}, {names.get(x, f'{x:g}')}: {y:.3g}")
            shape = _mark(index, at_x(x), at_y(y), colour)
            parts.append(f"<g><title>{said}</title>{shape}</g>")
        x, y = LEFT + LEGEND_WIDTH * (index % 4), 46 + 20 * (index // 4)
        parts.append(f'<path {stroke} d="M{x} {y}h28"/>{_mark(index, x + 14, y, colour)}')
        parts.append(_text(x + 36, y + 4, line.name))
    return parts


def round_up(value: float) -> float:
    """The next of 1, 2, 2.5, 5 times a power of ten: what a tick may be."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= value * (1 - 1e-9))


def _mark(index: int, x: float, y: float, colour: str) -> str:
    fill = f'fill="{colour}"'
    match index % 4:
        case 0:
            return f'<circle {fill} cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
        case 1:
            return f'<rect {fill} x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8"/>'
        case 2:
            return f'<path {fill} d="M{x:.1f} {y - 5:.1f}l5 9h-10z"/>'
        case _:
            return f'<path {fill} d="M{x:.1f} {y - 5:.1f}l5 5-5 5-5-5z"/>'


def _text(x: float, y: float, text: str, *, kind: str = "", anchor: str = "start") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text{named} x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(text)}</text>'
