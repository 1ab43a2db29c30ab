"""What is left of a misbehaving teacher's rows after the gates, on real text (more: ``benchmarks/quality.py``)."""

import polars as pl
import pytest

from s3_assets.loop.fingerprints import loop_key
from s3_assets.loop.steps import make_extrapolated_set, make_gold, make_seed_set
from s3_assets.quality.near import count_near_duplicates
from s3_assets.quality.overlap import Grams, gold_texts, text_key
from s3_assets.quality.repairs import without_quotes
from s3_assets.quality.words import words
from s3_assets.store.parts import Warehouse
from s3_assets_tests.simulated_teacher import KEY_VARIABLE, packs_folder, simulated_teacher, write_pack_task

pytestmark = pytest.mark.packs


@pytest.fixture(scope="module", params=["sentiment_mr", "topic_clinc10", "nli_sick"])
def loop(request, tmp_path_factory):
    """A pack, and the seed set of round 1 with what was refused on the way; nothing is trained."""
    place, packs = tmp_path_factory.mktemp(request.param), packs_folder()
    with pytest.MonkeyPatch.context() as patch, simulated_teacher(packs, request.param) as teacher:
        patch.setenv(KEY_VARIABLE, "simulated")
        task = write_pack_task(place, packs / request.param, "pack", teacher.url, strategy="goldgen")
        warehouse = Warehouse(place / "warehouse")
        gold = make_gold(task, warehouse).rows
        make_seed_set(task, warehouse, 0)
        make_extrapolated_set(task, warehouse, 0)
        made = make_seed_set(task, warehouse, 1)
    refused = pl.concat(
        warehouse.live("rejected", {**loop_key(task, 0).columns(), "asset": asset}).read()
        for asset in ("seed_set", "extrapolated_set")
    )
    pool = pl.read_parquet(packs / request.param / "pool.parquet")
    return task, gold, made, refused.filter(pl.col("stage") == "row"), pool


def test_what_a_teacher_does_wrong_is_gone(loop):
    task, gold, made, refused, _ = loop
    rows, fields = made.rows, task.spec.text_fields
    assert "refusal" in set(refused["gate"])
    assert rows.filter(pl.col("repairs").str.contains("quotes")).height > 5
    for name in fields:
        assert not rows[name].str.to_lowercase().str.contains("as an ai language model").any()
        assert not rows[name].str.contains(r'^".*"$').any()
    keys = [text_key(row, fields) for row in rows.iter_rows(named=True)]
    assert len(set(keys)) == len(keys)
    assert not set(keys) & set(gold_texts(gold, fields))
    held_out = gold.filter(pl.col("split") != "steer").select(fields)
    grams = Grams(text for row in held_out.iter_rows() for text in row)
    assert not [row for row in rows.select(fields).iter_rows() if any(grams.any_of(words(text)) for text in row)]
    assert count_near_duplicates(rows, fields, 0.8) <= 0.02 * rows.height
    assert {check.name for check in made.checks if check.blocking and check.passed} == {
        "labels_known",
        "no_gold_text",
        "every_class_has_rows",
    }


def test_good_rows_are_kept(loop):
    """Good: a row of the pack under its label, that neither repeats another nor nearly is a row of gold."""
    task, _, made, refused, pool = loop
    fields = task.spec.text_fields

    def key(row):
        return tuple(" ".join(words(without_quotes((row[name] or "").strip()))) for name in fields)

    truth = {key(row): row["label"] for row in pool.iter_rows(named=True)}
    repeats = ["duplicate", "near_duplicate", "gold_copy", "echo", "held_out_gold"]
    lost = refused.filter(~pl.col("gate").is_in(repeats))
    good_lost = [row for row in lost.iter_rows(named=True) if truth.get(key(row)) == row["label"]]
    good_kept = [row for row in made.rows.iter_rows(named=True) if truth.get(key(row)) == row["label"]]
    assert len(good_kept) > 100
    assert len(good_lost) <= 0.05 * (len(good_lost) + len(good_kept))
