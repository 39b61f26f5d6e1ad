"""A report's figures: shares wanted and got, the sources along the mix, what each shard uploaded. PNG, from report values alone.

matplotlib is an extra (`pip install xet-pipeline[report]`): without it there are no figures. The same values give the same bytes
under the same matplotlib. Colours differ in lightness too, and bands are named at their end: nobody has to tell hues apart.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from pipeline.mix.told import shorten, top_sources
from pipeline.sizes import format_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HOW_TO_GET = "pip install 'xet-pipeline[report]'"
_WIDTH, _DPI = 9.0, 110
_TOP = 12
_NAME_WIDTH = 28
_MOST_BARS = 120
_LINE = 0.062  # of the height of the axes
_INK, _SOFT, _GRID = "#222222", "#666666", "#e4e4e4"
_GOT, _WANTED, _STORED, _OTHERS = "#4477aa", "#222222", "#d5d9de", "#bbbbbb"
_UNITS = ((12, "TB"), (9, "GB"), (6, "MB"), (3, "kB"), (0, "bytes"))
# Paul Tol's "muted", in an order in which neighbours differ in lightness too; https://personal.sron.nl/~pault/
_BANDS = (
    "#332288", "#88ccee", "#117733", "#ddcc77", "#882255", "#44aa99", "#cc6677", "#999933", "#aa4499",
    "#6699cc", "#661100", "#a5d8a7",
)  # fmt: skip
_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": _INK,
    "axes.edgecolor": _SOFT,
    "axes.labelcolor": _SOFT,
    "xtick.color": _SOFT,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "text.parse_math": False,
}


def draw_figures(values: dict[str, Any]) -> dict[str, bytes]:
    """File name -> PNG; none without matplotlib. A mix whose sources were not counted along it has no figure of its order."""
    try:
        import matplotlib as mpl
        from matplotlib import style
    except ImportError:
        return {}
    drawings: dict[str, Callable[[dict[str, Any]], Figure] | None] = {
        "shares.png": _shares,
        "order.png": _order if values["along"]["by_source"] and len(values["along"]["rows"]) > 1 else None,
        "upload.png": _upload if values["bytes"]["uploaded"] is not None else None,
    }
    with mpl.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # a name in a script that the font lacks
        style.use(["default", _STYLE])
        return {name: _png(draw(values)) for name, draw in drawings.items() if draw is not None}


def _shares(values: dict[str, Any]) -> Figure:
    """A bar for what each source got, a mark for what was wanted."""
    names = top_sources(values, _TOP)
    by_name = {one["name"]: one for one in values["sources"]}
    got = [by_name[name]["share"] for name in names]
    wanted = [by_name[name]["wanted_share"] for name in names]
    labels = [shorten(name, _NAME_WIDTH) for name in names]
    if others := len(by_name) - len(names):
        labels.append(f"{others} others")
        got, wanted = [*got, max(0.0, 1 - sum(got))], [*wanted, max(0.0, 1 - sum(wanted))]
    figure, axes = _axes(0.9 + 0.27 * len(labels))
    places = range(len(labels))
    colours = [_GOT] * len(names) + [_OTHERS] * (len(labels) - len(names))
    axes.barh(places, got, height=0.62, color=colours, label="got")
    axes.scatter(wanted, places, marker="|", s=190, linewidths=2.2, color=_WANTED, label="wanted", zorder=3)
    for place, (share, wish) in enumerate(zip(got, wanted, strict=True)):
        axes.annotate(
            f"{share:.1%}",
            (max(share, wish), place),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            color=_SOFT,
        )
    axes.set_yticks(places, labels)
    axes.invert_yaxis()
    axes.set_xlim(0, max([*got, *wanted]) * 1.1)
    axes.xaxis.set_major_formatter(_percent)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_title("Share of rows by source (bars), and as wanted (marks)")
    return figure


def _order(values: dict[str, Any]) -> Figure:
    """Bands of the sources' shares, stretch by stretch."""
    along = values["along"]
    names = top_sources(values, _TOP)
    shares = [
        [rows / whole for rows, whole in zip(along["by_source"][name], along["rows"], strict=True)] for name in names
    ]
    labels, colours = [shorten(name, _NAME_WIDTH) for name in names], list(_BANDS[: len(names)])
    if len(names) > len(colours):
        colours.append(_OTHERS)
    if others := len(along["by_source"]) - len(names):
        shares.append([max(0.0, 1 - sum(column)) for column in zip(*shares, strict=True)])
        labels, colours = [*labels, f"{others} others"], [*colours, _OTHERS]
    edges = [0.0, *accumulate(rows / sum(along["rows"]) for rows in along["rows"])]
    figure, axes = _axes(3.6)
    base = [0.0] * len(along["rows"])
    for band, colour in zip(shares, colours, strict=True):
        top = [low + share for low, share in zip(base, band, strict=True)]
        axes.stairs(top, edges, baseline=base, fill=True, color=colour, edgecolor="white", linewidth=0.4)
        base = top
    _name_bands(axes, shares, labels)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.xaxis.set_major_formatter(_percent)
    axes.yaxis.set_major_formatter(_percent)
    axes.set_xlabel("place in the mix")
    axes.set_title(
        f"Sources along the mix, in {len(along['rows'])} stretches of {sum(along['rows']) // len(along['rows']):,} rows"
    )
    return figure


def _name_bands(axes: Axes, shares: Sequence[Sequence[float]], labels: Sequence[str]) -> None:
    """Names to the right of the last stretch, moved apart where bands are narrow."""
    ends = list(accumulate(band[-1] for band in shares))
    wanted = [end - band[-1] / 2 for end, band in zip(ends, shares, strict=True)]
    places = _apart(wanted)
    for place, band, label in zip(places, wanted, labels, strict=True):
        axes.plot([1.0, 1.012, 1.024], [band, band, place], color=_SOFT, linewidth=0.6, clip_on=False)
        axes.text(1.03, place, label, va="center")


def _apart(wanted: Sequence[float]) -> list[float]:
    """Places near those wanted, a line of text between any two, within the axes."""
    places = list(wanted)
    for _ in range(200):
        for n in range(len(places) - 1):
            push = (_LINE - (places[n + 1] - places[n])) / 2
            if push > 0:
                places[n], places[n + 1] = places[n] - push, places[n + 1] + push
        places = [min(max(place, _LINE / 2), 1 - _LINE / 2) for place in places]
    return places


def _upload(values: dict[str, Any]) -> Figure:
    """What each shard holds, and what of it was new; neighbours together where there are many."""
    from matplotlib.ticker import MaxNLocator

    size, new = values["per_shard"]["size"], values["per_shard"]["new"]
    each = -(-len(size) // _MOST_BARS)
    sizes, news = ([_mean(column[n : n + each]) for n in range(0, len(column), each)] for column in (size, new))
    unit, name = next((10**power, name) for power, name in _UNITS if max(sizes) >= 10**power)
    figure, axes = _axes(2.9)
    places = [each * n + (each - 1) / 2 for n in range(len(sizes))]
    axes.bar(places, [one / unit for one in sizes], width=0.86 * each, color=_STORED, label="deduplicated")
    axes.bar(places, [one / unit for one in news], width=0.86 * each, color=_GOT, label="uploaded")
    axes.set_ylabel(name)
    axes.set_xlabel("shard" if each == 1 else f"shard (a bar is the mean of {each})")
    axes.set_xlim(-0.5, each * len(sizes) - 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.yaxis.grid(visible=True, color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, reverse=True)
    whole, uploaded = values["bytes"]["published"], values["bytes"]["uploaded"]
    axes.set_title(f"Uploaded: {format_bytes(uploaded)} of {format_bytes(whole)} ({uploaded / max(1, whole):.1%})")
    return figure


def _mean(values: Sequence[int]) -> float:
    return sum(values) / len(values)


def _axes(height: float) -> tuple[Figure, Axes]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, height), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def _percent(value: float, _: float) -> str:
    return f"{value:.0%}" if abs(value * 100 - round(value * 100)) < 1e-6 else f"{value:.1%}"


def _png(figure: Figure) -> bytes:
    sink = io.BytesIO()
    figure.savefig(sink, format="png", bbox_inches="tight", pad_inches=0.15, metadata={"Software": None})
    return sink.getvalue()
