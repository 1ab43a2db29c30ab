"""Pictures of rounds: accuracy, what became of the rows asked for, accuracy by what it took.

Belongs here: drawing them from ``facts.py``. Does not belong here: drift (``drift_picture.py``), the map
(``map_picture.py``), files and markup (``drawing.py``).
"""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from s3_assets.loop.progress import RoundFigures, Score
from s3_assets.report.drawing import new_figure, plain_axes, round_ticks
from s3_assets.report.facts import RoundFacts
from s3_assets.report.palette import BLUE, GREEN, INK, PAPER, PURPLE, QUIET, SMALL_SIZE, TEXT_SIZE, VERMILION, look

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Splits in the order they are drawn, with what they are for.
SPLIT_NAMES = {"steer": "steering gold", "select": "held-out gold", "test": "test gold"}

# The intervals of one round stand beside each other: a share of the axis apart, and never a whole round.
_ASIDE, _MOST_ASIDE = 0.03, 0.25

# Rounds whose numbers have room beside the marks of the cost picture.
MOST_NAMED = 10

# Gates named in the picture; the rest are drawn as one.
MOST_GATES = 3
OTHER = "other gates"
_REFUSED = ((VERMILION, "////"), (GREEN, "...."), (PURPLE, "xxxx"))


def accuracy_figure(
    rounds: Sequence[RoundFacts], measure: str, splits: Sequence[str] = tuple(SPLIT_NAMES)
) -> "Figure | None":
    """Score per round on ``splits`` with 95% Wilson intervals; None when no round has a student.

    ``measure`` names the score on the y axis, as accuracy or exact match. Of questions, F1 is a mark without a fill.
    """
    scored = {split: _scores(rounds, split) for split in splits}
    drawn = [split for split, scores in scored.items() if scores]
    if not drawn:
        return None
    figure = new_figure(3.3)
    axes = figure.add_axes((0.09, 0.15, 0.73, 0.8))
    plain_axes(axes, "y")
    apart = min(_ASIDE * len(rounds), _MOST_ASIDE)
    for place, split in enumerate(SPLIT_NAMES):
        if split not in drawn:
            continue
        style, aside = look(place), (drawn.index(split) - (len(drawn) - 1) / 2) * apart
        xs = [round_ + aside for round_, _ in scored[split]]
        shares = [100 * score.share for _, score in scored[split]]
        ends = [score.interval() for _, score in scored[split]]
        for x, (low, high) in zip(xs, ends, strict=True):
            axes.plot([x, x], [100 * low, 100 * high], color=style.colour, linewidth=1.2)
        axes.plot(
            xs, shares, color=style.colour, marker=style.mark, linestyle=style.line, linewidth=1.6, markersize=5.5
        )
        answered = [(facts.round + aside, f1) for facts in rounds if (f1 := f1_of(facts, split)) is not None]
        axes.plot(
            [x for x, _ in answered],
            [100 * f1 for _, f1 in answered],
            color=style.colour,
            marker=style.mark,
            linestyle="",
            markersize=5.5,
            markerfacecolor=PAPER,
        )
    _name_lines(axes, {split: 100 * scored[split][-1][1].share for split in drawn})
    round_ticks(axes, [facts.round for facts in rounds])
    axes.set_xlabel("round", fontsize=TEXT_SIZE, color=INK)
    axes.set_ylabel(f"{measure}, %", fontsize=TEXT_SIZE, color=INK)
    return figure


def funnel_figure(rounds: Sequence[RoundFacts]) -> "Figure":
    """One bar a round: rows accepted and refused, with a line at the number asked for."""
    shown = gates_shown(rounds)
    # Inches: the legend above has two lines, the axis below its numbers and name.
    height = 1.05 + 0.42 * len(rounds)
    figure = new_figure(height)
    axes = figure.add_axes((0.11, 0.45 / height, 0.69, (height - 1.05) / height))
    plain_axes(axes, "x")
    looks = {"accepted": (BLUE, ""), **dict(zip(shown, _REFUSED, strict=False)), OTHER: (QUIET, "----")}
    widest = max([1, *(max(facts.accepted + facts.refused, facts.rows_requested or 0) for facts in rounds)])
    for place, facts in enumerate(rounds):
        left = 0.0
        for name, count in _pieces(facts, shown).items():
            if count:
                colour, hatch = looks[name]
                fill = colour if not hatch else PAPER
                axes.barh(
                    place, count, left=left, height=0.58, facecolor=fill, edgecolor=colour, hatch=hatch, linewidth=0.8
                )
            left += count
        asked_for = facts.rows_requested
        if asked_for:
            axes.plot([asked_for, asked_for], [place - 0.4, place + 0.4], color=INK, linewidth=1.6)
        said = f"{facts.accepted:,} accepted" if not asked_for else f"{facts.accepted:,} of {asked_for:,}"
        axes.text(1.015, place, said, transform=axes.get_yaxis_transform(), va="center", fontsize=TEXT_SIZE, color=INK)
    axes.set_ylim(len(rounds) - 0.5, -0.5)
    axes.set_xlim(0, widest * 1.02)
    axes.set_yticks(range(len(rounds)), [f"round {facts.round}" for facts in rounds])
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("rows", fontsize=TEXT_SIZE, color=INK)
    _funnel_legend(figure, looks, rounds)
    return figure


def cost_figure(rounds: Sequence[RoundFacts], measure: str, *, dollars: bool) -> "Figure | None":
    """Score on held-out and test gold by what was spent until then; None where a round does not say.

    The x axis is US dollars, or the teacher budget: rows requested plus label questions, paid or not.
    """
    spent = totals([facts.cost if dollars else facts.budget for facts in rounds])
    if spent is None or not any(_scores(rounds, split) for split in ("select", "test")):
        return None
    at = dict(zip([facts.round for facts in rounds], spent, strict=True))
    figure = new_figure(2.9)
    axes = figure.add_axes((0.09, 0.17, 0.73, 0.76))
    plain_axes(axes, "both")
    ends = dict[str, float]()
    for place, split in enumerate(SPLIT_NAMES):
        scores = _scores(rounds, split)
        if split == "steer" or not scores:
            continue
        style = look(place)
        xs, ys = [at[round_] for round_, _ in scores], [100 * score.share for _, score in scores]
        axes.plot(xs, ys, color=style.colour, marker=style.mark, linestyle=style.line, linewidth=1.6, markersize=5.5)
        named = _rounds_named(scores)
        for x, y, (round_, _) in zip(xs, ys, scores, strict=True):
            if round_ not in named:
                continue
            axes.annotate(
                str(round_),
                (x, y),
                xytext=(0, 6 if split == "select" else -13),
                textcoords="offset points",
                ha="center",
                fontsize=SMALL_SIZE,
                color=QUIET,
            )
        ends[split] = ys[-1]
    axes.margins(x=0.05, y=0.18)
    _name_lines(axes, ends)
    what = "US dollars so far" if dollars else "rows and label questions asked of the teacher so far"
    axes.set_xlabel(what, fontsize=TEXT_SIZE, color=INK)
    axes.set_ylabel(f"{measure}, %", fontsize=TEXT_SIZE, color=INK)
    return figure


def gates_shown(rounds: Sequence[RoundFacts]) -> list[str]:
    """The gates that refused most over all rounds, as many as are told apart in the picture."""
    counted: Counter[str] = Counter()
    for facts in rounds:
        counted.update(facts.rejections.gates)
    return [gate for gate, _ in sorted(counted.items(), key=lambda one: (-one[1], one[0]))[:MOST_GATES]]


def totals(amounts: Sequence[float | None]) -> list[float] | None:
    """Running sum of what rounds took; None where one does not know it."""
    known = [amount for amount in amounts if amount is not None]
    return list(itertools.accumulate(known)) if len(known) == len(amounts) else None


def score_of(figures: RoundFigures, split: str) -> Score | None:
    """Score of a split by name."""
    return {"steer": figures.steer, "select": figures.select, "test": figures.test}[split]


def f1_of(facts: RoundFacts, split: str) -> float | None:
    """Mean F1 of answers on a split, 0 to 1; None for kinds other than questions."""
    return {"steer": facts.steer_f1, "select": facts.figures.select_f1, "test": facts.figures.test_f1}[split]


def _scores(rounds: Sequence[RoundFacts], split: str) -> list[tuple[int, Score]]:
    found = [(facts.round, score_of(facts.figures, split)) for facts in rounds]
    return [(round_, score) for round_, score in found if score is not None]


def _rounds_named(scores: Sequence[tuple[int, Score]]) -> set[int]:
    """Rounds with their number beside the mark: all of a few, of more the first, the last and the best."""
    if len(scores) <= MOST_NAMED:
        return {round_ for round_, _ in scores}
    best, _ = max(scores, key=lambda one: one[1].share)
    return {scores[0][0], scores[-1][0], best}


def _name_lines(axes: "Axes", ends: Mapping[str, float]) -> None:
    """Names of splits at the right, near the ends of their lines and apart from each other, each with its mark."""
    low, high = axes.get_ylim()
    apart, last = 0.085, -1.0
    ordered = sorted(ends.items(), key=lambda one: one[1])
    for place, (split, y) in enumerate(ordered):
        style = look(list(SPLIT_NAMES).index(split))
        # Of scores near the top, names give way downwards: above the axes they would be cut off.
        room = 1 - apart * (len(ordered) - 1 - place)
        last = min(max((y - low) / (high - low), last + apart), room)
        axes.plot(
            [1.03], [last], style.mark, color=style.colour, markersize=5.5, transform=axes.transAxes, clip_on=False
        )
        axes.text(1.05, last, SPLIT_NAMES[split], transform=axes.transAxes, va="center", fontsize=TEXT_SIZE, color=INK)
    axes.set_ylim(low, high)


def _pieces(facts: RoundFacts, shown: Sequence[str]) -> dict[str, int]:
    named = {gate: facts.rejections.gates.get(gate, 0) for gate in shown}
    return {"accepted": facts.accepted, **named, OTHER: facts.refused - sum(named.values())}


def _funnel_legend(figure: "Figure", looks: dict[str, tuple[str, str]], rounds: Sequence[RoundFacts]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Patch | Line2D] = []
    shown = [gate for gate in looks if gate not in {"accepted", OTHER}]
    found = [_pieces(facts, shown) for facts in rounds]
    names = [name for name in looks if name != OTHER or any(pieces[OTHER] for pieces in found)]
    for colour, hatch in (looks[name] for name in names):
        handles.append(Patch(facecolor=PAPER if hatch else colour, edgecolor=colour, hatch=hatch))
    names = [f"refused: {name}" if name in shown else name for name in names]
    if any(facts.rows_requested for facts in rounds):
        handles.append(Line2D([], [], color=INK, marker="|", linestyle="", markersize=10, markeredgewidth=1.6))
        names.append("asked for")
    figure.legend(
        handles,
        names,
        loc="upper left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=4,
        frameon=False,
        fontsize=SMALL_SIZE,
        labelcolor=INK,
        columnspacing=1.4,
        handletextpad=0.5,
    )
