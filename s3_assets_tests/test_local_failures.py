"""A model in this process as the teacher: what is said where it cannot be loaded or asked, and how it ends."""

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from s3_assets.student.device import Device
from s3_assets.tasks.load import Task
from s3_assets.teacher import causal_lm
from s3_assets.teacher.local import THREAD_NAME, LocalModel
from s3_assets.teacher.reply import Reply, TeacherUnavailable
from s3_assets_tests.tiny_writer import Seen, altered_copy, ask, listen, make_tiny_writer, question, task_of

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


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == THREAD_NAME]


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
