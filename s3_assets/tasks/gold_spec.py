"""What a task YAML may say of gold: columns, files, splits.

Belongs here: keys under ``fields`` and ``gold`` and the rules that hold within them. Does not belong here: reading gold
(``gold.py``), the rest of the task (``spec.py``).
"""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from s3_assets.tasks.section import Section

SPLITS = ("steer", "select", "test")


class FieldsSpec(Section):
    """Which gold columns are the canonical fields.

    For kind qa ``text`` is the context, ``text2`` the question and ``answer`` its answer: a text, a list of texts that
    all count as right, or SQuAD's structure of ``text`` and ``answer_start``. ``sublabel`` is a column of finer labels.
    """

    text: str = "text"
    text2: str | None = None
    label: str = "label"
    sublabel: str | None = None
    answer: str | None = None
    answer_start: str | None = None


class SplitSpec(Section):
    """Shares of gold, in the order of the three uses (design: gold has three uses, never mixed)."""

    steer: float = Field(0.5, gt=0, lt=1)
    select: float = Field(0.25, gt=0, lt=1)
    test: float = Field(0.25, ge=0, lt=1)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if abs(self.steer + self.select + self.test - 1) > 1e-6:
            raise ValueError("steer, select and test must add up to 1")
        return self


class GoldSpec(Section):
    """Where the labelled examples are. Either one ``file``, split by a hash of the text, or ``files`` per split.

    Keys of ``files``: steer, select, test, or ``dev``, which is split between steer and select in their shares.
    ``limit`` keeps the first rows of a file, by the same keys (``file`` for the one file). A file is a path relative to
    the YAML, or ``hf://datasets/OWNER/NAME/PATH`` on the Hugging Face hub. ``label_names`` gives the task's name of
    each label that files write otherwise, as ``{0: negative}``.
    """

    file: str | None = None
    files: dict[Literal["dev", "steer", "select", "test"], str] = Field({})
    limit: dict[Literal["file", "dev", "steer", "select", "test"], Annotated[int, Field(gt=0)]] = Field({})
    split: SplitSpec = SplitSpec()
    label_names: dict[str, str] = Field({})

    @field_validator("label_names", mode="before")
    @classmethod
    def _written_as_text(cls, value: Any) -> Any:
        return {str(name): label for name, label in value.items()} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.file is None) == (not self.files):
            raise ValueError("give either file (one file, split by hash) or files (one per split)")
        if self.files and "dev" not in self.files and not {"steer", "select"} <= set(self.files):
            raise ValueError("files needs dev, or both steer and select")
        if "dev" in self.files and {"steer", "select"} & set(self.files):
            raise ValueError("files: dev is split into steer and select; do not give those as well")
        unknown = set[str](self.limit) - (set[str](self.files) or {"file"})
        if unknown:
            raise ValueError(f"limit names {sorted(unknown)}, which have no file")
        return self
