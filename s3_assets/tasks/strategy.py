"""What a strategy may say: how a training set is made from a task's budget, as data.

Belongs here: every option of a strategy with its meaning, and the rules that hold within one. Does not belong here: the
strategies that ship (``presets.py``), carrying options out (``generation/``, ``selection/``, ``student/``, ``loop/``).
"""

from typing import Literal, Self

from pydantic import Field, model_validator

from s3_assets.tasks.section import Section

Shown = Literal["prediction", "contrast", "diagnosis", "probability"]
Skipped = Literal["never_learned", "mislabelled"]


class Strategy(Section):
    """How one arm makes its training set. Without any key it is the paper's loop, its rounds filled to a size."""

    summary: str = Field("", description="One line for lists and the UI.")

    # How the budget is spent.
    budget: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Share of the task's budget that is spent: of rows.seed + experiment.rounds * rows.per_round, "
        "without rows.seed where the task brings its seed rows.",
    )
    seed_share: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Share of the budget that the seed set takes, and 5 rows a label at least, up to half the budget; "
        "null: rows.seed of the task.",
    )
    steps: int | None = Field(
        None, gt=0, le=20, description="Rounds the rest is spread over; null: experiment.rounds of the task."
    )
    growth: float = Field(1.0, gt=0, le=4, description="Rows of each round over those of the round before.")

    # The seed set.
    rationales: bool = Field(True, description="Whether seed requests for single texts are given rationales.")
    grown: bool = Field(False, description="Whether the rows of all rounds are asked for at once, in the seed set.")
    prior: Literal["uniform", "gold"] = Field(
        "uniform",
        description="gold: the seed set and each round keep the shares that labels have in steering gold; uniform: the "
        "seed set has labels alike, rounds those of their sources.",
    )

    # Which gold rows new rows are written from.
    extrapolates: Literal["errors", "gold"] | None = Field(
        "errors", description="gold: random steering gold (GoldGen); null: nothing, no rounds."
    )
    by: Literal["all", "loss", "margin", "cluster", "doubt"] = Field(
        "all",
        description="all: every error in turn. loss: those of the highest loss. margin: those nearest to being right, "
        "by the wrong answer's probability less the right one's (0 to 1; predictions.margin is another, of log "
        "probabilities). cluster: errors are grouped by their vectors, groups get rows alike. doubt: every steering "
        "row, in proportion to the probability that the student does not give its label.",
    )
    keep: float = Field(1.0, gt=0, le=1, description="Share of the errors that loss or margin keeps.")
    skips: tuple[Skipped, ...] = Field(
        (),
        description="never_learned: errors that two rounds of rows written from them did not help. mislabelled: errors "
        "whose label students on other rows find far less likely than another.",
    )
    explore: float = Field(
        0.0, ge=0, le=1, description="Share of a round's rows that is written from random steering gold instead."
    )
    one_each: bool = Field(False, description="Exactly one row from each error, whatever the round's size.")

    # What the teacher is shown beside the example and its label.
    shows: tuple[Shown, ...] = Field(
        (),
        description="prediction: the student's wrong answer. contrast: the nearest steering row of another label that "
        "the student gets right. diagnosis: one line of the teacher on what the errors of a group have in common (one "
        "question a group). probability: that of the wrong answer, in words.",
    )

    # Gold.
    steers: Literal["steer", "dev"] = Field(
        "steer", description="dev: selecting gold steers too; then nothing is left to select epochs on."
    )
    cross_fit: int = Field(
        0,
        ge=0,
        le=10,
        description="Folds of steering gold, 0 for none: its rows are judged by students trained without them and the "
        "rows written from them.",
    )
    gold: Literal["none", "crossed", "added", "alone"] = Field(
        "none",
        description="Gold that students are trained on beside the rows of the teacher. crossed: every student on "
        "steering gold, those of folds on that of the other folds, so that none judges what it learned. added: the "
        "last student on steering and selecting gold. alone: the last student on those and nothing else.",
    )

    # Labels and training.
    verify: Literal["nobody", "teacher", "students", "both"] | None = Field(
        None,
        description="Second opinion on labels (verify.by) in place of the task's; its questions come off the rows.",
    )
    weights: Literal["none", "quality", "usefulness", "both"] = Field(
        "none",
        description="Weight of a row in training. quality: probability of its label by students that were not trained "
        "on it. usefulness: whether a step on it lowers the loss of steering gold it was not written from.",
    )
    ensemble: bool = Field(False, description="Whether the students of the folds answer together with the round's own.")
    distil: bool = Field(False, description="Whether the student learns the mean answer of the folds' students too.")

    # When the loop stops.
    stop: Literal["no_gain", "within_error"] = Field(
        "no_gain",
        description="no_gain: two rounds in a row without a gain on held-out gold. within_error: two rounds whose gain "
        "is below its standard error.",
    )

    @model_validator(mode="after")
    def _options_fit(self) -> Self:
        if (self.ensemble or self.distil) and self.cross_fit < 2:
            raise ValueError("ensemble and distil use the students of the folds; set cross_fit to 2 or more")
        if self.gold == "crossed" and self.cross_fit < 2:
            raise ValueError("gold: crossed is judged by students of folds; set cross_fit to 2 or more")
        if self.cross_fit == 1:
            raise ValueError("cross_fit needs 2 folds or more, or 0 for none")
        if self.extrapolates != "errors" and (self.by != "all" or self.skips or self.one_each):
            raise ValueError("by, skips and one_each choose among errors; set extrapolates: errors")
        if self.grown and self.extrapolates is not None:
            raise ValueError("grown asks for all rows in the seed set; set extrapolates: null")
        if self.extrapolates != "errors" and set(self.shows) - {"contrast"}:
            raise ValueError("shows: all but contrast are about errors; set extrapolates: errors")
        if "probability" in self.shows and "prediction" not in self.shows:
            raise ValueError("shows: probability is that of the wrong prediction; show prediction too")
        return self

    @model_validator(mode="after")
    def _options_do_something(self) -> Self:
        """Options that would do nothing are refused, or an arm would be named for what it does not do."""
        divides = self.steps is not None or self.seed_share is not None or self.growth != 1
        if self.extrapolates is None and divides:
            raise ValueError("steps, seed_share and growth divide the budget among rounds; there are no rounds")
        if self.extrapolates is None and self.shows:
            raise ValueError("shows is about requests of rounds; there are no rounds")
        if self.gold == "alone" and self.extrapolates is not None:
            raise ValueError("gold: alone asks no teacher, so there is nothing to extrapolate; set extrapolates: null")
        if self.keep < 1 and self.by not in {"loss", "margin"}:
            raise ValueError("keep cuts errors in the order of loss or margin; set by to one of them")
        if self.explore > 0 and (self.extrapolates != "errors" or self.one_each):
            raise ValueError("explore takes rows from errors for random gold; set extrapolates: errors, not one_each")
        if self.one_each and (self.by != "all" or self.prior != "uniform"):
            raise ValueError("one_each writes one row from each error; by and prior choose nothing then")
        if self.verify in {"students", "both"} and self.cross_fit:
            raise ValueError("verify: students learn from all steering gold, which cross_fit keeps from its judges")
        return self

    @property
    def synthetic(self) -> bool:
        """Whether a teacher is asked at all."""
        return self.gold != "alone"

    @property
    def judged(self) -> bool:
        """Whether gold that was held out from them judges all students of an arm."""
        return self.gold in {"none", "crossed"}

    @property
    def shows_prediction(self) -> bool:
        """Whether the teacher is told the student's wrong answer."""
        return "prediction" in self.shows
