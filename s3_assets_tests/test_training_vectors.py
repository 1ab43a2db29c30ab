"""Vectors that a round's training asks for: each text computed once, kept, and shared by students and weights."""

import inspect
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from s3_assets.drift import vectors as kept
from s3_assets.loop.text_vectors import CUT, TextVectors, serve
from s3_assets.store.columns import ROUND_KEYS
from s3_assets.store.parts import Warehouse
from s3_assets.student import embeddings
from s3_assets.tasks.student_spec import StudentSpec
from s3_assets_tests.tiny_student import make_tiny_student, toy_rows
from s3_assets_tests.trained_rounds import gold_rows, seed_rows, trainer


@pytest.fixture(scope="module")
def gold() -> pl.DataFrame:
    return gold_rows()


@pytest.fixture(scope="module")
def seed_set(gold) -> pl.DataFrame:
    return seed_rows(gold)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return make_tiny_student(tmp_path_factory.mktemp("student") / "toy", toy_rows(200, 5)["text"].to_list())


@pytest.fixture
def trained(tmp_path, checkpoint, gold, seed_set, monkeypatch):
    return trainer(tmp_path, checkpoint, gold, seed_set, monkeypatch)


@pytest.fixture
def warehouse(tmp_path) -> Warehouse:
    return Warehouse(tmp_path / "vectors")


@pytest.fixture
def embedded(monkeypatch) -> list[list[str]]:
    """Texts that were embedded, by call: letters counted, in place of the encoder."""
    asked: list[list[str]] = []

    def embed(texts: list[str], _: str) -> np.ndarray:
        asked.append(sorted(texts))
        found = np.zeros((len(texts), 384), np.float32)
        found[:, 0] = [len(text) for text in texts]
        return found

    monkeypatch.setattr(embeddings, "embed", embed)
    return asked


def test_each_text_is_embedded_once_and_read_once(warehouse, embedded, monkeypatch):
    reads: list[int] = []
    read = kept.kept_vectors
    monkeypatch.setattr(kept, "kept_vectors", lambda *given: reads.append(1) or read(*given))
    vectors = TextVectors(warehouse, "small", StudentSpec())
    found = vectors(["ab", "abc", "ab", ""])
    assert found[:, 0].tolist() == [2, 3, 2, 0]
    assert found.dtype == np.float32
    assert embedded == [["", "ab", "abc"]]
    count = len(reads)
    assert vectors(["abc"])[:, 0].tolist() == [3]
    assert len(reads) == count
    assert vectors(["abc", "abcd"])[:, 0].tolist() == [3, 4]
    assert embedded[1:] == [["abcd"]]
    assert vectors([]).shape == (0, 384)
    # Another arm, another step: nothing is embedded again.
    assert TextVectors(warehouse, "small", StudentSpec())(["abcd", "ab"])[:, 0].tolist() == [4, 2]
    assert len(embedded) == 2


def test_kept_vectors_serve_students_that_would_compute_the_same():
    assert inspect.signature(embeddings.embed).parameters["max_length"].default == CUT
    for student in (StudentSpec(), StudentSpec(kind="frozen")):
        assert serve(student)
        assert not serve(student.model_copy(update={"weights": "/some/folder"}))
        assert not serve(student.model_copy(update={"max_length": 64}))


@pytest.mark.parametrize("kind", ["frozen", "fine_tuned"])
def test_what_weighs_and_what_learns_share_vectors_of_the_student_s_checkpoint(trained, checkpoint, kind, monkeypatch):
    """Over all students of a round each text is embedded once; none by another encoder."""
    asked: list[str] = []

    def embed(texts: list[str], weights: str, max_length: int) -> np.ndarray:
        assert (weights, max_length) == (str(checkpoint), 32)
        asked.extend(texts)
        return np.array([[text.count("l"), text.count("u"), len(text) / 99] for text in texts], np.float32)

    monkeypatch.setattr(embeddings, "embed", embed)
    for elsewhere in ("loop.text_vectors.row_vectors", "quality.ensemble.embed", "student.frozen.Encoder"):
        monkeypatch.setattr(f"s3_assets.{elsewhere}", lambda *_, **__: pytest.fail("not the held vectors"))
    done = trained("held", student={"kind": kind, "max_length": 32}, cross_fit=2, weights="both")
    assert len(done.given) == 3
    assert set(done.given[-1]["text"]) < set(asked)
    assert len(asked) == len(set(asked))


def test_a_frozen_student_is_given_kept_vectors(trained, monkeypatch):
    """Every text once, over all students of a round; those of test gold too, which are asked about."""
    asked: list[str] = []

    def row_vectors(_: Warehouse, task: str, rows: pl.DataFrame, fields: list[str]) -> np.ndarray:
        assert (task, list(fields)) == ("small", ["text"])
        asked.extend(rows["text"].to_list())
        found = np.zeros((rows.height, 384), np.float32)
        found[:, :2] = [[text.count("l"), len(text)] for text in rows["text"]]
        return found

    monkeypatch.setattr("s3_assets.loop.text_vectors.row_vectors", row_vectors)
    done = trained("frozen", student={"kind": "frozen", "weights": "minilm"}, cross_fit=2)
    assert len(done.given) == 3
    assert len(asked) == len(set(asked))
    assert set(done.given[-1]["text"]) < set(asked)
    assert set(done.round.predictions.select(ROUND_KEYS).row(0)) == {"small", "own", 0, 1}
