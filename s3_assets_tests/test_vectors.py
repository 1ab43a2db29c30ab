"""Vectors of rows: each distinct text computed once, by whom ever it is wanted, and kept."""

import subprocess
import sys
import threading

import numpy as np
import polars as pl
import pytest

from s3_assets.drift import vectors
from s3_assets.drift.vectors import EMBEDDINGS, ENCODER, kept_vectors, row_vectors
from s3_assets.store.catalog import build_catalog, connect
from s3_assets.store.drift_tables import DIMENSIONS
from s3_assets.store.identity import text_id
from s3_assets.store.parts import Warehouse
from s3_assets_tests.fakes import REPOSITORY

SCHEMA = {"text": pl.String, "text2": pl.String}


class Encoder:
    """Stands for ``student.embeddings.embed``: a vector of each text's length and letters; keeps what it was asked."""

    def __init__(self):
        self.asked = []
        self.fails_after = None

    def __call__(self, texts, weights):
        assert weights == ENCODER
        if self.fails_after is not None and len(self.asked) >= self.fails_after:
            raise KeyboardInterrupt
        self.asked.append(list(texts))
        return np.stack([vector_of(text) for text in texts]) if texts else np.zeros((0, DIMENSIONS), np.float32)

    @property
    def texts(self):
        return [text for call in self.asked for text in call]


def vector_of(text):
    found = np.zeros(DIMENSIONS, np.float32)
    found[len(text) % DIMENSIONS] = 0.6
    found[(len(text) + 1 + ord(text[0])) % DIMENSIONS] = 0.8
    return found


@pytest.fixture
def encoder(monkeypatch):
    found = Encoder()
    monkeypatch.setattr("s3_assets.student.embeddings.embed", found)
    return found


@pytest.fixture
def warehouse(tmp_path):
    return Warehouse(tmp_path / "warehouse")


def frame(*rows):
    return pl.DataFrame([row if isinstance(row, tuple) else (row, None) for row in rows], SCHEMA, orient="row")


def test_rows_get_their_vectors_in_order_and_each_text_is_computed_once(encoder, warehouse):
    found = row_vectors(warehouse, "small", frame("b bb", "a", "b bb"), ("text",))
    assert (found == np.stack([vector_of("b bb"), vector_of("a"), vector_of("b bb")])).all()
    assert (found.dtype, found.shape) == (np.float32, (3, DIMENSIONS))
    assert sorted(encoder.texts) == ["a", "b bb"]
    again = row_vectors(warehouse, "small", frame("c", "a"), ("text",))
    assert (again == np.stack([vector_of("c"), vector_of("a")])).all()
    assert sorted(encoder.texts) == ["a", "b bb", "c"]
    # Another task has its own.
    row_vectors(warehouse, "other", frame("a"), ("text",))
    assert encoder.texts.count("a") == 2


def test_all_texts_of_a_row_are_one_text(encoder, warehouse):
    row_vectors(warehouse, "small", frame(("one", "two"), ("one", None)), ("text", "text2"))
    assert sorted(encoder.texts) == ["one", "one\ntwo"]
    row_vectors(warehouse, "small", frame(("other", "one")), ("text2",))
    assert len(encoder.texts) == 2


def test_no_rows_need_no_encoder(encoder, warehouse):
    assert row_vectors(warehouse, "small", frame(), ("text",)).shape == (0, DIMENSIONS)
    assert encoder.asked == []


def test_the_table_holds_identity_encoder_and_vector(encoder, warehouse):
    row_vectors(warehouse, "small", frame("a"), ("text",))
    (part,) = warehouse.parts(EMBEDDINGS, {"task": "small"})
    row = part.read().row(0, named=True)
    assert (row["task"], row["text_id"], row["encoder"]) == ("small", text_id("a"), "minilm")
    assert np.array_equal(np.array(row["embedding"], np.float32), vector_of("a"))


def test_a_step_that_is_killed_keeps_the_chunks_it_computed(encoder, warehouse, monkeypatch):
    monkeypatch.setattr(vectors, "CHUNK", 2)
    texts = ["a", "bb", "ccc", "dddd", "eeeee"]
    encoder.fails_after = 2
    with pytest.raises(KeyboardInterrupt):
        row_vectors(warehouse, "small", frame(*texts), ("text",))
    encoder.fails_after = None
    found = row_vectors(warehouse, "small", frame(*texts), ("text",))
    assert (found == np.stack([vector_of(text) for text in texts])).all()
    assert sorted(encoder.texts) == texts


@pytest.mark.parametrize("left", [0, 0.5])
def test_a_damaged_part_is_passed_over_and_its_texts_are_embedded_again(encoder, warehouse, caplog, left):
    row_vectors(warehouse, "small", frame("a", "bb"), ("text",))
    row_vectors(warehouse, "small", frame("ccc"), ("text",))
    damaged = warehouse.parts(EMBEDDINGS, {"task": "small"})[0].path
    content = damaged.read_bytes()
    damaged.write_bytes(content[: int(left * len(content))])
    ids = [text_id(text) for text in ("a", "bb", "ccc")]
    kept = kept_vectors(warehouse, "small", ids)
    assert list(kept) == ids[2:]
    assert np.array_equal(kept[ids[2]], vector_of("ccc"))
    assert str(damaged) in caplog.text
    found = row_vectors(warehouse, "small", frame("a", "bb", "ccc"), ("text",))
    assert (found == np.stack([vector_of(text) for text in ("a", "bb", "ccc")])).all()
    assert sorted(encoder.texts) == ["a", "a", "bb", "bb", "ccc"]
    assert set(kept_vectors(warehouse, "small", ids)) == set(ids)


def test_threads_that_want_the_same_texts_take_turns(encoder, warehouse):
    rows, found = frame(*(f"text {number}" for number in range(50))), []
    threads = [
        threading.Thread(target=lambda: found.append(row_vectors(warehouse, "small", rows, ("text",))))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all((one == found[0]).all() for one in found)
    assert len(encoder.asked) == 1


def test_processes_that_want_the_same_texts_take_turns(warehouse):
    """Each says how many texts it computed; computing takes long enough for both to have begun."""
    code = """
import sys, time
from pathlib import Path
import numpy as np, polars as pl
import s3_assets.student.embeddings as embeddings
from s3_assets.drift.vectors import row_vectors
from s3_assets.store.parts import Warehouse
def embed(texts, weights):
    time.sleep(1)
    print(len(texts))
    return np.full((len(texts), 384), 1 / 384**0.5, np.float32)
embeddings.embed = embed
rows = pl.DataFrame({"text": [f"text {number}" for number in range(int(sys.argv[2]))]})
sys.stdin.read(1)
assert row_vectors(Warehouse(Path(sys.argv[1])), "small", rows, ("text",)).shape == (rows.height, 384)
"""
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(warehouse.root), count],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for count in ("30", "40")
    ]
    for process in running:
        process.stdin.write("x")
        process.stdin.flush()
    said = [int(line) for process in running for line in process.communicate()[0].split()]
    assert [process.returncode for process in running] == [0, 0]
    assert sum(said) == 40


@pytest.mark.parametrize(
    "texts",
    [("a film", None), ("premise", "hypothesis"), ("", None), ("", ""), ("naïve 天气\n'x'", "\u200b"), (None, "q")],
)
def test_identity_is_the_same_in_sql(warehouse, texts):
    build_catalog(warehouse)
    with connect(warehouse) as sql:
        assert sql.execute("select text_id(?::varchar, ?::varchar)", list(texts)).fetchall() == [(text_id(*texts),)]
