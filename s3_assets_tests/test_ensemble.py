"""Embeddings, and the ensemble of small students: who is trained on what, and what it says of labels."""

import numpy as np
import polars as pl
import pytest

from s3_assets.quality import ensemble
from s3_assets.quality.ensemble import FOLDS, REPEATS, opinions, second_opinion, students_of
from s3_assets.student.embeddings import embed
from s3_assets.student.weights import WeightsError
from s3_assets_tests.fakes import write_task
from s3_assets_tests.tiny_student import LABELS, toy_rows

EMPTY = toy_rows(0, 0)
LENGTH = 64


@pytest.fixture
def by_words(monkeypatch):
    """Vectors that are counts of a few words: what a row is about can be told without a checkpoint."""
    words = ("lovely", "bright", "fun", "dull", "grim", "slow", "odd")

    def counted(texts, weights, max_length):
        found = np.array([[text.split().count(word) for word in words] for text in texts], np.float32)
        return found.reshape(len(texts), len(words))

    monkeypatch.setattr(ensemble, "embed", counted)


@pytest.fixture
def members(monkeypatch):
    """Vectors that are the numbers of the rows; keeps which rows each member was trained on and asked about."""
    asked = []

    class Member:
        def __init__(self, features, targets):
            self.trained, self.share = {int(row[0]) for row in features}, 1 / len(np.unique(targets))

        def predict_proba(self, features):
            asked.append((self.trained, {int(row[0]) for row in features}))
            return np.full((len(features), round(1 / self.share)), self.share)

    def numbered(texts, weights, max_length):
        return np.array([[float(text.split()[-1])] for text in texts], np.float32).reshape(len(texts), 1)

    monkeypatch.setattr(ensemble, "embed", numbered)
    monkeypatch.setattr(ensemble, "_fitted", Member)
    return asked


def numbered_rows(first, last, labels=LABELS):
    rows = [{"text": f"row {n}", "text2": None, "label": labels[n % len(labels)]} for n in range(first, last)]
    return pl.DataFrame(rows, schema=EMPTY.schema)


def opinion(rows, steer=EMPTY, select=None, seen=None, labels=LABELS, seed=0):
    return second_opinion(rows, seen, steer, EMPTY if select is None else select, labels, "minilm", LENGTH, seed)


def test_a_row_is_judged_by_members_that_were_not_trained_on_it(members):
    opinion(numbered_rows(0, 20), numbered_rows(20, 26), numbered_rows(26, 30), numbered_rows(30, 34))
    assert len(members) == FOLDS * REPEATS
    for row in range(20):
        judges = [trained for trained, judged in members if row in judged]
        assert len(judges) == REPEATS
        assert not any(row in trained for trained in judges)
    for trained, judged in members:
        # Steering gold and rows seen before are always trained on and never judged, selecting gold the other way.
        assert trained >= {*range(20, 26), *range(30, 34)}
        assert not judged & {*range(20, 26), *range(30, 34)}
        assert judged >= {*range(26, 30)}
        assert not trained & {*range(26, 30)}


def test_rows_of_the_same_text_are_held_out_together(members):
    twice = pl.concat([numbered_rows(0, 20), numbered_rows(0, 3)])
    opinion(twice, numbered_rows(3, 5), numbered_rows(30, 32), seen=numbered_rows(5, 7))
    assert not any(trained & judged for trained, judged in members)


def test_selecting_gold_whose_text_is_trained_on_is_held_out_too(members):
    opinion(numbered_rows(0, 10), numbered_rows(10, 14), numbered_rows(10, 12))
    judges = [trained for trained, judged in members if 10 in judged]
    assert len(judges) == REPEATS
    assert not any(10 in trained for trained in judges)


def test_wrong_labels_get_low_probabilities_and_right_ones_high(by_words):
    rows = toy_rows(60, 1)
    wrong = rows.with_columns(label=pl.when(pl.int_range(pl.len()) < 4).then(pl.lit("good")).otherwise(pl.col("label")))
    own = [given[LABELS.index(label)] for given, label in zip(opinion(wrong)[0], wrong["label"], strict=True)]
    assert rows["label"].head(4).to_list() == ["good", "bad", "good", "bad"]
    assert max(own[1], own[3]) < 0.3
    assert min(own[0], own[2], *own[4:]) > 0.5


def test_the_same_seed_gives_the_same_numbers_and_another_others(by_words):
    rows, select = toy_rows(40, 1), toy_rows(10, 2)
    first, again, other = (opinion(rows, select=select, seed=seed) for seed in (0, 0, 1))
    assert all((one == two).all() for one, two in zip(first, again, strict=True))
    assert (first[0] != other[0]).any()


def test_probabilities_are_as_sure_as_selecting_gold_shows_them_to_be_right(by_words):
    rows, select = toy_rows(60, 1), toy_rows(30, 2)
    wrong = select.with_columns(label=pl.col("label").shuffle(seed=0))
    unknown, right, guessed = (opinion(rows, select=given)[0].max(axis=1).mean() for given in (None, select, wrong))
    assert guessed < unknown < right


def test_shapes_and_sums(by_words):
    of_rows, of_select = opinion(toy_rows(30, 1), toy_rows(10, 2), toy_rows(6, 3), labels=(*LABELS, "neither"))
    assert of_rows.shape == (30, 3)
    assert of_select.shape == (6, 3)
    assert of_rows.sum(axis=1) == pytest.approx(1)
    # A label that no row has.
    assert of_rows[:, 2] == pytest.approx(0)


@pytest.mark.parametrize(
    ("rows", "steer"),
    [
        (EMPTY, EMPTY),
        (EMPTY, toy_rows(4, 1)),
        (toy_rows(1, 1), EMPTY),
        (toy_rows(10, 1).filter(pl.col("label") == "good"), EMPTY),
        (toy_rows(1, 1), toy_rows(8, 2).filter(pl.col("label") == "good")),
    ],
    ids=["nothing", "no rows", "one row", "one label", "one row, one label"],
)
def test_too_little_to_tell_labels_apart_is_no_opinion(by_words, rows, steer):
    of_rows, of_select = opinion(rows, steer, toy_rows(2, 5))
    assert of_rows.shape == (rows.height, 2)
    assert np.isnan(of_rows).all()
    assert np.isnan(of_select).all() == (steer["label"].n_unique() < 2)


def test_members_that_never_saw_its_label_do_not_judge_a_row(by_words):
    only = pl.DataFrame([{"text": "odd", "text2": None, "label": "neither"}], schema=EMPTY.schema)
    rows = pl.concat([toy_rows(20, 1), only])
    of_rows, _ = opinion(rows, labels=(*LABELS, "neither"))
    assert np.isnan(of_rows[20]).all()
    assert not np.isnan(of_rows[:20]).any()
    taught, _ = opinion(rows, only.with_columns(text=pl.lit("odd odd")), labels=(*LABELS, "neither"))
    assert taught[20, 2] > 0.1


def test_pairs_are_compared(by_words):
    """Whether two texts share their word is in neither of them alone."""
    cues = ("lovely", "dull")
    rows = pl.DataFrame(
        [
            {"text": f"{cues[n % 2]} {n}", "text2": f"{cues[n // 2 % 2]} {n}", "label": LABELS[n % 2 == n // 2 % 2]}
            for n in range(40)
        ]
    )
    of_rows, _ = opinion(rows)
    own = [given[LABELS.index(label)] for given, label in zip(of_rows, rows["label"], strict=True)]
    assert min(own) > 0.5


def test_opinions_for_a_review_are_out_of_fold_and_in_order(members):
    gold = pl.concat(
        [
            numbered_rows(20, 26).with_columns(split=pl.lit("steer")),
            numbered_rows(26, 29).with_columns(split=pl.lit("test"), text=pl.lit("never looked at")),
            numbered_rows(29, 32).with_columns(split=pl.lit("select")),
        ]
    )
    of_rows, of_gold = opinions(numbered_rows(0, 20), gold, LABELS, "minilm", LENGTH, 0)
    assert of_rows.columns == of_gold.columns == ["students_label", "students_probability"]
    assert (of_rows.height, of_gold.height) == (20, 12)
    assert of_gold["students_probability"].is_null().to_list() == [False] * 6 + [True] * 3 + [False] * 3
    # Steering gold is judged by members that were not trained on it, as rows are.
    assert not any(trained & judged for trained, judged in members)
    assert {row for trained, _ in members for row in trained} == {*range(26)}
    assert {row for _, judged in members for row in judged} == {*range(26), *range(29, 32)}


def test_opinions_say_label_and_probability_of_the_row_s_own(by_words):
    rows = toy_rows(40, 1)
    wrong = rows.with_columns(
        label=pl.when(pl.int_range(pl.len()) == 1).then(pl.lit("good")).otherwise(pl.col("label"))
    )
    gold = toy_rows(12, 2).with_columns(split=pl.lit("steer"))
    of_rows, of_gold = opinions(wrong, gold, LABELS, "minilm", LENGTH, 0)
    assert of_rows["students_label"].to_list() == rows["label"].to_list()
    assert of_rows["students_probability"][1] < 0.3 < of_rows["students_probability"][0]
    assert of_gold["students_label"].to_list() == gold["label"].to_list()


def test_the_ensemble_of_a_task_learns_from_rows_before(by_words, tmp_path):
    task = write_task(tmp_path, labels={"good": "It is.", "bad": "It is not."})
    gold = toy_rows(0, 0).with_columns(split=pl.lit("steer"))
    first = toy_rows(20, 1)
    one = toy_rows(1, 2).to_dicts()
    assert students_of(task, gold, None)([], one)[0] == [None]
    for said in (students_of(task, gold, None)(first.to_dicts(), one), students_of(task, gold, first)([], one)):
        assert said[0][0].label == "good"
        assert said[0][0].probability == said[0][0].of_label > 0.5
        assert said[1] == []


def test_embeddings_have_length_one_and_do_not_depend_on_their_neighbours(tiny_student):
    texts = ["a dull film", "", "the plot was bright and the camera slow, scene after scene", "a dull film"]
    found = embed(texts, str(tiny_student), LENGTH)
    assert found.shape == (4, 32)
    assert found.dtype == np.float32
    assert np.linalg.norm(found, axis=1) == pytest.approx(1)
    assert (found[0] == found[3]).all()
    # Alone or padded beside a longer text: the same up to the number format.
    assert embed(texts[:1], str(tiny_student), LENGTH)[0] == pytest.approx(found[0], abs=0.02)
    assert embed([], str(tiny_student), LENGTH).shape == (0, 32)


def test_texts_are_cut(tiny_student):
    long = "film " * 300
    assert embed([long], str(tiny_student), 8) == pytest.approx(embed(["film " * 20], str(tiny_student), 8), abs=0.02)
    # Longer than the checkpoint has positions for.
    assert embed([long], str(tiny_student), 10_000).shape == (1, 32)


def test_a_model_that_reads_and_writes_is_replaced(tmp_path, tiny_student, monkeypatch):
    import transformers

    from s3_assets.student import embeddings

    transformers.T5Config(vocab_size=8, d_model=8, num_layers=1, num_heads=1).save_pretrained(tmp_path / "t5")
    monkeypatch.setattr(embeddings, "MINILM", str(tiny_student))
    assert embed(["a film"], str(tmp_path / "t5"), LENGTH).shape == (1, 32)


def test_weights_that_are_none_are_named(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(WeightsError, match=r"empty.*cannot be loaded to embed texts"):
        embed(["a film"], str(tmp_path / "empty"), LENGTH)


def test_similar_texts_are_near_by_minilm():
    near, same, far = embed(["A dull film.", "The movie is boring.", "Bake the bread for an hour."])
    assert near @ same > 0.5 > near @ far
