"""What a task YAML may say of its teacher and what it may cost.

Belongs here: keys under ``teacher`` and ``budget`` and the rules that hold within them. Does not belong here: asking
(``teacher/``), the rest of the task (``spec.py``).
"""

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from s3_assets.tasks.section import Section


class PriceSpec(Section):
    """What a teacher costs, in US dollars per million tokens. ``cached_input`` is ``input`` where it is not given."""

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cached_input: float | None = Field(None, ge=0)


class TeacherSpec(Section):
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


class LimitSpec(Section):
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
