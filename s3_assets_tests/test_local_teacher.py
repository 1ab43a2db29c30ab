"""A model in this process as the teacher: batches that change nothing, what is counted and refused, how it ends."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from s3_assets.student.device import Device
from s3_assets.student.model import quiet
from s3_assets.tasks.load import Task
from s3_assets.teacher import causal_lm
from s3_assets.teacher.dialect import with_schema
from s3_assets.teacher.local import THREAD_NAME, LocalModel
from s3_assets.teacher.reply import NotAccepted, Reply, TeacherUnavailable
from s3_assets.teacher.request import TeacherRequest, request_body
from s3_assets_tests.fakes import write_task

CONTEXT = 512
SCHEMA = {"type": "object"}
END = "<|end|>"
TEMPLATE = (
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}{% if add_generation_prompt %}[answer]{% endif %}"
)
ONLY_USERS = """{% for m in messages %}{% if m.role != 'user' %}{{ raise_exception('only users') }}{% endif %}\
<{{ m.content }}>{% endfor %}{% if add_generation_prompt %}[answer]{% endif %}"""
SUBJECTS = ("a plain film", "b", "the longest of all these subjects, by far and on purpose", "waves", "")

pytestmark = pytest.mark.usefixtures("on_the_cpu")


@pytest.fixture
def on_the_cpu(monkeypatch) -> None:
    """In float32, where batches of any shape give the same most likely tokens."""
    monkeypatch.setattr(causal_lm, "pick_device", lambda: Device("cpu", bf16=False))


@pytest.fixture(scope="module")
def writer(tmp_path_factory) -> Path:
    """Folder of a random Llama of some ten thousand weights whose tokens are bytes, with a chat template."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("writer") / "tiny"
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


@pytest.fixture
def teacher(tmp_path, writer) -> Callable[..., Task]:
    """A task whose teacher is the tiny writer; keys replace those of its section ``teacher``."""

    def make(**keys: Any) -> Task:
        declared = {"backend": "transformers", "model": str(writer), "temperature": 0, "max_tokens": 12, **keys}
        return write_task(tmp_path / "tasks", teacher=declared)

    return make


@pytest.fixture
def altered(writer, tmp_path) -> Callable[..., Path]:
    """A copy of the writer in which one JSON file says something else."""

    def make(file: str, **keys: Any) -> Path:
        import shutil

        folder = tmp_path / "altered"
        shutil.copytree(writer, folder, dirs_exist_ok=True)
        content = json.loads((folder / file).read_text()) | keys
        (folder / file).write_text(json.dumps(content))
        return folder

    return make


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


@pytest.fixture
def seen(monkeypatch) -> Iterator[Seen]:
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


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == THREAD_NAME]


# Batches


def test_a_batch_gives_the_answers_that_single_requests_get(teacher, seen):
    requests = [question(subject) for subject in SUBJECTS]
    batched = ask(teacher(), *requests)
    assert seen.sizes == [len(SUBJECTS)]
    assert len(set(seen.calls[0]["attention_mask"].sum(dim=1).tolist())) == len(SUBJECTS)
    alone = ask(teacher(), *requests, together=False)
    assert seen.sizes[1:] == [1] * len(SUBJECTS)
    assert batched == alone
    # In their order, as each subject is continued differently.
    assert len({reply.text for reply in batched}) == len(SUBJECTS)


def test_batches_are_no_larger_than_the_task_says(teacher, seen):
    replies = ask(teacher(concurrency=2), *(question(subject) for subject in SUBJECTS))
    assert seen.sizes == [2, 2, 1]
    assert replies == ask(teacher(), *(question(subject) for subject in SUBJECTS))


def test_the_model_is_loaded_once_and_not_before_it_is_asked(teacher, monkeypatch):
    loaded = []
    real = causal_lm._from_pretrained
    monkeypatch.setattr(
        causal_lm, "_from_pretrained", lambda *said: loaded.append(threading.current_thread().name) or real(*said)
    )
    asyncio.run(LocalModel(teacher()).close())
    assert loaded == []
    ask(teacher(concurrency=1), question("a"), question("b"))
    assert loaded == [THREAD_NAME]


def test_without_memory_batches_are_halved_and_one_too_large_alone_is_refused(teacher, seen, caplog):
    requests = [question(subject) for subject in SUBJECTS]
    expected = ask(teacher(), *requests)
    del seen.calls[:]
    seen.most = 2
    task = teacher(concurrency=4)
    assert ask(task, *requests) == expected
    # Four, its halves, then the fifth; from then on no more than two.
    assert seen.sizes == [4, 2, 2, 1]
    assert "2 from now on" in caplog.text
    seen.most = 0
    refused = ask(task, *requests[:2])
    assert [type(error) for error in refused] == [NotAccepted, NotAccepted]
    assert "no memory" in str(refused[0])
    assert str(len(rendered(SUBJECTS[0]))) in str(refused[0])


# Prompts


def test_prompts_are_made_by_the_chat_template_and_end_with_the_schema_in_words(teacher, seen):
    from transformers import AutoTokenizer

    task = teacher()
    reply = ask(task, question("waves"))[0]
    prompt = rendered("waves")
    assert json.dumps(SCHEMA) in prompt
    assert reply.prompt_tokens == len(prompt)
    assert AutoTokenizer.from_pretrained(task.spec.teacher.model).decode(seen.calls[0]["input_ids"][0]) == prompt


def test_without_a_template_messages_become_lines(teacher, altered):
    folder = altered("tokenizer_config.json")
    (folder / "chat_template.jinja").unlink()
    system, user = with_schema(question("waves").messages, SCHEMA)
    lines = f"system: {system['content']}\nuser: {user['content']}\nassistant:"
    assert ask(teacher(model=str(folder)), question("waves"))[0].prompt_tokens == len(lines)


def test_a_template_that_refuses_system_messages_gets_them_with_the_first_other_one(teacher, altered):
    folder = altered("tokenizer_config.json")
    (folder / "chat_template.jinja").write_text(ONLY_USERS)
    system, user = with_schema(question("waves").messages, SCHEMA)
    reply = ask(teacher(model=str(folder)), question("waves"))[0]
    assert reply.prompt_tokens == len(f"<{system['content']}\n\n{user['content']}>[answer]")
    (folder / "chat_template.jinja").write_text("{{ raise_exception('no chat here') }}")
    assert "no chat here" in str(ask(teacher(model=str(folder)), question("waves"))[0])


def test_template_options_reach_the_template_and_not_the_model(teacher, altered):
    folder = altered("tokenizer_config.json")
    (folder / "chat_template.jinja").write_text("{{ 'thinking' if thinking else 'no' }}")
    task = teacher(model=str(folder), extra={"chat_template_kwargs": {"thinking": True}})
    assert ask(task, question("waves"))[0].prompt_tokens == len("thinking")


def test_a_prompt_too_long_hurts_only_itself(teacher, seen):
    room = CONTEXT - 12
    fits = "x" * (room - len(rendered("")))
    good, longest, too_long, other = ask(teacher(), *(question(text) for text in ("a", fits, fits + "x", "b")))
    assert isinstance(too_long, NotAccepted)
    assert f"{room + 1} tokens" in str(too_long)
    assert [good, other] == ask(teacher(), question("a"), question("b"))
    assert longest.prompt_tokens == room
    assert seen.sizes == [3, 2]


def test_a_task_that_leaves_no_room_for_prompts_is_told(teacher):
    error = ask(teacher(max_tokens=CONTEXT), question("a"))[0]
    assert isinstance(error, TeacherUnavailable)
    assert "lower it in task small" in str(error)


# Answers


def test_texts_and_counts_are_those_of_the_model_itself(teacher):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    task = teacher()
    with quiet():
        tokenizer = AutoTokenizer.from_pretrained(task.spec.teacher.model)
        model = AutoModelForCausalLM.from_pretrained(task.spec.teacher.model)
    for subject, reply in zip(SUBJECTS, ask(task, *map(question, SUBJECTS)), strict=True):
        tokens = tokenizer(rendered(subject))["input_ids"]
        # Written out, token by token, without padding, caches or generate.
        for _ in range(12):
            with torch.no_grad():
                tokens.append(model(torch.tensor([tokens])).logits[0, -1].argmax().item())
        written = tokens[-12:]
        assert 0 not in written
        assert reply == Reply(
            text=tokenizer.decode(written),
            refused=False,
            finish_reason="length",
            prompt_tokens=len(tokens) - 12,
            completion_tokens=12,
            cached_tokens=None,
            dialect="text",
        )


def test_an_answer_that_ends_is_told_from_one_cut_off(teacher, altered):
    """Whatever the others in its batch do; the token that ends it is counted and not shown."""
    first, second = ask(teacher(), question(SUBJECTS[0]), question(SUBJECTS[2]))
    place = next(n for n in range(2, 12) if first.text[n] not in first.text[:n] + second.text)
    from transformers import AutoTokenizer

    number = AutoTokenizer.from_pretrained(teacher().spec.teacher.model)(first.text[place])["input_ids"][0]
    folder = altered("generation_config.json", eos_token_id=[0, number])
    ended, cut = ask(teacher(model=str(folder)), question(SUBJECTS[0]), question(SUBJECTS[2]))
    assert (ended.text, ended.finish_reason, ended.completion_tokens) == (first.text[:place], "stop", place + 1)
    assert cut == second
    assert ended.prompt_tokens == first.prompt_tokens


def test_sampling_is_reproducible_for_a_request_alone(teacher):
    import torch

    task = teacher(temperature=1.5)
    before = torch.random.get_rng_state()
    texts = {
        ask(task, question("waves", sample), attempt=attempt)[0].text
        for sample, attempt in ((0, 0), (0, 0), (1, 0), (0, 1))
    }
    assert len(texts) == 3
    assert torch.equal(torch.random.get_rng_state(), before)
    # Two samples of one prompt, in one batch.
    assert len({reply.text for reply in ask(task, question("waves", 0), question("waves", 1))}) == 2


def test_sampling_parameters_reach_the_model(teacher, altered, seen):
    ask(teacher(temperature=0.7, top_p=0.9, extra={"top_k": 3}), question("a"))
    told = seen.calls[0]
    assert (told["do_sample"], told["temperature"], told["top_p"], told["top_k"]) == (True, 0.7, 0.9, 3)
    # Left to the model, whose own settings make it greedy or not.
    own = altered("generation_config.json", do_sample=True, temperature=5.0, top_k=0)
    greedy = ask(teacher(), question("a"))
    assert ask(teacher(temperature=None), question("a")) == greedy
    assert ask(teacher(temperature=None, model=str(own)), question("a")) != greedy
    assert ask(teacher(temperature=0, model=str(own)), question("a")) == greedy


# Failures


def test_a_key_that_generate_does_not_know_is_named(teacher):
    errors = ask(teacher(extra={"frequency_penalty": 1}), question("a"), question("b"))
    assert [type(error) for error in errors] == [TeacherUnavailable] * 2
    assert "frequency_penalty" in str(errors[0])
    assert "teacher.extra" in str(errors[0])


@pytest.mark.parametrize("model", ["./absent", "~/absent", "/absent/model", "models/of/mine"])
def test_a_missing_folder_is_named(teacher, model):
    task = teacher(model=model)
    errors = ask(task, question("a"), question("b"))
    assert [type(error) for error in errors] == [TeacherUnavailable] * 2
    assert str(task.path(model)) in str(errors[0])
    assert "correct teacher.model in task small" in str(errors[0])


def test_a_relative_folder_starts_at_the_task(teacher, altered, seen):
    folder = altered("config.json")
    task = teacher(model="tiny")
    folder.rename(task.folder / "tiny")
    assert ask(task, question("a"))[0].completion_tokens == 12


def test_a_hub_that_cannot_be_reached_is_told(teacher, monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    error = ask(teacher(model="nobody/nothing"), question("a"))[0]
    assert isinstance(error, TeacherUnavailable)
    assert "'nobody/nothing' cannot be loaded" in str(error)
    assert "download it first" in str(error)


def test_models_of_other_kinds_are_refused(teacher, tiny_student):
    error = ask(teacher(model=str(tiny_student)), question("a"))[0]
    assert isinstance(error, TeacherUnavailable)
    assert "it is no causal language model: it has no weights for" in str(error)


def test_weights_that_are_not_safetensors_are_refused(teacher, altered):
    import torch
    from safetensors.torch import load_file

    folder = altered("config.json")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    error = ask(teacher(model=str(folder)), question("a"))[0]
    assert isinstance(error, TeacherUnavailable)
    assert "safetensors" in str(error).split("\n")[0]


def test_the_model_is_not_loaded_again_after_it_failed(teacher, monkeypatch):
    tried = []
    real = causal_lm._place
    monkeypatch.setattr(causal_lm, "_place", lambda task: tried.append(task) or real(task))
    task = teacher(model="./absent")

    async def run() -> None:
        model = LocalModel(task)
        for _ in range(2):
            with pytest.raises(TeacherUnavailable, match="no folder"):
                await model.ask(question("a"), "{}", 0)
        await model.close()

    asyncio.run(run())
    assert len(tried) == 1


# Closing


def test_closing_ends_the_thread_and_frees_the_model(teacher, monkeypatch):
    import weakref

    models = []
    real = causal_lm._from_pretrained

    def kept(*said: Any) -> Any:
        model, tokenizer = real(*said)
        models.append(weakref.ref(model))
        return model, tokenizer

    monkeypatch.setattr(causal_lm, "_from_pretrained", kept)
    task = teacher()

    async def run() -> None:
        model = LocalModel(task)
        await model.ask(question("a"), "{}", 0)
        assert len(threads()) == 1
        assert models[0]() is not None
        await model.close()
        assert threads() == []
        assert models[0]() is None
        with pytest.raises(TeacherUnavailable, match="closed"):
            await model.ask(question("a"), "{}", 0)
        await model.close()

    asyncio.run(run())
    assert threads() == []


def test_closing_stops_an_answer_being_written(teacher, seen):
    task = teacher(concurrency=1)
    seen.endless = 1

    async def run() -> list[Any]:
        model = LocalModel(task)
        asked = [asyncio.create_task(model.ask(question(subject), "{}", 0)) for subject in ("a", "b")]
        assert await asyncio.to_thread(seen.began.wait, 60)
        await model.close()
        return await asyncio.gather(*asked, return_exceptions=True)

    errors = asyncio.run(run())
    assert [type(error) for error in errors] == [TeacherUnavailable] * 2
    assert "closed" in str(errors[0])
    assert seen.sizes == [1]
    assert threads() == []


def test_an_answer_nobody_waits_for_does_not_hold_up_others(teacher, seen):
    task = teacher(concurrency=1)
    seen.endless = 1

    async def run() -> Reply:
        model = LocalModel(task)
        given_up = asyncio.create_task(model.ask(question("a"), "{}", 0))
        assert await asyncio.to_thread(seen.began.wait, 60)
        given_up.cancel()
        reply = await model.ask(question("b"), "{}", 0)
        with pytest.raises(asyncio.CancelledError):
            await given_up
        await model.close()
        return reply

    assert asyncio.run(run()) == ask(task, question("b"))[0]
