"""The map as a picture, its points with their texts.

Belongs here: drawing it, and giving each point of the SVG a title. Does not belong here: where the points are
(``map.py``), what keys and pointer do with them (``templates/report.js``).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from s3_assets.report.drawing import KEPT, new_figure, svg
from s3_assets.report.map import Map, Point
from s3_assets.report.palette import BLUE, GREEN, GRID, INK, PAPER, PURPLE, QUIET, SMALL_SIZE, VERMILION

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LONGEST_TEXT = 280
_HEIGHT, _BELOW = 5.2, 0.62
# Of the rows that rounds added. Gold has marks without a fill, errors a colour that no round has.
_COLOURS, _MARKS = (BLUE, GREEN, PURPLE), ("o", "^", "s", "D", "v", "P", "h")

# Rounds with a series of their own; of more, rounds that follow each other share one.
MOST_SERIES = 8

_USE = re.compile(r"<use [^>]*/>")


@dataclass(frozen=True)
class Series:
    """Points drawn alike: ``key`` is part of their group's id."""

    key: str
    name: str
    points: list[Point]
    mark: str
    colour: str
    filled: bool
    size: float


def series(found: Map) -> list[Series]:
    """Rows by round, then steering gold, then its errors: what is drawn later lies on top.

    Above eight rounds, rounds that follow each other share a series, in at most eight of as many rounds each.
    """
    rounds = sorted({point.round for point in found.points if point.round is not None})
    each = -(-len(rounds) // MOST_SERIES) or 1
    groups = [rounds[start : start + each] for start in range(0, len(rounds), each)]
    drawn = [
        Series(
            key=f"round-{group[0]}" if len(group) == 1 else f"rounds-{group[0]}-{group[-1]}",
            name=f"added by round {group[0]}" if len(group) == 1 else f"added by rounds {group[0]}-{group[-1]}",
            points=[point for point in found.points if point.round in group],
            mark=_MARKS[place % len(_MARKS)],
            colour=_COLOURS[place % len(_COLOURS)],
            filled=True,
            size=5.4 if _MARKS[place % len(_MARKS)] in "^v" else 4.4,
        )
        for place, group in enumerate(groups)
    ]
    gold = [point for point in found.points if point.round is None]
    right, wrong = [point for point in gold if not point.error], [point for point in gold if point.error]
    drawn.append(Series("gold", "steering gold", right, "o", INK, filled=False, size=5.5))
    drawn.append(Series("errors", f"its errors in round {found.last_round}", wrong, "X", VERMILION, True, 8))
    return [one for one in drawn if one.points]


def map_figure(found: Map) -> "Figure":
    """The map, without ticks: the axes have no unit."""
    from matplotlib.lines import Line2D

    shown = series(found)
    columns = 5 if len(shown) <= 5 else 4
    lines = -(-len(shown) // columns)
    height = _HEIGHT + 0.22 * lines
    figure = new_figure(height)
    below = (_BELOW - 0.3 + 0.22 * lines) / height
    axes = figure.add_axes((0.01, below, 0.98, 1 - below - 0.02), facecolor=PAPER)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(GRID)
    axes.set_xlabel("first principal component", fontsize=SMALL_SIZE, color=QUIET)
    axes.set_ylabel("")
    handles = []
    for one in shown:
        look: dict[str, Any] = {
            "marker": one.mark,
            "color": one.colour,
            "markersize": one.size,
            "linestyle": "",
            "markerfacecolor": one.colour if one.filled else "none",
            "markeredgecolor": PAPER if one.filled else one.colour,
            "markeredgewidth": 0.5 if one.filled else 1.1,
        }
        axes.plot(
            [point.x for point in one.points], [point.y for point in one.points], gid=f"{KEPT}map-{one.key}", **look
        )
        handles.append(Line2D([], [], **look))
    axes.margins(0.03)
    figure.legend(
        handles,
        [one.name for one in shown],
        loc="lower left",
        bbox_to_anchor=(0, 0),
        ncols=columns,
        frameon=False,
        fontsize=SMALL_SIZE + 0.5,
        labelcolor=INK,
        handletextpad=0.2,
        columnspacing=1.4,
    )
    return figure


def map_svg(found: Map, title: str, description: str) -> Markup:
    """The map as SVG in which every point is a group with a title: what it is, labels, text, a line each."""
    shown = series(found)

    def with_titles(markup: str) -> str:
        for one in shown:
            start = markup.index(f'id="{KEPT}map-{one.key}"')
            marks = list(_USE.finditer(markup, start))[: len(one.points)]
            if len(marks) < len(one.points):
                raise ValueError(f"matplotlib drew {len(marks)} marks of {len(one.points)} in {one.name}")
            titled = "".join(
                f'<g class="point">{mark[0][:-2]}/><title>{escape(point_text(point, found.last_round))}</title></g>'
                for mark, point in zip(marks, one.points, strict=True)
            )
            markup = markup[: marks[0].start()] + titled + markup[marks[-1].end() :]
        return markup

    return svg(map_figure(found), "map", title, description, with_titles)


def point_text(point: Point, last_round: int | None) -> str:
    """What a point says, in three lines; long texts are cut."""
    if point.round is not None:
        head, said = f"Added by round {point.round}", f"label: {point.label}"
    else:
        head = "Steering gold" + (f", error in round {last_round}" if point.error else "")
        said = f"label: {point.label}"
        if point.prediction is not None:
            sure = f" ({point.probability:.2f})" if point.probability is not None else ""
            said += f"; round {last_round} says {point.prediction}{sure}"
    return f"{head}\n{said}\n{_cut(point.texts)}"


def _cut(texts: Sequence[str]) -> str:
    text = " / ".join(" ".join(text.split()) for text in texts)
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"
