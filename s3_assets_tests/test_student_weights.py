"""Checkpoints: verified before they are loaded, named where they are missing; and the device a student runs on."""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest

from s3_assets.student import device, weights
from s3_assets.student.device import Device
from s3_assets.student.model import Student, fresh_student
from s3_assets.student.train import train_student
from s3_assets.student.weights import MINILM_SHA256, WeightsError, resolve_weights, verify, weights_digest
from s3_assets.tasks.student_spec import StudentSpec
from s3_assets_tests.tiny_student import LABELS, toy_rows

# Weights


def test_minilm_is_verified_and_a_corrupted_copy_refused(tmp_path):
    folder = Path(resolve_weights("minilm"))
    assert weights_digest(folder) == MINILM_SHA256
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match=r"SHA-256 .* expected 53aa.*reinstall"):
        verify(tmp_path, MINILM_SHA256)
    with pytest.raises(WeightsError, match=r"no such file; reinstall"):
        verify(tmp_path / "absent", MINILM_SHA256)


def test_minilm_is_refused_before_it_is_loaded(monkeypatch):
    monkeypatch.setattr(weights, "MINILM_SHA256", "0" * 64)
    with pytest.raises(WeightsError, match="expected 000"):
        fresh_student("minilm", LABELS, 32)


def test_without_the_package_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(WeightsError, match="install it with pip"):
        resolve_weights("minilm")


def test_folders_and_hub_names(tmp_path):
    assert resolve_weights(str(tmp_path)) == str(tmp_path)
    assert resolve_weights("distilbert-base-uncased") == "distilbert-base-uncased"
    assert resolve_weights("owner/name") == "owner/name"
    for path in ("./absent", "/absent", "~/absent", "models/of/mine"):
        with pytest.raises(WeightsError, match="no such folder"):
            resolve_weights(path)


def test_minilm_trains(tmp_path):
    spec = StudentSpec(epochs=2, min_steps=0, learning_rate=2e-4)
    done = train_student(toy_rows(60, 0), toy_rows(20, 1), LABELS, spec, seed=0)
    assert done.history[-1]["training_loss"] < done.history[0]["training_loss"]
    done.student.save(tmp_path / "m_1")
    assert weights_digest(tmp_path / "m_1") != MINILM_SHA256
    assert Student.load(tmp_path / "m_1").max_length == 256


def test_another_purpose_of_a_checkpoint_is_not_kept(tiny_student, tmp_path):
    """A pipeline gives sigmoids for multi_label_classification, which are no probabilities of one label."""
    place = shutil.copytree(tiny_student, tmp_path / "other")
    config = json.loads((place / "config.json").read_text())
    (place / "config.json").write_text(json.dumps(config | {"problem_type": "multi_label_classification"}))
    fresh_student(str(place), LABELS, 32).save(tmp_path / "m_1")
    assert json.loads((tmp_path / "m_1" / "config.json").read_text())["problem_type"] == "single_label_classification"


# Device


def test_device_is_named_with_its_number_format():
    import torch

    assert str(Device("cuda", bf16=True)) == "cuda/bfloat16"
    assert str(Device("cpu", bf16=False)) == "cpu/float32"
    with Device("cpu", bf16=True).autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
    with Device("cpu", bf16=False).autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


@pytest.mark.parametrize(
    ("features", "expected"),
    [({"avx2": True}, "cpu/float32"), ({"avx512_bf16": True}, "cpu/bfloat16"), ({"amx_bf16": True}, "cpu/bfloat16")],
)
def test_bfloat16_where_the_processor_has_it(monkeypatch, features, expected):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features)
    assert str(device.pick_device()) == expected


def test_a_student_trains_in_bfloat16(tiny_student, monkeypatch):
    from s3_assets.student import model

    monkeypatch.setattr(model, "pick_device", lambda: Device("cpu", bf16=True))
    # Few steps: where the processor only emulates bfloat16 they are slow.
    two = StudentSpec(weights=str(tiny_student), epochs=2, min_steps=0, learning_rate=3e-3, max_length=32)
    done = train_student(toy_rows(32, 0), toy_rows(8, 1), LABELS, two, seed=0)
    assert done.device == "cpu/bfloat16"
    assert done.history[-1]["training_loss"] < 1
    assert {values.dtype.is_floating_point and str(values.dtype) for values in done.student.model.parameters()} == {
        "torch.float32"
    }
