"""The cards: metadata that the hub reads, figures with intervals, and nothing that is not theirs to tell."""

import re
from dataclasses import replace

import polars as pl
import pytest
from huggingface_hub import DatasetCard, ModelCard
from scipy.stats import binomtest

from s3_assets.export.card_words import teacher
from s3_assets.export.cards import Model, dataset_card, model_card
from s3_assets.export.facts import label_scores, read_export
from s3_assets.export.frozen_encoder import Agreement
from s3_assets.export.synthetic_rows import synthetic_rows
from s3_assets.loop.best_student import choose_student
from s3_assets.loop.fingerprints import loop_key
from s3_assets_tests.exported import pair_loop, qa_loop, single_loop


@pytest.fixture(scope="module")
def single(tmp_path_factory, tiny_student):
    task, warehouse = single_loop(tmp_path_factory.mktemp("single"), tiny_student, rounds=2)
    return read_export(task, warehouse, choose_student(task, warehouse, 1)), warehouse


@pytest.fixture(scope="module")
def pair(tmp_path_factory, tiny_student):
    task, warehouse = pair_loop(tmp_path_factory.mktemp("pair"), tiny_student)
    return read_export(task, warehouse, choose_student(task, warehouse))


@pytest.fixture(scope="module")
def questions(tmp_path_factory, tiny_student):
    task, warehouse = qa_loop(tmp_path_factory.mktemp("qa"), tiny_student)
    return read_export(task, warehouse, choose_student(task, warehouse))


def rows_of(facts):
    return synthetic_rows(facts.task, facts.seed_set, facts.gold_rows)


def cards(facts, repo=None):
    return model_card(facts, Model(64), repo), dataset_card(facts, rows_of(facts), "train.parquet")


def declaring(facts, **keys):
    return replace(facts, task=replace(facts.task, spec=facts.task.spec.model_copy(update=keys)))


def taught_by(facts, **teacher_keys):
    return declaring(facts, teacher=facts.task.spec.teacher.model_copy(update=teacher_keys))


def trained_from(facts, weights):
    return replace(facts, chosen=replace(facts.chosen, row=facts.row | {"weights": weights}))


def test_metadata_is_what_the_hub_expects(single):
    facts, _ = single
    model, rows = (kind(card).data for kind, card in zip((ModelCard, DatasetCard), cards(facts), strict=True))
    told = model.to_dict()
    assert told["pipeline_tag"] == "text-classification"
    assert told["library_name"] == "transformers"
    assert told["metrics"] == ["accuracy"]
    # Neither is known of a folder, and a licence is not ours to give.
    assert {"base_model", "license", "datasets"}.isdisjoint(told)
    (result,) = model.eval_results
    assert (result.dataset_split, result.metric_type) == ("test", "accuracy")
    assert result.metric_value == pytest.approx(facts.row["test_accuracy"], abs=1e-4)
    assert rows.to_dict()["configs"] == [
        {"config_name": "default", "data_files": [{"split": "train", "path": "train.parquet"}]}
    ]
    assert rows.size_categories == ["n<1K"]
    assert rows.task_categories == ["text-classification"]
    on_hub = ModelCard(cards(facts, "ana/reviews")[0])
    assert on_hub.data.datasets == ["ana/reviews"]
    assert "https://huggingface.co/datasets/ana/reviews" in on_hub.text


def test_the_checkpoint_is_named_where_it_has_a_name(single):
    facts, _ = single
    for weights, name in (("minilm", "sentence-transformers/all-MiniLM-L6-v2"), ("owner/small", "owner/small")):
        assert ModelCard(cards(trained_from(facts, weights))[0]).data.base_model == name
    card, _ = cards(facts)
    assert facts.row["weights"] not in card
    assert "a checkpoint in a local folder" in card


def test_a_path_never_becomes_a_name_on_the_hub(single, monkeypatch, tmp_path):
    facts, _ = single
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "beside").mkdir(parents=True)
    (facts.task.folder / "runs" / "own").mkdir(parents=True)
    paths = ("runs/small/last", "C:\\runs\\small", "~/small", "./small", "/srv/small", "runs/beside", "runs/own")
    for path in paths:
        assert trained_from(facts, path).base_model(None) is None, path
        card, _ = cards(trained_from(facts, path))
        assert path not in card
        assert "a checkpoint in a local folder" in card


def test_the_encoder_that_stands_in_is_the_base(single):
    facts, _ = single
    found = trained_from(facts, "owner/reads-and-writes")
    for stands_in, name in ((True, "sentence-transformers/all-MiniLM-L6-v2"), (False, "owner/reads-and-writes")):
        card = model_card(found, Model(64, Agreement(9, 9, 0.0, stands_in)))
        assert ModelCard(card).data.base_model == name
        assert f"`{name}`, kept as it is" in card


def test_a_licence_is_declared_where_one_is_given(single):
    facts, _ = single
    model, rows = model_card(facts, Model(64), None, "mit"), dataset_card(facts, rows_of(facts), "train.jsonl", "mit")
    assert ModelCard(model).data.license == DatasetCard(rows).data.license == "mit"
    for card in (model, rows):
        assert "`mit`, as whoever exported" in card
        assert "None is given here" not in card
    assert all("None is given here" in card for card in cards(facts))


def test_figures_are_those_of_the_round_with_wilson_intervals(single):
    facts, warehouse = single
    card, _ = cards(facts)
    key = loop_key(facts.task, 1).columns()
    said = warehouse.live("predictions", key).read().filter(pl.col("split") == "test")
    right, rows = int(said["correct"].sum()), said.height
    bounds = binomtest(right, rows).proportion_ci(0.95, method="wilson")
    line = f"| test | {rows} | {100 * right / rows:.1f} | {100 * bounds.low:.1f} to {100 * bounds.high:.1f} |"
    assert line in card
    assert "| held-out |" in card
    assert facts.chosen.why in card
    seed_set = warehouse.live("seed_set", key).read()
    added = seed_set.filter(pl.col("first_round") == 1).height
    assert re.search(rf"^\| 1 \| {added} \| {seed_set.height} \| ", card, re.MULTILINE)
    for value in (facts.row["model_id"], facts.row["training_fingerprint"], facts.row["weights_digest"]):
        assert f"`{value}`" in card
    part = warehouse.live("trained_model", key)
    assert f"`{part.metadata()['input_fingerprint']}`" in card


def test_labels_are_told_apart_the_weakest_first():
    said = pl.DataFrame(
        {
            "label": ["a"] * 4 + ["b"] * 3 + ["c"],
            "prediction": ["a", "a", "a", "b", "a", "c", "c", "c"],
            "correct": [True, True, True, False, False, False, False, True],
        }
    )
    found = [(one.label, one.rows, one.right, one.taken_for) for one in label_scores(said, ["a", "b", "c", "d"])]
    assert found == [("b", 3, 0, "c"), ("a", 4, 3, "b"), ("c", 1, 1, None)]


def test_a_teacher_is_called_what_it_is_and_never_by_its_address(single):
    facts, _ = single
    assert teacher(facts.task) == "the embedded teacher, a grammar without a model"
    assert all("Not an LLM result" in card for card in cards(facts))
    address = "https://user:sk-1@models.example/v1?key=sk-2"
    asked = taught_by(facts, backend="openai", model="writer-1", base_url=address, extra={"key": "sk-3"})
    simulated = taught_by(asked, name="simulated-reviews")
    for told in (*cards(asked), *cards(simulated)):
        assert "sk-" not in told
        assert "models.example" not in told
    assert "`writer-1` over an OpenAI-compatible endpoint" in cards(asked)[0]
    assert "Not an LLM result" not in cards(asked)[0]
    assert "a simulated teacher (simulated-reviews), which is no LLM" in cards(simulated)[1]
    assert "writer-1" not in cards(simulated)[0]
    local = taught_by(facts, backend="transformers", model=str(facts.task.folder))
    assert str(facts.task.folder) not in cards(local)[0]
    assert "a model in a local folder, run with transformers" in cards(local)[0]


@pytest.mark.parametrize("backend", ["openai", "transformers"])
@pytest.mark.parametrize("path", ["/home/ana/writer", "~/writer", "../writer", "D:\\writer", "models/ana/writer"])
def test_a_teacher_s_path_is_not_told(single, backend, path):
    facts, _ = single
    for keys in ({"model": path}, {"model": "owner/writer", "name": path}, {"model": path, "name": "writer-1"}):
        for card in cards(taught_by(facts, backend=backend, **keys)):
            assert path not in card
    named = cards(taught_by(facts, backend=backend, model=path, name="writer-1"))[0]
    assert "declared as writer-1" in named


def brought(facts, rows):
    """``facts`` as if the task had brought its first ``rows`` rows."""
    origin = pl.when(pl.int_range(pl.len()) < rows).then(pl.lit("user")).otherwise("origin").alias("origin")
    return declaring(replace(facts, seed_set=facts.seed_set.with_columns(origin)), seed_rows="seed.csv")


def test_rows_that_the_task_brought_are_not_the_teacher_s(single):
    facts, _ = single
    rows = facts.seed_set.height
    both, own = brought(facts, 24), brought(facts, rows)
    card, told = cards(both)
    assert f"Trained on 24 rows that the task brought and {rows - 24} rows that a teacher wrote" in card
    assert "# small: rows brought by the task and rows written by a model\n" in told
    assert "a seed set of 24 rows that the task brought, and rows extrapolated" in told
    assert "Nobody checked the rows that the teacher wrote one by one" in told
    data = DatasetCard(told).data.to_dict()
    assert data["annotations_creators"] == data["language_creators"] == ["machine-generated", "other"]
    assert "synthetic" in data["tags"]
    assert "&id" not in told
    card, told = cards(own)
    assert f"Trained on {rows} rows that the task brought; a teacher wrote none of them" in card
    assert "learned the teacher's errors" not in card
    assert "synthetic-data" not in ModelCard(card).data.tags
    assert "# small: rows brought by the task\n" in told
    assert "Written by" not in told
    data = DatasetCard(told).data.to_dict()
    assert data["annotations_creators"] == ["other"]
    assert data["tags"] == ["s3-assets"]
    assert DatasetCard(cards(facts)[1]).data.to_dict()["annotations_creators"] == ["machine-generated"]


def test_gold_that_was_learned_is_told(single):
    facts, _ = single
    none, some = (replace(facts, chosen=replace(facts.chosen, row=facts.row | {"gold_rows": rows})) for rows in (0, 12))
    card, data = cards(none)
    assert "This student was trained on none of them." in card
    assert "labelled examples" not in card
    card, same = cards(some)
    assert f"Trained on {facts.seed_set.height} rows that a teacher wrote" in card
    assert "; and 12 rows of the task's own labelled examples (steering gold)" in card
    assert "This student was trained on 12 of them, none of test gold" in card
    assert same == data, "the data set has no gold"
    card, _ = cards(replace(some, gold={**some.gold, "select": 0}))
    assert "none of test gold; held-out figures are of students that were not" in card
    assert "judged by a student that was trained without it and the rows written from it" in card


def test_no_text_of_gold_is_told(single, pair, questions):
    for facts in (single[0], pair, questions):
        told = "\n".join(cards(facts))
        kept = set(facts.gold_rows["text"]) | set(facts.gold_rows["text2"]) - {None}
        assert not [text for text in kept if text in told]


def test_a_row_that_repeats_gold_is_no_example(single):
    facts, _ = single
    short = facts.gold_rows.filter(pl.col("text").str.len_chars() < 100)["text"][0]
    repeating = facts.seed_set.with_columns(
        text=pl.when(pl.int_range(pl.len()) == 0).then(pl.lit(short)).otherwise("text")
    )
    assert facts.seed_set["text"][0] in cards(facts)[0]
    assert short not in cards(replace(facts, seed_set=repeating))[0]


def test_texts_kept_from_gold_are_admitted(single, pair, questions):
    assert "word for word" not in cards(single[0])[1]
    assert "The first texts are not the teacher's: they are those of steering gold, word for word" in cards(pair)[1]
    assert "The contexts are not the teacher's: they are those of steering gold, word for word" in cards(questions)[1]
    for facts in (single[0], pair, questions):
        assert "No row of gold is in it" in cards(facts)[1]
    assert "without gold." in cards(single[0])[0]
    assert "without gold (but with the contexts of steering gold)." in cards(questions)[0]
    # Whatever round 0 was written for, rows of later rounds are written for steering gold.
    for keys, first in (
        ({"contexts": "contexts.csv"}, "the task's file of contexts"),
        ({"seed_rows": "seed.csv"}, "the rows the task brought"),
    ):
        card, told = cards(declaring(pair, **keys))
        assert f"they are those of {first} and, from round 1 on, steering gold, word for word" in told
        assert f"with the first texts of {first} and, from round 1 on, steering gold)" in card


def test_sizes_are_told_by_label_and_round(single, questions):
    facts, _ = single
    _, card = cards(facts)
    sizes = rows_of(facts).sizes
    for label in facts.task.spec.labels:
        first, second = (
            sizes.filter(pl.col("label") == label, pl.col("first_round") == round_)["rows"].sum() for round_ in (0, 1)
        )
        assert f"| {label} | {first} | {second} | {first + second} |" in card
    assert f"| 0 | {questions.seed_set.height} |" in cards(questions)[1]
    assert "vocabulary_js" in card


def test_refusals_are_counted_over_the_rounds(single):
    facts, warehouse = single
    rejected = [
        part.read()
        for asset in ("seed_set", "extrapolated_set")
        if (part := warehouse.live("rejected", {**loop_key(facts.task, 0).columns(), "asset": asset})) is not None
    ]
    rows = pl.concat(rejected).filter(pl.col("stage") == "row")
    assert sum(count for _, count in facts.refusals) == rows.height
    _, card = cards(facts)
    for gate, count in facts.refusals:
        assert f"| {gate} | {count} |" in card
    silent = replace(facts, rounds=[replace(one, rejections=replace(one.rejections, gates={})) for one in facts.rounds])
    assert "No row that came was refused" in cards(silent)[1]


def test_words_of_a_task_cannot_break_a_table(pair):
    card, _ = cards(pair)
    assert "| entailment | The second \\| follows from the first. |" in card


def test_an_example_is_written_as_python_writes_it(single):
    facts, _ = single
    odd = facts.seed_set.with_columns(text=pl.lit('He said "it\'s\\fine"\n`so`'))
    card, _ = cards(replace(facts, seed_set=odd))
    assert 'classify("He said \\"it\'s\\\\fine\\"\\n`so`", truncation=True)' in card


def test_questions_have_f1_and_no_labels(questions):
    card, _ = cards(questions)
    data = ModelCard(card).data
    assert data.pipeline_tag == "question-answering"
    assert [result.metric_type for result in data.eval_results] == ["exact_match", "f1"]
    assert "| F1, % |" in card
    assert "| label |" not in card
    assert "AutoModelForQuestionAnswering" in card


def test_without_test_gold_the_card_says_so(single):
    facts, _ = single
    last = facts.rounds[-1]
    untested = replace(last, figures=replace(last.figures, test=None))
    blind = replace(last, figures=replace(last.figures, test=None, select=None))
    card, _ = cards(replace(facts, rounds=[*facts.rounds[:-1], untested]))
    assert "There is no test gold" in card
    assert ModelCard(card).data.eval_results is None
    card, _ = cards(replace(facts, rounds=[*facts.rounds[:-1], blind]))
    assert "No gold was kept to judge it by" in card


def test_what_was_measured_of_a_frozen_student_s_model_is_told(single):
    facts, _ = single
    card = model_card(facts, Model(64, Agreement(300, 299, 0.00213), ("onnx/model.onnx", 3.2e-6)))
    assert "texts of gold, it predicts what the student predicts for 299; probabilities differ by 0.002" in card
    assert "`onnx/model.onnx` is the same model" in card
    assert "a logistic regression on its vectors" in card
