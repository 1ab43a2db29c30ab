"""Frozen students as one standard model: the same probabilities, whatever the encoder's last layer norm is."""

import dataclasses

import numpy as np
import polars as pl
import pytest

from s3_assets.export import frozen_encoder, model_folder
from s3_assets.export.errors import ExportError
from s3_assets.export.frozen_encoder import agreement, standard_model
from s3_assets.export.model_folder import write_model
from s3_assets.student.embeddings import embed
from s3_assets.student.frozen import FrozenStudent
from s3_assets.student.logistic import Logistic
from s3_assets.student.model import quiet
from s3_assets.student.train import train_student
from s3_assets.student.weights import MINILM
from s3_assets.tasks.student_spec import StudentSpec
from s3_assets_tests.exported import single_loop
from s3_assets_tests.fakes import DEMO_FOLDER
from s3_assets_tests.tiny_student import make_tiny_student

pytestmark = pytest.mark.usefixtures("float32")

TEXTS = pl.read_csv(DEMO_FOLDER / "gold.csv")["review"].to_list()
LABELS = ("good", "bad", "neither")


def student_on(weights, texts=TEXTS, labels=LABELS) -> FrozenStudent:
    """A head on the checkpoint that tells texts by chance, confidently: logits of some units."""
    vectors = embed(texts, str(weights))
    rng = np.random.default_rng(0)
    coefficients = rng.normal(size=(len(labels), vectors.shape[1]))
    spread = (vectors @ coefficients.T).std(axis=0).mean()
    coefficients *= 3 / spread
    intercepts = -(vectors @ coefficients.T).mean(axis=0)

    def vectors_of(some):
        return embed(some, str(weights), 64)

    return FrozenStudent(Logistic(coefficients, intercepts), labels, str(weights), 64, False, vectors_of)


def with_layer_norms(folder, scales, shifts):
    """The tiny checkpoint with layer norms as a trained one has them."""
    import torch
    from transformers import AutoModel

    make_tiny_student(folder, TEXTS)
    with quiet():
        model = AutoModel.from_pretrained(folder)
        drawn = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for layer in model.encoder.layer:
                for norm in (layer.attention.output.LayerNorm, layer.output.LayerNorm):
                    norm.weight.add_(scales * torch.randn(norm.weight.shape, generator=drawn))
                    norm.bias.add_(shifts * torch.randn(norm.bias.shape, generator=drawn))
        model.save_pretrained(folder)
    return folder


def test_a_plain_layer_norm_loses_nothing(tiny_student):
    student = student_on(tiny_student)
    model, tokenizer = standard_model(student, ())
    found = agreement(student, model, tokenizer, TEXTS)
    assert (found.same, found.texts) == (len(TEXTS), len(TEXTS))
    assert found.largest < 1e-4
    assert tokenizer.model_max_length == 64
    assert model.config.num_hidden_layers == 3
    assert [model.config.id2label[number] for number in range(3)] == list(LABELS)


def test_a_trained_layer_norm_loses_next_to_nothing(tmp_path):
    student = student_on(with_layer_norms(tmp_path / "tiny", 0.1, 0.1))
    model, tokenizer = standard_model(student, TEXTS[:50])
    found = agreement(student, model, tokenizer, TEXTS)
    assert found.same == found.texts
    assert found.largest < 0.01
    # Without texts nothing is known of what is lost.
    blind, _ = standard_model(student, ())
    assert agreement(student, blind, tokenizer, TEXTS).largest > 2 * found.largest


def test_dimensions_that_the_layer_norm_silences(tmp_path):
    import torch
    from transformers import AutoModel

    folder = with_layer_norms(tmp_path / "tiny", 0.1, 0.0)
    with quiet():
        model = AutoModel.from_pretrained(folder)
        with torch.no_grad():
            model.encoder.layer[-1].output.LayerNorm.weight[[3, 17]] = 0
        model.save_pretrained(folder)
    student = student_on(folder)
    model, tokenizer = standard_model(student, ())
    assert agreement(student, model, tokenizer, TEXTS).largest < 1e-4


def test_minilm_is_exact():
    """The demo's gold: what ``student.kind: frozen`` is used with."""
    verdicts = pl.read_csv(DEMO_FOLDER / "gold.csv")["verdict"].to_list()[:48]
    texts = TEXTS[:48]
    kept = dict(zip(texts, embed(texts), strict=True))

    def vectors(some):
        return np.stack([kept[text] for text in some])

    rows = pl.DataFrame({"text": texts, "label": verdicts}).with_columns(text2=pl.lit(None, pl.String))
    spec = StudentSpec(kind="frozen", strength=30.0)
    trained = train_student(rows[:32], rows[:0], ("positive", "negative"), spec, 0, vectors=vectors).student
    model, tokenizer = standard_model(dataclasses.replace(trained, weights=MINILM), ())
    found = agreement(trained, model, tokenizer, texts)
    assert found.same == found.texts
    assert found.largest < 1e-4


def test_half_the_digits_are_enough(tiny_student):
    """The layer's large and small weights fit float16 and bfloat16, which students are often loaded in."""
    import torch

    student = student_on(tiny_student)
    rows = pl.DataFrame({"text": TEXTS[:30], "text2": None}, schema={"text": pl.String, "text2": pl.String})
    wanted = student.probabilities(rows)
    for dtype, most in ((torch.float16, 0.02), (torch.bfloat16, 0.15)):
        model, tokenizer = standard_model(student, ())
        batch = tokenizer(TEXTS[:30], padding=True, truncation=True, return_tensors="pt")
        with torch.inference_mode():
            said = torch.softmax(model.to(dtype)(**batch).logits.double(), dim=-1).numpy()
        assert np.abs(said - wanted).max() < most


def test_the_encoder_that_stands_in_for_a_model_that_reads_and_writes_is_told(tiny_student, tmp_path, monkeypatch):
    import transformers

    from s3_assets.student import embeddings

    transformers.T5Config(vocab_size=8, d_model=8, num_layers=1, num_heads=1).save_pretrained(tmp_path / "t5")
    for module in (embeddings, frozen_encoder):
        monkeypatch.setattr(module, "MINILM", str(tiny_student))
    for weights, stands_in in ((tmp_path / "t5", True), (tiny_student, False)):
        student = student_on(weights, TEXTS[:20])
        found = agreement(student, *standard_model(student, ()), TEXTS[:20])
        assert (found.stands_in, found.same) == (stands_in, 20)


def test_the_caller_s_random_state_stays(tiny_student):
    import torch

    student = student_on(tiny_student)
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    standard_model(student, ())
    assert torch.equal(torch.random.get_rng_state(), before)


def test_pairs_and_other_encoders_are_refused_with_what_to_do(tiny_student, tmp_path):
    from transformers import AutoTokenizer, DistilBertConfig, DistilBertModel

    student = student_on(tiny_student)
    with pytest.raises(ExportError, match=r"pairs.*student.kind: fine_tuned"):
        standard_model(dataclasses.replace(student, pairs=True), ())
    with quiet():
        tokenizer = AutoTokenizer.from_pretrained(tiny_student)
        config = DistilBertConfig(vocab_size=len(tokenizer), dim=32, n_layers=1, n_heads=2, hidden_dim=64)
        DistilBertModel(config).save_pretrained(tmp_path / "other")
    tokenizer.save_pretrained(tmp_path / "other")
    with pytest.raises(ExportError, match=r"type distilbert; only BERT.*fine_tuned"):
        standard_model(dataclasses.replace(student, weights=str(tmp_path / "other")), ())


def test_a_model_that_says_other_things_is_not_written(tiny_student, tmp_path, monkeypatch):
    student_on(tiny_student).save(tmp_path / "student")
    (tmp_path / "out").mkdir()

    def found(same):
        monkeypatch.setattr(model_folder, "agreement", lambda *_: frozen_encoder.Agreement(400, same, 0.2))
        return write_model(tmp_path / "student", tmp_path / "out", TEXTS[:5])

    with pytest.raises(ExportError, match="397 of 400 texts alone"):
        found(397)
    assert not any((tmp_path / "out").iterdir())
    assert found(398).same == 398
    assert (tmp_path / "out" / "model.safetensors").is_file()


def test_rounding_to_bfloat16_is_no_difference_of_the_model(tiny_student, tmp_path, monkeypatch):
    """On hardware that computes in it the student is asked in float32 all the same, as the model is."""
    student_on(tiny_student).save(tmp_path / "student")
    (tmp_path / "out").mkdir()
    monkeypatch.setattr("s3_assets.student.device._cpu_has_bf16", lambda: True)
    assert write_model(tmp_path / "student", tmp_path / "out", TEXTS).largest < 1e-4


def test_the_exported_folder_is_a_pipeline(tiny_student, tmp_path):
    from transformers import pipeline

    from s3_assets.export.folder import export_student
    from s3_assets.loop.best_student import choose_student
    from s3_assets.student.load import load_student

    task, warehouse = single_loop(tmp_path, tiny_student, student={"kind": "frozen"})
    done = export_student(task, warehouse, tmp_path / "out")
    assert done.model.agreement.same == done.model.agreement.texts > 100
    with quiet():
        classify = pipeline("text-classification", model=str(tmp_path / "out"))
    gold = warehouse.live("gold", {"task": task.name}).read()
    rows = gold.filter(pl.col("split") == "test").select("text", "text2")
    wanted = load_student(choose_student(task, warehouse).folder).predict(rows)
    found = classify(rows["text"].to_list(), truncation=True)
    assert [one["score"] for one in found] == pytest.approx(wanted["probability"].to_list(), abs=1e-4)
    assert [one["label"] for one in found] == wanted["prediction"].to_list()
    card = (tmp_path / "out" / "README.md").read_text()
    assert "one layer more" in card
    assert f"predicts for {done.model.agreement.same}; probabilities differ by" in card
