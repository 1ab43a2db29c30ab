"""What a task YAML may say: every key, its type, its default and its meaning.

Belongs here: the declaration of a task and the rules that hold within it; gold, teacher, student and quality have
modules of their own (``gold_spec.py``, ``teacher_spec.py``, ``student_spec.py``, ``quality_spec.py``). Does not belong
here: finding and reading YAML files (``load.py``), reading gold (``gold.py``).
"""

import difflib
import functools
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from s3_assets.tasks.gold_spec import FieldsSpec, GoldSpec
from s3_assets.tasks.presets import ABLATIONS, ALL, LIST, WITHOUT, arms_with, of_loops, presets
from s3_assets.tasks.quality_spec import QualitySections, VerifySpec
from s3_assets.tasks.section import Section
from s3_assets.tasks.strategy import Strategy
from s3_assets.tasks.student_spec import StudentSpec
from s3_assets.tasks.teacher_spec import BudgetSpec, TeacherSpec

TASK_NAME = r"^[a-z][a-z0-9_]*$"

# The one label of question answering tasks: their rows have an answer instead.
ANSWER = "answer"


def _shorthand(key: str) -> BeforeValidator:
    return BeforeValidator(lambda value: {key: value} if isinstance(value, str) else value)


def close_to(name: str, known: Iterable[str]) -> str:
    """A hint for a name that is not there: `` Did you mean ...?``, or nothing where none is near."""
    near = difflib.get_close_matches(name, list(known), n=2)
    return f" Did you mean {' or '.join(near)}?" if near else ""


def _own_name(name: str) -> str:
    if not re.match(TASK_NAME, name) or name in presets() or name in {ALL, ABLATIONS, LIST}:
        words = ", ".join((ALL, ABLATIONS, LIST))
        raise ValueError(f"cannot name a strategy: lower case letters, digits and _, no shipped one, none of {words}")
    return name


def _on_a_base(value: Any) -> Any:
    """An own strategy with the options of the shipped one it starts from."""
    if isinstance(value, Strategy):
        return value
    if not isinstance(value, dict):
        raise ValueError("must hold keys such as base and explore")
    base = value.get("base", "default")
    if not isinstance(base, str) or base not in presets():
        raise ValueError(
            f"base: no strategy {base!r} to start from.{close_to(str(base), presets())} Shipped: {', '.join(presets())}"
        )
    own = {key: given for key, given in value.items() if key != "base"}
    return {**presets()[base].model_dump(), "summary": f"{base}, changed by the task", **own}


class LabelSpec(Section):
    """One label: what it means, and the finer labels it stands for.

    Rows of a label with ``sublabels`` are asked for by those, in the proportions of steering gold.
    """

    means: str = Field(pattern=r"\S")
    sublabels: dict[str, str] = Field({})


class RowsSpec(Section):
    """How many examples are asked for."""

    seed: int = Field(400, gt=0, description="Rows of the seed set of round 0, over all labels.")
    per_round: int = Field(200, gt=0, description="Rows one round extrapolates; its errors are taken in turn.")
    per_error: int | None = Field(None, gt=0, description="Most rows of one error in a round.")
    per_call: int = Field(5, gt=0, description="Most rows asked for in one request.")
    refill: bool = Field(
        False,
        description="Whether refused rows are asked for again, within bounds. Arms then end with equal rows; without "
        "it, with equal teacher budgets.",
    )


class RationalesSpec(Section):
    """Rationales listed before single texts are written (paper, Algorithm 1: K and k)."""

    per_label: int = Field(50, gt=0)
    per_request: int = Field(3, gt=0)


class PairSpec(Section):
    """Options of pair tasks."""

    writes: Literal["second", "both"] = Field(
        "second", description="second: the teacher is given a context and writes the other text; both: it writes both."
    )
    keep_context: bool = Field(True, description="Whether rows keep the context they were asked for as written.")


class QaSpec(Section):
    """Options of question answering tasks."""

    keep_answer: bool = Field(
        True, description="Whether a new question has the answer of its gold row (paper); else any span of the context."
    )
    error_below_f1: float | None = Field(
        None,
        gt=0,
        le=1,
        description="A gold row is an error when its F1 is below this; null: when it is no exact match.",
    )
    stride: int = Field(64, ge=0, description="Tokens that neighbouring windows of a long context share.")
    longest_answer: int = Field(30, gt=0, description="Most tokens of an answer the student may give.")


class PromptsSpec(Section):
    """Wording of requests: a shipped ``variant``, and template files (relative to the YAML) in place of its own."""

    variant: Literal["default", "paper"] = "default"
    system: str | None = None
    rationales: str | None = None
    seed: str | None = None
    extrapolate: str | None = None


class ExperimentSpec(Section):
    """How strategies are compared: all at the task's sizes, by the same teacher and student."""

    rounds: int = Field(2, gt=0, le=20, description="Extrapolations of each arm that has rounds.")
    seeds: int = Field(3, gt=0, le=100, description="Repeats of each arm, seeds from 0.")


class DriftSpec(Section):
    """What the distance of synthetic rows from gold is measured by."""

    embeddings: bool = Field(
        True,
        description="Whether texts are embedded for drift by vectors; false leaves those metrics out and saves about "
        "3 seconds and 5 ms a row on two cores.",
    )


class TaskSpec(QualitySections):
    """One task, as declared in ``task.yaml``."""

    name: str = Field(pattern=TASK_NAME)
    description: str = ""
    kind: Literal["single", "pair", "qa"] = "single"
    fields: FieldsSpec = FieldsSpec()
    labels: dict[str, Annotated[LabelSpec, _shorthand("means")]] = Field(min_length=1)
    gold: Annotated[GoldSpec, _shorthand("file")]
    contexts: str | None = Field(None, description="File of first texts to write for, instead of steering gold's.")
    seed_rows: str | None = None
    teacher: Annotated[TeacherSpec, _shorthand("backend")] = TeacherSpec()
    student: Annotated[StudentSpec, _shorthand("weights")] = StudentSpec()
    rounds: int = Field(4, gt=0, le=100, description="Most rounds the loop may take.")
    rows: RowsSpec = RowsSpec()
    rationales: RationalesSpec = RationalesSpec()
    pair: PairSpec = PairSpec()
    qa: QaSpec = QaSpec()
    prompts: Annotated[PromptsSpec, _shorthand("variant")] = PromptsSpec()
    strategies: dict[Annotated[str, AfterValidator(_own_name)], Annotated[Strategy, BeforeValidator(_on_a_base)]] = (
        Field({}, description="Strategies of the task's own: {name: {base: a shipped one, and what is different}}.")
    )
    strategy: str = Field("default", description="Strategy of the task's own loop.")
    seed: int = Field(0, ge=0)
    drift: DriftSpec = DriftSpec()
    experiment: ExperimentSpec = ExperimentSpec()
    budget: BudgetSpec = BudgetSpec()

    @model_validator(mode="before")
    @classmethod
    def _questions_have_no_labels(cls, value: Any) -> Any:
        if not isinstance(value, dict) or value.get("kind") != "qa":
            return value
        if "labels" in value:
            raise ValueError("kind qa has answers instead of labels; remove labels")
        return {**value, "labels": {ANSWER: "The span of the context that answers the question."}}

    @field_validator("labels", mode="before")
    @classmethod
    def _label_names(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        for name, description in value.items():
            if isinstance(name, bool):
                raise ValueError(f"YAML reads the label {name} as true or false; put it in quotes")
            if not description or not isinstance(description, str | dict):
                raise ValueError(f"label {name!r} needs a description of what it means")
        return {str(name): description for name, description in value.items()}

    @field_validator("strategy")
    @classmethod
    def _strategy_of_a_loop(cls, value: str, known: ValidationInfo) -> str:
        # Without them when those are not valid: that is said already.
        arms = arms_with(known.data.get("strategies", {}))
        allowed = of_loops(arms)
        if value not in allowed and "strategies" in known.data:
            names = ", ".join(name for name in allowed if WITHOUT not in name)
            why = "" if value in arms else close_to(value, allowed)
            raise ValueError(
                f"no strategy of a loop.{why} Allowed: {names}; default{WITHOUT}explore leaves an option out"
            )
        return value

    @model_validator(mode="after")
    def _fields_fit_kind(self) -> Self:
        if self.kind != "qa" and len(self.labels) < 2:
            raise ValueError("labels needs at least two")
        if self.kind == "pair" and self.fields.text2 is None:
            raise ValueError("kind pair needs fields.text2, the gold column with the second text")
        if self.kind == "qa" and (self.fields.text2 is None or self.fields.answer is None):
            raise ValueError("kind qa needs fields.text2 (the question) and fields.answer; fields.text is the context")
        if self.kind == "single" and self.fields.text2 is not None:
            raise ValueError("kind single has one text; remove fields.text2 or set kind: pair")
        if self.kind != "qa" and self.fields.answer is not None:
            raise ValueError("only kind qa has fields.answer; remove it or set kind: qa")
        if self.kind == "single" and self.contexts is not None:
            raise ValueError("kind single has no contexts; remove contexts")
        if self.kind == "qa" and self.student.kind != "fine_tuned":
            raise ValueError(f"kind qa has no {self.student.kind} student; remove student.kind")
        if self.kind == "qa" and self.student.class_weights != "none":
            raise ValueError("kind qa has no labels to weigh alike; remove student.class_weights")
        if self.kind == "qa" and self.verify.by != "nobody":
            raise ValueError("kind qa has no labels to verify; remove verify")
        if self.kind == "qa":
            verifies = [name for name, one in self.strategies.items() if one.verify not in {None, "nobody"}]
            if verifies:
                raise ValueError(
                    f"kind qa has no labels to verify; remove verify from strategies.{', strategies.'.join(verifies)}"
                )
        if self.kind == "pair" and self.pair.writes == "both" and self.contexts is not None:
            raise ValueError("pair.writes both gives the teacher no context; remove contexts")
        return self

    @model_validator(mode="after")
    def _other_teachers_are_asked(self) -> Self:
        asked = [self.verify.by, *(one.verify for one in (*presets().values(), *self.strategies.values()))]
        if self.verify.teacher is not None and not {"teacher", "both"} & set(asked):
            raise ValueError(
                f"verify.teacher is not asked with verify.by {self.verify.by}; use teacher or both, there or in a "
                "strategy"
            )
        return self

    @model_validator(mode="after")
    def _judges_of_folds_are_not_taught(self) -> Self:
        if self.teaches_judges(self.how):
            raise ValueError(
                f"verify: students learn from all steering gold, which strategy {self.strategy} (cross_fit "
                f"{self.how.cross_fit}) keeps from its judges; verify by teacher, or take a strategy without "
                "cross_fit, as s3 or one of your own with cross_fit: 0 and gold: none"
            )
        return self

    def teaches_judges(self, how: Strategy) -> bool:
        """Whether ``how`` judges gold by students of folds while other students, who know that gold, choose rows."""
        by = self.verify.by if how.verify is None else how.verify
        return how.cross_fit > 0 and by in {"students", "both"}

    @property
    def text_fields(self) -> tuple[str, ...]:
        """Canonical text fields of the kind, in order."""
        return ("text",) if self.kind == "single" else ("text", "text2")

    @property
    def keeps_context(self) -> bool:
        """Whether rows have the first text of gold, or of the file of contexts, word for word."""
        kept_text = self.kind == "pair" and self.pair.keep_context and self.pair.writes == "second"
        return kept_text or self.kind == "qa"

    @property
    def fields_written(self) -> tuple[str, ...]:
        """Text fields whose text is the teacher's own."""
        return ("text2",) if self.keeps_context else self.text_fields

    @functools.cached_property
    def arms(self) -> Mapping[str, Strategy]:
        """Strategies by name: those that ship, the task's own, and ``default`` and those without each option."""
        return arms_with(self.strategies)

    @property
    def how(self) -> Strategy:
        """The strategy of the loop."""
        return self.arms[self.strategy]

    @property
    def verifying(self) -> VerifySpec:
        """``verify``, as the strategy of the loop has it."""
        return self.verify if self.how.verify is None else self.verify.model_copy(update={"by": self.how.verify})
