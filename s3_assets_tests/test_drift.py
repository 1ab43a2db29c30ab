"""Drift of a round: halvings, what is compared with what, and the rows of the table."""

import random
import re
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from s3_assets.drift.halvings import HALVINGS, REFERENCE_ROWS, draw_halvings, summarise
from s3_assets.drift.measures import FEWEST_OF_A_LABEL, measure_drift
from s3_assets.drift.names import GOLD_STEER, ROUNDS_BEFORE, TEXT_METRICS, VECTOR_METRICS
from s3_assets.loop.fingerprints import loop_key
from s3_assets.loop.progress import round_figures
from s3_assets.loop.steps import (
    make_drift,
    make_error_set,
    make_extrapolated_set,
    make_gold,
    make_seed_set,
    make_trained_model,
)
from s3_assets.store.identity import digest
from s3_assets.store.parts import Warehouse
from s3_assets_tests.fakes import REPOSITORY, write_task

LABELS = ("a", "b")
DISTANCES = ("length_wasserstein", "vocabulary_js", "oov_share", "mmd2", "frechet", "c2st_auc")


def made_up(count, seed, kind="plain", first_round=0, labels=LABELS, different=40):
    """Rows of words from one of two vocabularies, with text2 for pairs."""
    rng = random.Random(seed)
    words = [f"{kind}{number}" for number in range(different)]
    most = {"plain": 9, "far": 14}[kind]
    texts = [" ".join(rng.choices(words, k=rng.randint(4, most))) for _ in range(2 * count)]
    return pl.DataFrame(
        {
            "text": texts[:count],
            "text2": texts[count:],
            "label": [labels[number % len(labels)] for number in range(count)],
            "first_round": [first_round] * count,
        }
    )


def vectors(rows):
    """A vector for each text, the same each time; those of the other vocabulary lie apart."""
    found = np.empty((rows.height, 6), np.float32)
    for place, texts in enumerate(rows.select(pl.col("^text2?$")).iter_rows()):
        found[place] = np.random.default_rng(int(digest(list(texts)), 16)).normal(size=6)
        found[place, 0] += 2 * texts[0].startswith("far")
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def measure(seed_set, steer, round_=0, labels=LABELS, fields=("text", "text2"), seed=0, given=vectors):
    return measure_drift(seed_set, steer, round_, labels, fields, seed, given)


def one(found, metric, label=None, reference=GOLD_STEER):
    return found.row(by_predicate=pl.all_horizontal(*is_(metric, label, reference)), named=True)


def is_(metric, label, reference):
    return pl.col("metric") == metric, pl.col("label").eq_missing(label), pl.col("reference") == reference


def test_halves_are_apart_and_as_large_as_what_is_compared_with_them():
    draws = draw_halvings(np.arange(100), np.arange(100, 131), np.random.default_rng(0))
    assert len(draws) == HALVINGS
    for draw in draws:
        assert [len(set(rows)) for rows in (draw.synthetic, draw.half, draw.other)] == [15, 15, 15]
        assert not set(draw.half) & set(draw.other)
        assert max(draw.synthetic) < 100 <= min(*draw.half, *draw.other)
    assert len({tuple(draw.other) for draw in draws}) == HALVINGS


@pytest.mark.parametrize(("count", "drawn"), [(1, 1), (6, 3), (20, 10), (39, 19), (40, 20), (41, 20)])
def test_with_few_synthetic_rows_they_are_halved_too_and_the_half_is_cut(count, drawn):
    draws = draw_halvings(np.arange(count), np.arange(100, 140), np.random.default_rng(0))
    for draw in draws:
        assert [len(set(rows)) for rows in (draw.synthetic, draw.half, draw.other)] == [drawn, drawn, 20]
    assert {row for draw in draws for row in draw.synthetic} == set(range(count))


def test_a_large_reference_is_cut_first_and_a_small_one_not_halved():
    draws = draw_halvings(np.arange(5000), np.arange(5000, 9000), np.random.default_rng(0))
    assert len({row for draw in draws for row in (*draw.half, *draw.other)}) == REFERENCE_ROWS
    (draw,) = draw_halvings(np.arange(9), np.arange(9, 12), np.random.default_rng(0))
    assert (len(draw.synthetic), draw.half, len(draw.other)) == (9, None, 3)
    (draw,) = draw_halvings(np.arange(9, 9000), np.arange(3), np.random.default_rng(0))
    assert (len(set(draw.synthetic)), min(draw.synthetic) >= 9, len(draw.other)) == (REFERENCE_ROWS, True, 3)


def test_halves_vary_as_the_whole_reference_does():
    """The standard error of a mean of 40 rows, from halves of one sample of 40."""
    sample = np.random.default_rng(1).normal(size=40)
    rows = np.arange(40)
    draws = [draw for seed in range(20) for draw in draw_halvings(rows, rows, np.random.default_rng(seed))]
    found = np.std([sample[draw.other].mean() for draw in draws])
    assert found == pytest.approx(sample.std(ddof=1) / np.sqrt(40), rel=0.1)


def test_value_interval_and_floor_are_of_the_draws():
    found = summarise(list(range(101)), [1.0, 3.0])
    assert (found.value, found.ci_low, found.ci_high, found.floor) == (50, 2.5, 97.5, 2)
    found = summarise([4.0], [])
    assert (found.value, found.ci_low, found.ci_high, found.floor) == (4, None, None, None)


def test_the_same_distribution_is_at_its_floor_and_another_is_far_from_it():
    steer = made_up(120, 0)
    near, far = measure(made_up(300, 1), steer), measure(made_up(300, 2, "far"), steer)
    for metric in DISTANCES:
        same, other = one(near, metric), one(far, metric)
        assert same["ci_low"] <= same["floor"] <= same["ci_high"], metric
        assert other["ci_low"] > same["ci_high"], metric
        assert other["ci_low"] > other["floor"], metric
        # The floor is gold's, whatever it is compared with.
        assert same["floor"] == pytest.approx(other["floor"]), metric
    for metric in ("coverage", "density"):
        same = one(near, metric)
        assert same["ci_low"] <= same["floor"] <= same["ci_high"], metric
    assert one(far, "coverage")["ci_high"] < one(far, "coverage")["floor"]
    assert one(near, "mmd2_p")["value"] > 0.05
    assert one(far, "mmd2_p")["value"] == 1 / 500
    assert one(near, "c2st_auc")["value"] == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("count", [18, 60, 240])
def test_floors_lie_within_intervals_where_nothing_differs(monkeypatch, count):
    """Half of 120 reference rows, 0.3 times as many synthetic rows, as many, and four times as many."""
    monkeypatch.setattr("s3_assets.drift.measures.CLASSIFIER_DRAWS", 0)
    trials = [
        measure(
            made_up(count, 2 * seed + 1, labels=("a",), different=100),
            made_up(120, 2 * seed, labels=("a",), different=100),
            0,
            ("a",),
            seed=seed,
        )
        for seed in range(8)
    ]
    found = pl.concat(trials).filter(pl.col("floor").is_not_null())
    # A share may be at its bound in nearly all draws: every pair of words another, every word known.
    bounded = pl.col("metric").is_in(["distinct_2", "oov_share"]) & pl.col("ci_low").is_in([0.0, 1.0])
    assert found.filter(~bounded).select((pl.col("ci_high") > pl.col("ci_low")).all()).item()
    within = found.group_by("metric").agg(
        ((pl.col("ci_low") <= pl.col("floor")) & (pl.col("floor") <= pl.col("ci_high"))).mean()
    )
    assert {"vocabulary_js", "distinct_1", "distinct_2", "vendi", "mmd2"} <= set(within["metric"])
    assert within["ci_low"].min() > 0.5, within


def steep(pool, seed):
    """Vectors of width 96 whose variances fall slowly: components fitted on few rows hold those rows' noise."""
    found = np.random.default_rng([seed, 7]).normal(size=(pool.height, 96)) * (1 + np.arange(96)) ** -0.25
    return np.float32(found / np.linalg.norm(found, axis=1, keepdims=True))


def test_frechet_is_at_its_floor_where_nothing_differs():
    differences = []
    for seed in range(8):
        rows, steer = made_up(160, 2 * seed + 1, labels=("a",)), made_up(60, 2 * seed, labels=("a",))
        found = measure(rows, steer, 0, ("a",), seed=seed, given=lambda pool, seed=seed: steep(pool, seed))
        frechet = one(found, "frechet")
        differences.append(frechet["value"] - frechet["floor"])
    assert abs(np.mean(differences)) < 3 * np.std(differences, ddof=1) / np.sqrt(len(differences))


def test_rounds_before_are_compared_in_the_components_of_steering_gold():
    """Synthetic rows differ most in a place where gold does not vary: no component of gold sees it."""

    def given(pool):
        first = pool["first_round"].to_numpy()
        scale = np.where(np.isnan(first)[:, None], [1, 1, 1, 0, 0, 0], [1, 1, 1, 0, 0, 3])
        found = np.random.default_rng(0).normal(size=(pool.height, 6)) * scale
        found[first == 1, 5] += 5
        return np.float32(found)

    seed_set = pl.concat([made_up(60, 1), made_up(60, 2, first_round=1)])
    found = measure(seed_set, made_up(60, 0), 1, given=given)
    assert one(found, "frechet", reference=ROUNDS_BEFORE)["value"] < 2
    assert one(found, "frechet")["value"] < 2


def test_diversity_stands_beside_that_of_as_many_gold_rows():
    steer = made_up(100, 0)
    # Three texts again and again.
    poor = pl.concat([made_up(6, 1)] * 40)
    for metric in ("distinct_1", "distinct_2", "vendi"):
        found = one(measure(poor, steer), metric)
        assert found["ci_high"] < found["floor"], metric
        found = one(measure(made_up(300, 2), steer), metric)
        assert found["ci_low"] <= found["floor"] <= found["ci_high"], metric


def test_every_metric_is_measured_over_all_and_by_label():
    seed_set = pl.concat([made_up(100, 1), made_up(80, 2, first_round=1)])
    found = measure(seed_set, made_up(80, 0), round_=1)
    every = {*TEXT_METRICS, *VECTOR_METRICS}
    for reference, n_ref, n_syn in ((GOLD_STEER, 80, 180), (ROUNDS_BEFORE, 100, 80)):
        for label in (None, *LABELS):
            rows = found.filter(pl.col("label").eq_missing(label), reference=reference)
            assert set(rows["metric"]) == (every if label is None else every - {"label_js"})
            assert rows["metric"].is_unique().all()
            share = 1 if label is None else 2
            assert set(rows.select("n_ref", "n_syn").iter_rows()) == {(n_ref // share, n_syn // share)}
    assert found.filter(pl.col("value").is_null() | pl.col("value").is_nan()).is_empty()
    assert set(found.filter(pl.col("floor").is_null())["metric"]) == {"mmd2_p"}
    assert found.select((pl.col("ci_low") > pl.col("ci_high")).any()).item() is False


def test_added_rows_are_compared_with_those_before_alone():
    before, added = made_up(100, 1), made_up(60, 2, "far", first_round=1)
    found = measure(pl.concat([before, added]), made_up(80, 0), round_=1)
    # The floor of the first is that between halves of the seed set before.
    assert one(found, "vocabulary_js", reference=ROUNDS_BEFORE)["value"] == pytest.approx(1)
    assert one(found, "vocabulary_js", reference=ROUNDS_BEFORE)["floor"] < 0.3
    assert one(found, "vocabulary_js")["value"] < 0.7
    for round_, rows in ((0, before), (1, before)):
        assert set(measure(rows, made_up(80, 0), round_)["reference"]) == {GOLD_STEER}


def test_without_vectors_their_metrics_are_left_out():
    found = measure(made_up(40, 1), made_up(40, 0), given=None)
    assert set(found["metric"]) == set(TEXT_METRICS)
    both = measure(made_up(40, 1), made_up(40, 0))
    # Draws are the same.
    assert both.filter(pl.col("metric").is_in(TEXT_METRICS)).equals(found)


def test_a_label_with_few_rows_on_a_side_is_left_out():
    steer, few = made_up(40, 0), made_up(FEWEST_OF_A_LABEL - 1, 1, labels=("b",))
    assert set(measure(pl.concat([made_up(40, 2, labels=("a",)), few]), steer)["label"]) == {None, "a"}
    assert set(measure(steer, pl.concat([made_up(40, 2, labels=("a",)), few]))["label"]) == {None, "a"}
    enough = made_up(FEWEST_OF_A_LABEL, 1, labels=("b",))
    found = measure(pl.concat([made_up(40, 2, labels=("a",)), enough]), steer)
    assert set(found["label"]) == {None, "a", "b"}
    # Halves of 10 rows are too few for 20 a Frechet distance needs.
    assert found.filter(label="b", metric="frechet").is_empty()


def test_very_few_rows_give_what_is_defined_without_floors():
    found = measure(made_up(3, 1), made_up(3, 0))
    assert set(found["label"]) == {None}
    assert {*TEXT_METRICS, "mmd2", "mmd2_p", "vendi"} == set(found["metric"])
    assert found.select("ci_low", "ci_high", "floor").null_count().row(0) == (found.height,) * 3
    # One gold row: no distance between gold rows, so no kernel.
    assert set(measure(made_up(3, 1), made_up(1, 0))["metric"]) == set(TEXT_METRICS)
    assert measure(made_up(3, 1), made_up(0, 0)).is_empty()


def test_results_follow_from_rows_and_seed_alone():
    seed_set, steer = pl.concat([made_up(40, 1), made_up(24, 2, first_round=1)]), made_up(30, 0)
    found = measure(seed_set, steer, round_=1)
    assert measure(seed_set, steer, round_=1).equals(found)
    shuffled = measure(seed_set.sample(fraction=1, shuffle=True, seed=1), steer.reverse(), round_=1)
    assert shuffled.equals(found)
    assert not measure(seed_set, steer, round_=1, seed=1).equals(found)
    # Another label more changes nothing about a group.
    more = measure(pl.concat([seed_set, made_up(30, 3, labels=("c",))]), steer, 1, ("c", "b", "a"))
    for label in LABELS:
        group = pl.col("label") == label, pl.col("reference") == GOLD_STEER
        assert_frame_equal(more.filter(*group), found.filter(*group))


def test_every_field_counts():
    steer = made_up(40, 0)
    swapped = steer.rename({"text": "text2", "text2": "text"}).select(steer.columns)
    assert one(measure(swapped, steer, given=None), "oov_share")["value"] > 0
    far = made_up(40, 1, "far")
    mixed = steer.with_columns(text2=far["text2"])
    by_both, by_second = (
        one(measure(mixed, steer, fields=fields, given=None), "vocabulary_js")["value"]
        for fields in (("text", "text2"), ("text2",))
    )
    assert by_second == pytest.approx(1)
    assert by_both < 0.8


def test_questions_have_no_labels_to_compare():
    rows, steer = (made_up(40, seed, labels=("answer",)) for seed in (1, 0))
    found = measure(rows, steer, labels=("answer",), fields=("text2",))
    assert set(found["label"]) == {None}
    assert set(found["metric"]) == {*TEXT_METRICS, *VECTOR_METRICS} - {"label_js"}


@pytest.fixture(scope="module")
def loop(tmp_path_factory, tiny_student):
    """Two rounds of the small task, with vectors of MiniLM."""
    place = tmp_path_factory.mktemp("drift")
    student = {"weights": str(tiny_student), "epochs": 1, "min_steps": 0}
    task = write_task(place / "tasks", student=student, drift={"embeddings": True})
    warehouse = Warehouse(place / "warehouse")
    make_gold(task, warehouse)
    for make in (make_seed_set, make_trained_model, make_error_set, make_drift, make_extrapolated_set):
        make(task, warehouse, 0)
    make_seed_set(task, warehouse, 1)
    return task, warehouse, make_drift(task, warehouse, 1)


def test_two_rounds_with_real_vectors(loop):
    task, warehouse, result = loop
    first, second = (warehouse.live("drift", loop_key(task, round_).columns()).read() for round_ in range(2))
    seed_set = warehouse.live("seed_set", loop_key(task, 1).columns()).read()
    added = seed_set.filter(first_round=1).height
    assert set(first["reference"]) == {GOLD_STEER}
    assert set(second["reference"]) == {GOLD_STEER, ROUNDS_BEFORE}
    assert one(second, "mmd2", reference=ROUNDS_BEFORE)["n_ref"] == seed_set.height - added == 24
    assert one(second, "mmd2", reference=ROUNDS_BEFORE)["n_syn"] == added
    # Of 24 rows a draw has 12, too few for a Frechet distance.
    for rows, left_out in ((first, {"frechet"}), (second, set())):
        assert (
            set(rows.filter(pl.col("label").is_null(), reference=GOLD_STEER)["metric"])
            == {*TEXT_METRICS, *VECTOR_METRICS} - left_out
        )
        # The embedded teacher's rows are no gold, and MiniLM sees it.
        assert one(rows, "mmd2")["value"] > one(rows, "mmd2")["floor"]
        assert one(rows, "mmd2_p")["value"] < 0.05
    assert set(result.numbers) >= {*TEXT_METRICS, *VECTOR_METRICS}
    assert result.numbers["mmd2"] == one(second, "mmd2")["value"]
    figures = round_figures(task, warehouse, 1)
    assert (figures.drift, figures.drift_floor) == tuple(
        one(second, "vocabulary_js")[key] for key in ("value", "floor")
    )


def test_every_text_of_the_rounds_has_a_vector_once(loop):
    task, warehouse, _ = loop
    kept = pl.concat([part.read() for part in warehouse.parts("embeddings", {"task": task.name})])
    steer = warehouse.live("gold", {"task": task.name}).read().filter(split="steer")
    seed_set = warehouse.live("seed_set", loop_key(task, 1).columns()).read()
    assert kept.height == len({*steer["text"], *seed_set["text"]})


def test_parts_of_before_there_were_references_have_no_figure(loop, tmp_path):
    task, warehouse, _ = loop
    shutil.copytree(warehouse.root, tmp_path / "copy")
    copy = Warehouse(tmp_path / "copy")
    part = copy.live("drift", loop_key(task, 1).columns())
    part.read().drop("reference").write_parquet(part.path)
    figures = round_figures(task, copy, 1)
    assert (figures.drift, figures.drift_floor) == (None, None)
    assert figures.rows == round_figures(task, warehouse, 1).rows
    assert round_figures(task, copy, 0) == round_figures(task, warehouse, 0)


def test_the_document_explains_every_metric():
    text = (REPOSITORY / "docs" / "drift.md").read_text()
    for metric in (*TEXT_METRICS, *VECTOR_METRICS):
        assert re.search(rf"^\| [^|]*`{metric}`", text, re.MULTILINE), metric
    for reference in (GOLD_STEER, ROUNDS_BEFORE):
        assert f"`{reference}`" in text
    assert Path(REPOSITORY / "benchmarks" / "drift.py").is_file()
