"""Charts of consumption as pictures, the same on paper and on a page. Figures stand beside each of
them as a table; nothing is reckoned here."""

import io
from collections.abc import Mapping, Sequence
from datetime import date
from functools import cache
from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Final

from csms.deadlines import start_of_day
from reporting.consumption import Load, quarters_of
from reporting.load_curve import QUARTER, mean_power_w
from reporting.sheet import Picture, decimal
from reporting.span import Span

if TYPE_CHECKING:  # loaded by whoever draws: a process that never does is up a second earlier
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

_INK, _MUTED, _ACCENT, _AMBER = "#17212b", "#54616a", "#0b6e4f", "#b45309"
_LINE: Final = "#cdd4d1"
_WIDTH_IN: Final = 7.4
_DPI: Final = 170
_DAYS_NAMED_MAX: Final = 16
_FONTS: Final = ("SourceSansPro-Regular.ttf", "SourceSansPro-Semibold.ttf")


@cache
def _family() -> str:
    """The letters of our documents, known to the library from here on."""
    from matplotlib import font_manager

    for name in _FONTS:
        with as_file(files("font_source_sans_pro") / "files" / name) as path:
            font_manager.fontManager.addfont(str(path))
            family = font_manager.FontProperties(fname=str(path)).get_name()
    return family


def days(days_wh: Mapping[date, int], span: Span, words: Mapping[str, str]) -> Picture:
    """A column for each day, of the energy of the sessions that ended on it."""
    figure, axes = _axes(2.3)
    every = span.days
    axes.bar(range(len(every)), [days_wh.get(day, 0) / 1000 for day in every], color=_ACCENT)
    _scale(axes, "kWh", words["language"])
    step = -(-len(every) // _DAYS_NAMED_MAX)
    shown = range(0, len(every), step)
    axes.set_xticks(list(shown), [f"{every[at]:%d/%m}" for at in shown])
    axes.set_xlim(-0.7, len(every) - 0.3)
    return _picture(figure, words["by_day"], 2.3)


def hours(hours_mwh: Sequence[int], words: Mapping[str, str]) -> Picture:
    """A column for each hour of the day."""
    figure, axes = _axes(2.1)
    axes.bar(range(24), [mwh / 1_000_000 for mwh in hours_mwh], color=_ACCENT, width=0.75)
    _scale(axes, "kWh", words["language"])
    axes.set_xticks(range(0, 24, 2), [f"{hour}\u00a0h" for hour in range(0, 24, 2)])
    axes.set_xlim(-0.7, 23.7)
    return _picture(figure, words["by_hour"], 2.1)


def week(week_mwh: Sequence[Sequence[int]], words: Mapping[str, str]) -> Picture:
    """The energy by day of the week and hour: the darker the more."""
    from matplotlib.colors import LinearSegmentedColormap

    figure, axes = _axes(2.3)
    colours = LinearSegmentedColormap.from_list(
        "accent", ["#f3f7f5", "#7fb8a4", _ACCENT, "#053c2b"]
    )
    values = [[mwh / 1_000_000 for mwh in day] for day in week_mwh]
    drawn = axes.imshow(values, aspect="auto", cmap=colours, vmin=0, interpolation="nearest")
    axes.set_yticks(range(7), words["weekdays"].split())
    axes.set_xticks(range(0, 24, 2), [f"{hour}\u00a0h" for hour in range(0, 24, 2)])
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    bar = figure.colorbar(drawn, ax=axes, pad=0.015, aspect=16)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, labelsize=8, labelcolor=_MUTED)
    bar.ax.yaxis.set_major_formatter(_formatter(words["language"]))
    bar.ax.set_title("kWh", fontsize=8, color=_MUTED, family=_family())
    _letters(axes)
    _letters(bar.ax)
    return _picture(figure, words["by_week"], 2.3)


def load(load: Load, site: str, span: Span, words: Mapping[str, str]) -> Picture:
    """The mean power of each quarter of an hour, against what is subscribed."""
    figure, axes = _axes(2.6)
    quarters = list(quarters_of(span.period))
    read = list(range(len(quarters)))  # by number: a day has more or fewer where the clock changes
    powers = [mean_power_w(load.quarters_mwh.get(quarter, 0)) / 1000 for quarter in quarters]
    axes.fill_between(read, powers, step="post", color=_ACCENT, alpha=0.25, linewidth=0)
    axes.step(read, powers, where="post", color=_ACCENT, linewidth=0.8)
    subscribed = [load.subscribed_w(quarter) for quarter in quarters]
    if any(power is not None for power in subscribed):
        limit = [float("nan") if power is None else power / 1000 for power in subscribed]
        axes.step(read, limit, where="post", color=_AMBER, linewidth=1.4, label=words["subscribed"])
        over = [
            power if top == top and power > top else float("nan")
            for power, top in zip(powers, limit, strict=True)
        ]
        axes.plot(read, over, ".", color=_AMBER, markersize=3, label=words["above"])
        axes.legend(
            loc="upper right",
            frameon=False,
            ncols=2,
            prop={"family": _family(), "size": 8},
            bbox_to_anchor=(1, 1.14),
        )
    _scale(axes, "kW", words["language"])
    axes.set_xlim(read[0], read[-1])
    _days_on(axes, span)
    return _picture(figure, f"{words['load_curve']} – {site}", 2.6)


def _days_on(axes: "Axes", span: Span) -> None:
    every = span.days
    shown = every[:: -(-len(every) // _DAYS_NAMED_MAX)]
    begin = span.period.starts_at
    at = [(start_of_day(day) - begin) / QUARTER for day in shown]
    axes.set_xticks(at, [f"{day:%d/%m}" for day in shown])


def _axes(height_in: float) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH_IN, height_in), layout="constrained")
    axes = figure.add_subplot()
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_LINE)
    return figure, axes


def _scale(axes: "Axes", unit: str, language: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(_formatter(language))
    axes.set_ylim(bottom=0)
    axes.grid(axis="y", color=_LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_title(unit, loc="left", fontsize=8, color=_MUTED, family=_family())
    axes.tick_params(length=0)
    _letters(axes)


def _letters(axes: "Axes") -> None:
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set(family=_family(), fontsize=8, color=_INK)


def _formatter(language: str) -> "FuncFormatter":
    from matplotlib.ticker import FuncFormatter

    return FuncFormatter(lambda value, _: decimal(value, language))


def _picture(figure: "Figure", alt: str, height_in: float) -> Picture:
    made = io.BytesIO()
    figure.savefig(made, format="png", dpi=_DPI, metadata={"Software": None}, facecolor="white")
    return Picture(made.getvalue(), alt, height_in / _WIDTH_IN)
