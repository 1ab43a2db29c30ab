"""The picture of one training: loss and selecting gold by epoch.

Belongs here: drawing it from the history of ``trained_model``. Does not belong here: pictures of rounds
(``pictures.py``), files and markup (``drawing.py``).
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from s3_assets.report.drawing import new_figure, plain_axes, round_ticks
from s3_assets.report.palette import INK, QUIET, SMALL_SIZE, TEXT_SIZE, look

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NAMES = {
    "training_loss": "training rows",
    "pair_loss": "training pairs",
    "select_loss": "selecting gold",
    "select_accuracy": "right",
    "select_f1": "F1",
}
_LOSSES, _SHARES = ("training_loss", "pair_loss", "select_loss"), ("select_accuracy", "select_f1")


def epochs_figure(history: Sequence[Mapping[str, Any]], kept: int) -> "Figure":
    """Losses by epoch, and beside them what of selecting gold is right, where any selects; a line at the epoch kept.

    ``history`` has an entry per epoch: epoch, training_loss (of a contrastive student pair_loss), select_loss,
    select_accuracy, of questions select_f1.
    """
    figure = new_figure(2.6)
    selects = history[0].get("select_accuracy") is not None
    panels: list[tuple[str, int, tuple[str, ...]]] = [
        ("loss of pairs, of gold in nats" if "pair_loss" in history[0] else "loss, nats", 1, _LOSSES)
    ]
    panels += [("selecting gold, %", 100, _SHARES)] if selects else []
    for place, (name, factor, measures) in enumerate(panels):
        axes = figure.add_axes((0.08 + 0.5 * place, 0.2, 0.4 if selects else 0.85, 0.68))
        _panel(axes, history, {measure: factor for measure in measures if history[0].get(measure) is not None})
        axes.axvline(kept, color=QUIET, linewidth=0.8, linestyle=":")
        axes.set_title(name, fontsize=TEXT_SIZE, color=INK, loc="left")
        axes.set_xlabel(f"epoch (kept: {kept})", fontsize=TEXT_SIZE, color=INK)
    return figure


def _panel(axes: "Axes", history: Sequence[Mapping[str, Any]], measures: Mapping[str, int]) -> None:
    plain_axes(axes, "y")
    epochs = [entry["epoch"] for entry in history]
    for place, (measure, factor) in enumerate(measures.items()):
        style, values = look(place), [factor * entry[measure] for entry in history]
        mark = style.mark if len(epochs) <= 20 else None
        axes.plot(
            epochs, values, color=style.colour, marker=mark, linestyle=style.line, markersize=4, label=_NAMES[measure]
        )
    round_ticks(axes, epochs)
    if len(measures) > 1:
        axes.legend(frameon=False, fontsize=SMALL_SIZE, labelcolor=INK)
