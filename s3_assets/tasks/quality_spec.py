"""What a task YAML says about the quality of rows: gates, verified labels, shortcuts.

Belongs here: the sections ``gates``, ``verify`` and ``shortcuts``. Does not belong here: what they do (``quality/``,
``generation/verify.py``).
"""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from s3_assets.tasks.section import Section
from s3_assets.tasks.teacher_spec import TeacherSpec


class GatesSpec(Section):
    """Gates a task may loosen. A gate that is off (false, or null where a number stands) refuses nothing.

    Rows without their texts, exact copies of another row or of gold, and rows that overlap selecting or test gold are
    always refused.
    """

    repair: bool = Field(
        True, description="Whether wrapping quotes, leading labels (Review:), Markdown and stray spaces are taken off."
    )
    refusal: bool = Field(True, description="Rows in which the teacher refuses instead of writing.")
    meta_talk: bool = Field(
        True, description="Rows that talk about the request, or leave a blank to fill, as [insert title]."
    )
    language: bool = Field(True, description="Rows in a script or, beyond doubt, a language that steering gold lacks.")
    length: float | None = Field(
        3.0, gt=1, description="Rows so many times shorter or longer, in words, than any row of steering gold."
    )
    label_words: bool = Field(True, description="Rows that name their label, where steering gold does not do that.")
    echo: float | None = Field(
        0.8, gt=0, le=1, description="Rows whose words overlap so much (Jaccard) with the example shown."
    )
    near_duplicate: float | None = Field(
        0.8, gt=0, le=1, description="Rows whose words overlap so much (Jaccard) with those of an earlier row."
    )
    answer_given: bool = Field(True, description="Questions that contain their own answer.")


class VerifySpec(Section):
    """A second opinion on the label of every row.

    ``teacher`` asks blind for the label, again on disagreement; ``students`` trains a small cross-fitted ensemble, at
    no cost of the teacher; ``both`` asks the teacher about the rows that the students doubt.
    """

    by: Literal["nobody", "teacher", "students", "both"] = "nobody"
    doubted: Literal["drop", "relabel"] = Field(
        "drop", description="relabel: rows get the other label where that one is trusted enough; else they are dropped."
    )
    keep_right: float = Field(
        0.95,
        gt=0,
        lt=1,
        description="Share of selecting gold, or where none selects of steering gold, whose labels are right, that the "
        "threshold on confidence must keep.",
    )
    threshold: float | None = Field(None, ge=0, le=1, description="Fixed threshold; null: chosen on that gold.")
    questions: int = Field(2, ge=1, le=5, description="Most label questions about one row.")
    teacher: TeacherSpec | None = Field(None, description="Who is asked for labels; null: the task's teacher.")


class ShortcutsSpec(Section):
    """Simple rules that tell the label in synthetic rows and not in gold."""

    remedy: Literal["report", "strip", "rebalance"] = Field(
        "report",
        description="strip: take off marks and leads that such rules go by, where that leaves a text; rebalance: "
        "refuse rows until the rule tells no more than in gold.",
    )
    excess: float = Field(
        0.2, gt=0, lt=1, description="How much better than in gold a rule must tell the label to be reported."
    )


def _shorthand(key: str) -> BeforeValidator:
    return BeforeValidator(lambda value: {key: value} if isinstance(value, str) else value)


class QualitySections(Section):
    """The sections that make data trustworthy, as ``TaskSpec`` inherits them."""

    gates: GatesSpec = GatesSpec()
    verify: Annotated[VerifySpec, _shorthand("by")] = VerifySpec()
    shortcuts: Annotated[ShortcutsSpec, _shorthand("remedy")] = ShortcutsSpec()
