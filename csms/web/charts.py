"""Charts as the geometry of their bars: templates draw them as SVG, without a script.

Every chart has a table of the same figures beside it, for those who do not see it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH = 460.0
_LEFT, _TOP, _BOTTOM = 44.0, 12.0, 22.0
_COLUMNS_HEIGHT = 220.0
_ROW_HEIGHT = 40.0


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar with its name and its value in words."""

    label: str
    text: str
    x: float
    y: float
    width: float
    height: float
    is_named: bool  # whether there is room for its name at the axis


@dataclass(frozen=True, slots=True)
class Tick:
    """A line of the scale."""

    text: str
    y: float


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars in a box of WIDTH by `height`; none where nothing is to be shown."""

    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]
    height: float


def columns(values: Sequence[tuple[str, float, str]], *, name_every: int = 5) -> Chart:
    """Upright bars in the order given, each of (name, value, value in words)."""
    top = scale(max((value for _, value, _ in values), default=0))
    if not top:
        return Chart((), (), _COLUMNS_HEIGHT)
    floor = _COLUMNS_HEIGHT - _BOTTOM
    step = (WIDTH - _LEFT) / len(values)
    bars = []
    for at, (label, value, text) in enumerate(values):
        height = (floor - _TOP) * value / top
        named = at == 0 or (at + 1) % name_every == 0
        bars.append(
            Bar(
                label,
                text,
                round(_LEFT + at * step + step * 0.12, 1),
                round(floor - height, 1),
                round(step * 0.76, 1),
                round(height, 1),
                named,
            )
        )
    ticks = [
        Tick(f"{top * part / 2:g}", round(floor - (floor - _TOP) * part / 2, 1))
        for part in range(3)
    ]
    return Chart(tuple(bars), tuple(ticks), _COLUMNS_HEIGHT)


def rows(values: Sequence[tuple[str, float, str]]) -> Chart:
    """Lying bars in the order given, each of (name, value, value in words), with its name above."""
    top = max((value for _, value, _ in values), default=0)
    if not top:
        return Chart((), (), 0.0)
    bars = [
        Bar(label, text, 0.0, at * _ROW_HEIGHT + 19, round(WIDTH * value / top, 1), 12.0, True)
        for at, (label, value, text) in enumerate(values)
    ]
    return Chart(tuple(bars), (), len(values) * _ROW_HEIGHT)


def scale(highest: float) -> float:
    """Where the scale ends: the next of 2, 5 or 10 times a power of ten that holds the value."""
    if highest <= 0:
        return 0.0
    power = 1.0
    while power * 10 < highest:
        power *= 10
    while power > highest:
        power /= 10
    for factor in (1, 2, 4, 5, 6, 8, 10):
        if power * factor >= highest:
            return power * factor
    return power * 10
