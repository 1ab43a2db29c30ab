"""A model in this process as the teacher: batches that change nothing, prompts, what is written and counted."""

import asyncio
import json
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from s3_assets.student.device import Device
from s3_assets.student.model import quiet
from s3_assets.tasks.load import Task
from s3_assets.teacher import causal_lm
from s3_assets.teacher.dialect import with_schema
from s3_assets.teacher.local import THREAD_NAME, LocalModel
from s3_assets.teacher.reply import NotAccepted, Reply, TeacherUnavailable
from s3_assets_tests.tiny_writer import (
    CONTEXT,
    SCHEMA,
    SUBJECTS,
    Seen,
    altered_copy,
    ask,
    listen,
    make_tiny_writer,
    question,
    rendered,
    task_of,
)

ONLY_USERS = """{% for m in messages %}{% if m.role != 'user' %}{{ raise_exception('only users') }}{% endif %}\
<{{ m.content }}>{% endfor %}{% if add_generation_prompt %}[answer]{% endif %}"""

pytestmark = pytest.mark.usefixtures("on_the_cpu")


@pytest.fixture
def on_the_cpu(monkeypatch) -> None:
    """In float32, where batches of any shape give the same most likely tokens."""
    monkeypatch.setattr(causal_lm, "pick_device", lambda: Device("cpu", bf16=False))


@pytest.fixture(scope="module")
def writer(tmp_path_factory) -> Path:
    return make_tiny_writer(tmp_path_factory.mktemp("writer") / "tiny")


@pytest.fixture
def teacher(tmp_path, writer) -> Callable[..., Task]:
    return partial(task_of, tmp_path / "tasks", writer)


@pytest.fixture
def altered(tmp_path, writer) -> Callable[..., Path]:
    return partial(altered_copy, writer, tmp_path / "altered")


@pytest.fixture
def seen(monkeypatch) -> Seen:
    return listen(monkeypatch)


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
