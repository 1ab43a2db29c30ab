"""A first round whose errors are known beforehand, and what it needs: vectors without an encoder, a teacher to ask.

Belongs here: helpers of the modules ``test_selection*.py`` that run steps. Does not belong here: tests.
"""

import hashlib
import json

import numpy as np
import polars as pl

from s3_assets.loop.fingerprints import loop_key
from s3_assets.loop.steps import make_extrapolated_set, make_gold, make_seed_set
from s3_assets.store.tables import table
from s3_assets_tests.fakes import facts, obliging
from s3_assets_tests.test_estimate import train


def embed_by_hash(monkeypatch) -> list[str]:
    """Vectors that follow from a hash of the text, without a model; gives the texts that were embedded."""
    seen: list[str] = []

    def embed(texts, *_):
        seen.extend(texts)
        drawn = [np.random.default_rng(list(hashlib.md5(text.encode()).digest())) for text in texts]
        vectors = np.stack([rng.standard_normal(384, np.float32) for rng in drawn])
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    monkeypatch.setattr("s3_assets.student.embeddings.embed", embed)
    return seen


def diagnosing(body, number):
    if body["response_format"]["json_schema"]["name"] == "diagnosis":
        return 200, json.dumps({"diagnosis": f"They\nare read too fast, {facts(body)['errors'][0]['label']}."})
    return obliging(body, number)


def live(warehouse, name, task, round_=0) -> pl.DataFrame:
    return warehouse.live(name, loop_key(task, round_).columns()).read()


def table_of(name) -> pl.DataFrame:
    return pl.DataFrame(schema=table(name).schema)


def first_round(task, warehouse, share=0.4) -> pl.DataFrame:
    """Gold, seed set, a model that gets ``share`` wrong and is sure of it all, and the extrapolated set."""
    make_gold(task, warehouse)
    make_seed_set(task, warehouse, 0)
    train(task, warehouse, 0, share)
    doubt = pl.when("correct").then(0.1).otherwise(0.9)
    predictions = live(warehouse, "predictions", task).with_columns(doubt=doubt)
    warehouse.write("predictions", loop_key(task, 0).columns(), predictions)
    return make_extrapolated_set(task, warehouse, 0).rows
