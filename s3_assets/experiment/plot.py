"""The leaderboard as a picture.

Belongs here: drawing it. Does not belong here: the figures (``leaderboard.py``), where the picture is shown.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

# matplotlib costs 0.5 s: it is imported where a picture is drawn.
if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, DPI = 900, 100
# Pixels: of one arm, and around the axes. The name and budget of an arm stand to the left, its mean to the right.
_ROW, _ABOVE, _BELOW, _LEFT, _RIGHT = 34, 84, 118, 226, 76
_EDGE = 20

# Okabe and Ito's blue and vermilion, told apart with any colour vision; the marks differ as well.
_SYNTHETIC, _WITH_GOLD = "#0072B2", "#D55E00"
_TEXT, _QUIET, _GRID = "#1a1a1a", "#5f5f5f", "#e2e2e2"
_MARK_SIZE, _SEED_SIZE, _SEED_BELOW = 8, 7, 0.27
# Percent points the axis spans at least: below that, a row of test gold looks like a large difference.
_LEAST_SPAN = 10

NOTE = (
    "budget: rows and label questions asked of the teacher. Intervals are over seeds: test rows and gold stay the same."
)


def plot(board: pl.DataFrame, rows: pl.DataFrame) -> bytes:
    """A PNG of ``board`` (table leaderboard), best arm on top, 900 pixels wide.

    A mark at the mean test score, a whisker over its 95% interval, and a small mark for each seed in ``rows`` (table
    experiment). An interval may reach beyond 100%, the axis does not. An arm without a score keeps its line and says
    so. Uses none of pyplot's state: safe in threads. ``ValueError`` when there are no arms.
    """
    if board.is_empty():
        raise ValueError("the leaderboard has no arms to draw; `s3-assets compare TASK` fills it")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    arms = board.to_dicts()
    seeds = {arm["arm"]: _percents(rows.filter(pl.col("arm") == arm["arm"])["test_score"]) for arm in arms}
    height = _ABOVE + _BELOW + _ROW * len(arms)
    figure = Figure(figsize=(WIDTH / DPI, height / DPI), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    inside = (WIDTH - _LEFT - _RIGHT) / WIDTH, (height - _ABOVE - _BELOW) / height
    axes = figure.add_axes((_LEFT / WIDTH, _BELOW / height, *inside), facecolor="white")
    _frame(axes, arms, seeds)
    for place, arm in enumerate(arms):
        _arm(axes, place, arm, seeds[arm["arm"]])
    _title(figure, height, arms, rows)
    _legend(figure, height, arms)
    drawn = io.BytesIO()
    # Without the version of matplotlib in the file, the same rows give the same bytes.
    figure.savefig(drawn, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
    return drawn.getvalue()


def markdown_image(png: bytes) -> str:
    """``png`` as a Markdown image that needs no file."""
    return f"![leaderboard](data:image/png;base64,{base64.b64encode(png).decode('ascii')})"


def _frame(axes: "Axes", arms: Sequence[Mapping[str, Any]], seeds: Mapping[str, Sequence[float]]) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_ylim(len(arms) - 0.5, -0.5)
    axes.set_yticks([])
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_QUIET)
    axes.tick_params(axis="x", color=_QUIET, labelcolor=_TEXT, labelsize=11)
    ends = [value for marks in seeds.values() for value in marks]
    ends += [100 * arm[name] for arm in arms for name in ("score_mean", "ci_low", "ci_high") if arm[name] is not None]
    if ends:
        low, high = min(ends), max(ends)
        room = max(0.04 * (high - low), (_LEAST_SPAN - high + low) / 2)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 5, 10]))
        axes.set_xlim(max(low - room, 0), min(high + room, 100))
        axes.grid(axis="x", color=_GRID, linewidth=1)
        axes.set_axisbelow(True)
        axes.set_xlabel("test score, %", fontsize=11, color=_TEXT, labelpad=6)
    else:
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)


def _arm(axes: "Axes", place: int, arm: Mapping[str, Any], seeds: Sequence[float]) -> None:
    """One line: name, budget, whisker, seeds, mean."""
    across, right = axes.get_yaxis_transform(), 1 + (_RIGHT - _EDGE) / (WIDTH - _LEFT - _RIGHT)
    left = (_EDGE - _LEFT) / (WIDTH - _LEFT - _RIGHT)
    where: dict[str, Any] = {"transform": across, "va": "center", "parse_math": False}
    axes.text(left, place, arm["arm"], ha="left", fontsize=11, color=_TEXT, **where)
    budget = "-" if arm["teacher_budget"] is None else f"{arm['teacher_budget']:,.0f}"
    axes.text(-0.03, place, budget, ha="right", fontsize=10, color=_QUIET, **where)
    if arm["score_mean"] is None:
        axes.text(0.01, place, "no test score", ha="left", fontsize=10, color=_QUIET, style="italic", **where)
        return
    mean, colour = 100 * arm["score_mean"], _colour(arm)
    axes.text(right, place, f"{mean:.1f}", ha="right", fontsize=11, color=_TEXT, **where)
    if arm["ci_low"] is not None:
        axes.plot([100 * arm["ci_low"], 100 * arm["ci_high"]], [place, place], color=colour, linewidth=2)
    below = [place + _SEED_BELOW] * len(seeds)
    axes.plot(seeds, below, "|", color=_QUIET, markersize=_SEED_SIZE, markeredgewidth=1.2, clip_on=False)
    axes.plot([mean], [place], _mark(arm), color=colour, markersize=_MARK_SIZE, clip_on=False, zorder=3)


def _title(figure: "Figure", height: int, arms: Sequence[Mapping[str, Any]], rows: pl.DataFrame) -> None:
    def write(x: float, from_top: float, text: str, **look: Any) -> None:
        figure.text(x / WIDTH, 1 - from_top / height, text, va="baseline", parse_math=False, **look)

    task, metric = arms[0]["task"], "F1" if arms[0]["metric"] == "f1" else arms[0]["metric"]
    sizes = rows["test_rows"].drop_nulls().unique().to_list()
    tested = f"{sizes[0]} rows of test gold" if len(sizes) == 1 and sizes[0] else "test gold"
    write(_EDGE, 32, f"{task}: {metric} on {tested}, {_seeds(arms)}", fontsize=13, weight="bold", color=_TEXT)
    headings = [(_EDGE, "arm", "left"), (_LEFT - 18, "budget", "right")]
    headings += [(WIDTH - _EDGE, "mean", "right")] if _scored(arms) else []
    for x, text, side in headings:
        write(x, _ABOVE - 10, text, ha=side, fontsize=10, color=_QUIET)
    write(_EDGE, height - 16, NOTE, fontsize=9, color=_QUIET)


def _legend(figure: "Figure", height: int, arms: Sequence[Mapping[str, Any]]) -> None:
    from matplotlib.lines import Line2D

    if not _scored(arms):
        return
    kinds = {_colour(arm): Line2D([], [], color=_colour(arm), marker=_mark(arm), linewidth=2) for arm in arms}
    names = {_SYNTHETIC: "mean, 95% t interval over seeds", _WITH_GOLD: "the same, gold in training"}
    if len(kinds) == 1:
        names[_WITH_GOLD] = names[_SYNTHETIC]
    shown = [(kinds[colour], names[colour]) for colour in (_SYNTHETIC, _WITH_GOLD) if colour in kinds]
    seed = Line2D([], [], color=_QUIET, marker="|", linestyle="", markersize=_SEED_SIZE, markeredgewidth=1.2)
    figure.legend(
        [handle for handle, _ in shown] + [seed],
        [name for _, name in shown] + ["one seed"],
        loc="lower left",
        bbox_to_anchor=((_EDGE - 6) / WIDTH, 30 / height),
        ncols=3,
        frameon=False,
        fontsize=10,
        labelcolor=_TEXT,
        borderpad=0.2,
        columnspacing=2.2,
    )


def _percents(scores: pl.Series) -> list[float]:
    return [100 * score for score in scores.drop_nulls()]


def _colour(arm: Mapping[str, Any]) -> str:
    return _WITH_GOLD if arm["gold_rows"] else _SYNTHETIC


def _mark(arm: Mapping[str, Any]) -> str:
    return "D" if arm["gold_rows"] else "o"


def _scored(arms: Sequence[Mapping[str, Any]]) -> bool:
    return any(arm["score_mean"] is not None for arm in arms)


def _seeds(arms: Sequence[Mapping[str, Any]]) -> str:
    counts = sorted({arm["seeds"] for arm in arms})
    if len(counts) > 1:
        return f"{counts[0]} to {counts[-1]} seeds"
    return f"{counts[0]} {'seed' if counts[0] == 1 else 'seeds'}"
