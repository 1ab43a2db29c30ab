"""A causal language model in memory: loading it, prompts as its tokens, a batch of answers.

Belongs here: ``transformers`` models and tokenizers, chat templates, padding, sampling. Does not belong here: which
requests make a batch, and threads (``local.py``).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jinja2 import TemplateError

from s3_assets.student.device import pick_device, share_the_processor
from s3_assets.student.model import quiet
from s3_assets.tasks.load import Task
from s3_assets.teacher.dialect import with_schema
from s3_assets.teacher.reply import NotAccepted, Reply, TeacherUnavailable
from s3_assets.teacher.request import TeacherRequest

# Key of ``teacher.extra`` that is for the chat template and not for ``generate``; vLLM's servers call it the same.
TEMPLATE_KEY = "chat_template_kwargs"

# Longer texts of errors are cut: some list every kind of model there is.
_LONGEST_CAUSE = 500


class CausalLM:
    """The model in memory, with its tokenizer. ``TeacherUnavailable`` where it cannot be loaded."""

    def __init__(self, task: Task) -> None:
        spec = task.spec.teacher
        self._max_tokens = spec.max_tokens
        self._options, self._template_options = _options(task)
        place = _place(task)
        share_the_processor()
        self._device = pick_device()
        try:
            self._model, self._tokenizer = _from_pretrained(place, self._device.kind, self._device.bf16)
        except Exception as error:
            raise TeacherUnavailable(
                f"the teacher's model {spec.model!r} cannot be loaded from {place}: {shortened(error)}\n"
                "teacher.model names the folder of a causal language model with safetensors weights (a relative one "
                f"starts at {task.folder}), or one on the Hugging Face hub; without network, download it first and "
                "give its folder."
            ) from error
        config, tokenizer = self._model.generation_config, self._tokenizer
        declared = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
        self._ends = {number for number in (*declared, tokenizer.eos_token_id) if number is not None}
        self._padding = next(
            n for n in (tokenizer.pad_token_id, tokenizer.eos_token_id, *self._ends, 0) if n is not None
        )
        config.eos_token_id, config.pad_token_id = sorted(self._ends) or None, self._padding
        # Some checkpoints declare one; beside max_new_tokens it only causes warnings.
        config.max_length = None
        self._context: int | None = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
        if self._context is not None and self._context <= self._max_tokens:
            raise TeacherUnavailable(
                f"the teacher's model {spec.model!r} reads and writes {self._context} tokens in all, and "
                f"teacher.max_tokens {self._max_tokens} leaves none for prompts; lower it in task {task.name}"
            )

    def prompt(self, request: TeacherRequest) -> list[int]:
        """Tokens of a request, the schema in words among them; ``NotAccepted`` where they leave no room to answer."""
        messages = with_schema(request.messages, request.schema)
        if self._tokenizer.chat_template is None:
            lines = [*(f"{message['role']}: {message['content']}" for message in messages), "assistant:"]
            tokens: list[int] = self._tokenizer("\n".join(lines))["input_ids"]
        else:
            try:
                tokens = self._templated(messages)
            except TemplateError:
                # Some templates, such as Gemma 2's, refuse system messages.
                tokens = self._templated(_without_system(messages))
        room = None if self._context is None else self._context - self._max_tokens
        if room is not None and len(tokens) > room:
            raise NotAccepted(
                f"the prompt has {len(tokens)} tokens and the model's context of {self._context} has room for {room} "
                f"beside teacher.max_tokens {self._max_tokens}"
            )
        return tokens

    def write(self, prompts: Sequence[list[int]], seed: int, halt: Callable[[], bool]) -> list[Reply]:
        """Continue every prompt, in one batch; ``halt`` is asked at every token whether to stop."""
        import torch
        from transformers import StoppingCriteriaList

        longest = max(map(len, prompts))
        # Padded on the left, so that all answers begin at the same place.
        tokens = torch.full((len(prompts), longest), self._padding)
        mask = torch.zeros_like(tokens)
        for row, prompt in enumerate(prompts):
            tokens[row, longest - len(prompt) :] = torch.tensor(prompt)
            mask[row, longest - len(prompt) :] = 1

        def halted(written: Any, _scores: Any, **_: Any) -> Any:
            return torch.full((len(written),), halt(), device=written.device)

        # Leaves the random state of the process as it was.
        with torch.random.fork_rng(devices=[torch.cuda.current_device()] if self._device.kind == "cuda" else []):
            torch.manual_seed(seed)
            found = self._model.generate(
                input_ids=tokens.to(self._device.kind),
                attention_mask=mask.to(self._device.kind),
                stopping_criteria=StoppingCriteriaList([halted]),
                **self._options,
            )
        rows = found[:, longest:].tolist()
        return [self._reply(len(prompt), row) for prompt, row in zip(prompts, rows, strict=True)]

    def _reply(self, prompt_tokens: int, written: list[int]) -> Reply:
        end = next((place for place, token in enumerate(written) if token in self._ends), None)
        # What tokenizers may tidy up (spaces before commas) would be a change to what was written.
        text = self._tokenizer.decode(written[:end], skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return Reply(
            text=text,
            refused=False,
            finish_reason="length" if end is None else "stop",
            prompt_tokens=prompt_tokens,
            completion_tokens=len(written) if end is None else end + 1,
            dialect="text",
        )

    def _templated(self, messages: list[dict[str, str]]) -> list[int]:
        done = self._tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=True, return_dict=True, **self._template_options
        )
        tokens: list[int] = done["input_ids"]
        return tokens


def _options(task: Task) -> tuple[dict[str, Any], dict[str, Any]]:
    """What ``generate`` is told, and what the chat template is. What the task leaves open is the model's own choice."""
    spec = task.spec.teacher
    asked: dict[str, Any] = {"max_new_tokens": spec.max_tokens}
    if spec.temperature == 0:
        asked["do_sample"] = False
    else:
        said = {"temperature": spec.temperature, "top_p": spec.top_p}
        said = {name: value for name, value in said.items() if value is not None}
        asked |= said | ({"do_sample": True} if said else {})
    extra = dict(spec.extra)
    for_template = extra.pop(TEMPLATE_KEY, {})
    return {**asked, **extra}, for_template


def _place(task: Task) -> str:
    """What to hand to ``from_pretrained``: a folder, or a hub name."""
    model = task.spec.teacher.model
    folder = task.path(model)
    if folder.is_dir():
        return str(folder)
    # Hub names are `name` or `owner/name`: anything else is a path, and asking the hub for it would say less.
    if model.startswith((".", "~", "/")) or model.count("/") > 1 or "\\" in model:
        raise TeacherUnavailable(
            f"the teacher's model {model!r}: no folder {folder}; correct teacher.model in task {task.name}"
        )
    return model


def _from_pretrained(place: str, device: str, bf16: bool) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    options: dict[str, Any] = {"dtype": torch.bfloat16 if bf16 else torch.float32, "output_loading_info": True}
    with quiet():
        tokenizer: Any = AutoTokenizer.from_pretrained(place, trust_remote_code=False)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            place, use_safetensors=True, trust_remote_code=False, **options
        )
    model, report = loaded
    missing = sorted(report["missing_keys"])
    if missing:
        # An encoder such as BERT loads too, its head drawn at random, and would write noise.
        raise ValueError(f"it is no causal language model: it has no weights for {', '.join(missing[:3])}")
    return model.to(device).eval(), tokenizer


def _without_system(messages: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """The same, with what the system messages say at the start of the first other message."""
    system = [message["content"] for message in messages if message["role"] == "system"]
    others = [dict(message) for message in messages if message["role"] != "system"]
    if others:
        others[0]["content"] = "\n\n".join([*system, others[0]["content"]])
    return others


def shortened(error: Exception) -> str:
    """An error as text of bearable length."""
    return f"{type(error).__name__}: {error}"[:_LONGEST_CAUSE]
