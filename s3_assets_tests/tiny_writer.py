"""A causal model small enough for tests, a Llama over bytes, as the teacher in this process: made, asked, listened to.

Belongs here: the model's folder, tasks that ask it, requests and their prompts. Does not belong here: tests.
"""

import asyncio
import json
import shutil
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from s3_assets.student.model import quiet
from s3_assets.tasks.load import Task
from s3_assets.teacher.dialect import with_schema
from s3_assets.teacher.local import LocalModel
from s3_assets.teacher.request import TeacherRequest, request_body
from s3_assets_tests.fakes import write_task

CONTEXT = 512
SCHEMA = {"type": "object"}
END = "<|end|>"
TEMPLATE = (
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}{% if add_generation_prompt %}[answer]{% endif %}"
)
SUBJECTS = ("a plain film", "b", "the longest of all these subjects, by far and on purpose", "waves", "")


def make_tiny_writer(folder: Path) -> Path:
    """A folder with a random Llama of some ten thousand weights whose tokens are bytes, with a chat template."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {END: 0} | {letter: place for place, letter in enumerate(letters, start=1)}
    pieces = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pieces.decoder = decoders.ByteLevel()
    tokenizer: Any = PreTrainedTokenizerFast(tokenizer_object=pieces, eos_token=END)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=CONTEXT,
        # So that what is written depends on the prompt, and the most likely token is so by far.
        initializer_range=0.8,
        bos_token_id=None,
        eos_token_id=0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlamaForCausalLM(config)
    # What is most likely is a printable character, so that texts are as long as their tokens, and never the end.
    odd = [place for letter, place in vocabulary.items() if not "!" <= letter <= "~"]
    model.lm_head.weight.data[[*odd, 0]] = 0
    with quiet():
        model.save_pretrained(folder)
    return folder


def task_of(place: Path, writer: Path, **keys: Any) -> Task:
    """A task whose teacher is the tiny writer; keys replace those of its section ``teacher``."""
    declared = {"backend": "transformers", "model": str(writer), "temperature": 0, "max_tokens": 12, **keys}
    return write_task(place, teacher=declared)


def altered_copy(writer: Path, folder: Path, file: str, **keys: Any) -> Path:
    """A copy of the writer in ``folder`` in which one JSON file says something else."""
    shutil.copytree(writer, folder, dirs_exist_ok=True)
    content = json.loads((folder / file).read_text()) | keys
    (folder / file).write_text(json.dumps(content))
    return folder


@dataclass
class Seen:
    """What ``generate`` was called with. ``most`` is the largest batch it has memory for.

    The first ``endless`` calls write until they are told to stop.
    """

    calls: list[dict[str, Any]] = field(default_factory=list)
    most: int = 1000
    endless: int = 0
    began: threading.Event = field(default_factory=threading.Event)

    @property
    def sizes(self) -> list[int]:
        return [len(call["input_ids"]) for call in self.calls]


def listen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """What ``generate`` is called with from now on."""
    import torch
    from transformers import LlamaForCausalLM

    found = Seen()
    real = LlamaForCausalLM.generate

    def generate(self: Any, **keys: Any) -> Any:
        found.calls.append(keys)
        found.began.set()
        if len(keys["input_ids"]) > found.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        if len(found.calls) <= found.endless:
            while not keys["stopping_criteria"](keys["input_ids"], None).all():
                time.sleep(0.001)
            return keys["input_ids"]
        return real(self, **keys)

    monkeypatch.setattr(LlamaForCausalLM, "generate", generate)
    return found


def question(subject: str, sample: int = 0) -> TeacherRequest:
    messages = ({"role": "system", "content": "Write."}, {"role": "user", "content": subject})
    return TeacherRequest("examples", messages, SCHEMA, sample, "slot", "positive")


def ask(task: Task, *requests: TeacherRequest, attempt: int = 0, together: bool = True) -> list[Any]:
    """Replies, or the exceptions in their place, of a model that is closed afterwards."""

    async def run() -> list[Any]:
        model = LocalModel(task)
        asked = [model.ask(request, request_body(request, task.spec.teacher), attempt) for request in requests]
        try:
            if together:
                return await asyncio.gather(*asked, return_exceptions=True)
            return [await one for one in asked]
        finally:
            await model.close()

    return asyncio.run(run())


def rendered(subject: str) -> str:
    """The prompt that the writer's chat template makes of a question."""
    system, user = with_schema(question(subject).messages, SCHEMA)
    return f"[system]{system['content']}[user]{user['content']}[answer]"
