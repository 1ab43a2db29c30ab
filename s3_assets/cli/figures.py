"""Figures as text, and the table a run ends with.

Belongs here: formatting shared by commands. Does not belong here: computing figures (``loop/progress.py``).
"""

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from s3_assets.loop.progress import HEADLINE_DRIFT, RoundFigures, Score
from s3_assets.tasks.load import Task


def percent(score: Score | None) -> str:
    """Accuracy in percent, or a dash."""
    return "-" if score is None else f"{100 * score.share:.1f}"


def with_interval(score: Score | None) -> str:
    """Accuracy in percent with its 95% interval."""
    if score is None:
        return "no test split"
    low, high = score.interval()
    return f"{100 * score.share:.1f} [{100 * low:.0f}-{100 * high:.0f}]"


def print_rounds(
    console: Console,
    task: Task,
    rounds: Sequence[RoundFigures],
    spent: Mapping[int, tuple[int, int]],
    seconds: Mapping[int, float],
) -> None:
    """The closing table: per round what was written, what it cost, what it achieved.

    ``spent`` holds teacher calls and tokens paid by round, ``seconds`` the wall time of this run by round.
    """
    shown = Table(
        "round",
        "seed set rows",
        "teacher calls",
        "tokens",
        "errors on steering gold",
        "selecting gold %",
        "test gold % (95% interval)",
        f"drift ({HEADLINE_DRIFT}, floor)",
        "seconds",
        title=f"{task.name}: rounds of S3",
    )
    for figures in rounds:
        calls, tokens = spent.get(figures.round, (0, 0))
        drift = "-" if figures.drift is None else f"{figures.drift:.3f} ({figures.drift_floor or 0:.3f})"
        steer = figures.steer
        shown.add_row(
            str(figures.round),
            str(figures.rows),
            str(calls),
            str(tokens),
            "-" if steer is None else f"{figures.errors} of {steer.rows}",
            percent(figures.select),
            with_interval(figures.test),
            drift,
            f"{seconds[figures.round]:.0f}" if figures.round in seconds else "there already",
        )
    console.print(shown)
    if task.spec.teacher.backend == "embedded":
        console.print("Teacher: embedded, a grammar without a model, for trying the pipeline. Not an LLM result.")
