"""The plot: an SVG file without scripts, readable on light and dark pages.

All colours have a contrast of at least 3 to both white and black, so the background stays
transparent. Curves also differ in their markers, and their names are written beside them.
"""

from collections.abc import Callable, Iterator, Sequence
from html import escape
from math import ceil, floor, log10

from bench.growth.findings import Curve, Panel

GREY = "#7a7f87"
COLOURS = ("#2f81d6", "#c9660a", "#2e9150", "#a05fd0")
WIDTH, HEIGHT = 460, 280
LEFT, RIGHT, TOP, BOTTOM = 56, 96, 40, 46
COLUMNS = 2
HEADER = 58
LABEL_DISTANCE = 13

Scale = Callable[[float], float]


def svg(title: str, conditions: str, panels: Sequence[Panel]) -> str:
    """Return the document."""
    rows = ceil(len(panels) / COLUMNS)
    width, height = COLUMNS * WIDTH, HEADER + rows * HEIGHT
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"',
        '  role="img" aria-labelledby="title description"',
        f'  font-family="system-ui, sans-serif" font-size="11" fill="{GREY}">',
        f'<title id="title">{escape(title)}</title>',
        f'<desc id="description">{escape(_description(panels))}</desc>',
        f'<text x="{LEFT}" y="24" font-size="16" font-weight="600">{escape(title)}</text>',
        f'<text x="{LEFT}" y="43">{escape(conditions)}</text>',
    ]
    for number, panel in enumerate(panels):
        x, y = number % COLUMNS * WIDTH, HEADER + number // COLUMNS * HEIGHT
        lines += [f'<g transform="translate({x} {y})">', *_panel(panel), "</g>"]
    return "\n".join([*lines, "</svg>", ""])


def _panel(panel: Panel) -> Iterator[str]:
    xs = [x for curve in panel.curves for x, _ in curve.points]
    ys = [y for curve in panel.curves for _, y in curve.points] + [*(panel.band or ())]
    # Few different values, such as numbers of workers, are ticks of their own.
    exact = panel.log_x or len(set(xs)) <= 4
    x_ticks, x_scale = _axis(xs, panel.log_x, LEFT, WIDTH - RIGHT, exact=exact)
    y_ticks, y_scale = _axis(ys, panel.log_y, HEIGHT - BOTTOM, TOP)
    yield f'<text x="{LEFT}" y="24" font-size="12" font-weight="600">{escape(panel.title)}</text>'
    if panel.band:
        low, high = (y_scale(value) for value in panel.band)
        yield (
            f'<rect x="{LEFT}" y="{high:.1f}" width="{WIDTH - LEFT - RIGHT}" '
            f'height="{low - high:.1f}" opacity="0.15"/>'
        )
    for tick in y_ticks:
        y = y_scale(tick)
        yield _line(LEFT, y, WIDTH - RIGHT, y, 'opacity="0.35"')
        yield f'<text x="{LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{_number(tick)}</text>'
    for tick in x_ticks:
        x = x_scale(tick)
        yield _line(x, HEIGHT - BOTTOM, x, HEIGHT - BOTTOM + 4)
        yield (
            f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 17}" text-anchor="middle">'
            f"{_number(tick)}</text>"
        )
    yield _line(LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, HEIGHT - BOTTOM)
    middle = (LEFT + WIDTH - RIGHT) / 2
    yield (
        f'<text x="{middle}" y="{HEIGHT - BOTTOM + 34}" text-anchor="middle">'
        f"{escape(panel.x_title)}</text>"
    )
    yield from _curves(panel.curves, x_scale, y_scale)


def _curves(curves: Sequence[Curve], x_scale: Scale, y_scale: Scale) -> Iterator[str]:
    solid = [curve for curve in curves if not curve.dashed]
    ends = {curve.name: y_scale(curve.points[-1][1]) for curve in solid}
    labels = _spread(ends)
    for curve in curves:
        # A dashed curve has the colour of the solid one whose name begins its own.
        number = next(
            (index for index, each in enumerate(solid) if curve.name.startswith(each.name)), 0
        )
        colour = COLOURS[number % len(COLOURS)]
        places = [(x_scale(x), y_scale(y)) for x, y in curve.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        dash = ' stroke-dasharray="4 4" opacity="0.8"' if curve.dashed else ""
        yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"{dash}/>'
        if curve.dashed:
            continue
        # Many points make a line of their own.
        if len(places) <= 20:
            yield from (_marker(number, x, y, colour) for x, y in places)
        yield (
            f'<text x="{places[-1][0] + 9:.1f}" y="{labels[curve.name] + 4:.1f}" fill="{colour}">'
            f"{escape(curve.name)}</text>"
        )


def _marker(number: int, x: float, y: float, colour: str) -> str:
    match number % 4:
        case 0:
            return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.4" fill="{colour}"/>'
        case 1:
            return f'<rect x="{x - 3:.1f}" y="{y - 3:.1f}" width="6" height="6" fill="{colour}"/>'
        case 2:
            points = f"{x:.1f},{y - 4:.1f} {x + 4:.1f},{y + 3:.1f} {x - 4:.1f},{y + 3:.1f}"
        case _:
            points = (
                f"{x:.1f},{y - 4:.1f} {x + 4:.1f},{y:.1f} {x:.1f},{y + 4:.1f} {x - 4:.1f},{y:.1f}"
            )
    return f'<polygon points="{points}" fill="{colour}"/>'


def _line(x1: float, y1: float, x2: float, y2: float, more: str = "") -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{GREY}" {more}/>'


def _axis(
    values: Sequence[float], log: bool, start: float, end: float, *, exact: bool = False
) -> tuple[list[float], Scale]:
    """Return the ticks and the scale; with `exact` the ticks are at the values themselves."""
    low, high = (min(values), max(values)) if log or exact else (0.0, max(values) or 1.0)
    if log and not exact:
        low, high = 10.0 ** floor(log10(low)), 10.0 ** ceil(log10(high))
        ticks = [10.0**power for power in range(round(log10(low)), round(log10(high)) + 1)]
    elif exact:
        ticks = _thinned(sorted(set(values)))
    else:
        step = _step(high)
        ticks = [step * index for index in range(ceil(high / step - 1e-9) + 1)]
        high = ticks[-1]
    place: Scale = log10 if log else float
    width = place(high) - place(low) or 1
    return ticks, lambda value: start + (end - start) * (place(value) - place(low)) / width


def _thinned(ticks: list[float]) -> list[float]:
    """Return every second tick, the largest among them, if all would not fit."""
    return ticks if len(ticks) <= 8 else ticks[::-1][::2][::-1]


def _step(most: float) -> float:
    """Return a round distance of ticks that divides `most` into four to eight."""
    power: float = 10 ** floor(log10(most))
    return next(power * part for part in (0.2, 0.25, 0.5, 1, 2) if most / (power * part) <= 6)


def _spread(ends: dict[str, float]) -> dict[str, float]:
    """Move the labels apart that would overlap."""
    placed: dict[str, float] = {}
    previous = float("-inf")
    for name, y in sorted(ends.items(), key=lambda item: item[1]):
        previous = placed[name] = max(y, previous + LABEL_DISTANCE)
    return placed


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:g}"


def _description(panels: Sequence[Panel]) -> str:
    parts = []
    for panel in panels:
        for curve in panel.curves:
            if not curve.dashed:
                (x1, y1), (x2, y2) = curve.points[0], curve.points[-1]
                parts.append(
                    f"{panel.title}, {curve.name}: {y1:.3g} at {x1:.4g}, {y2:.3g} at {x2:.4g} "
                    f"{panel.x_title}."
                )
    return " ".join(parts)
