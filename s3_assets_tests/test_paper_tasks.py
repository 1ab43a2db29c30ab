"""The paper's four tasks: that they load, say its figures, read gold in the hub's columns and ask in words that fit."""

import shutil
from dataclasses import replace

import polars as pl
import pytest

from s3_assets.experiment.arms import run_arm
from s3_assets.loop.fingerprints import loop_key
from s3_assets.loop.steps import make_gold
from s3_assets.prompting.templates import render, template_file, wording
from s3_assets.store.parts import Warehouse
from s3_assets.tasks.gold import gold_digest, gold_files, read_gold
from s3_assets.tasks.load import TaskError, find_tasks, load_task
from s3_assets.tasks.quality_spec import GatesSpec
from s3_assets.tasks.teacher_spec import PriceSpec
from s3_assets_tests.fakes import LOOSE, REPOSITORY, obliging, scripted_teacher

PAPER = REPOSITORY / "data" / "paper"
TASKS = ("imdb", "qnli", "rte", "adqa")

# Rows of D_seed and D_add together, rows of D_add over all rounds, rows of the steering file, calls beside those for
# rows; then batch size, learning rate and epochs.
FIGURES = {
    "imdb": (21_200, 6_173, 25_000, 2, 8, 5e-6, 6),
    "qnli": (168_000, 51_100, 104_743, 0, 32, 5e-6, 10),
    "rte": (33_600, 1_522, 2_490, 1_245, 16, 1e-5, 20),
    "adqa": (81_500, 51_532, 30_000, 0, 8, 1e-5, 10),
}


def harbour(number):
    """A text of ours and a second one, in place of a row of the data set."""
    context = f"Harbour number {number} was opened in {1800 + number} by a guild of rope makers."
    return context, f"When was harbour {number} opened?", str(1800 + number)


def gold_of(name, numbers):
    texts, seconds, answers = zip(*map(harbour, numbers), strict=True)
    labels = [number % 2 for number in numbers]
    idx = list(numbers)
    return pl.DataFrame(
        {
            "imdb": {"text": texts, "label": labels},
            "qnli": {"question": seconds, "sentence": texts, "label": labels, "idx": idx},
            "rte": {"sentence1": texts, "sentence2": seconds, "label": labels, "idx": idx},
            "adqa": {
                "context": texts,
                "question": seconds,
                "answers": [
                    {"text": [answer], "answer_start": [text.index(answer)]}
                    for text, answer in zip(texts, answers, strict=True)
                ],
            },
        }[name]
    )


def copy_of(name, folder):
    """A task's folder elsewhere, without local copies of gold that somebody may have put there."""
    return shutil.copytree(PAPER / name, folder / name, ignore=shutil.ignore_patterns("*.parquet", "*.jsonl", "*.csv"))


@pytest.fixture(params=TASKS)
def copied(request, tmp_path):
    """A task's folder elsewhere, with rows of ours as local copies of its gold."""
    place = copy_of(request.param, tmp_path)
    gold_of(request.param, range(120)).write_parquet(place / "dev.parquet")
    gold_of(request.param, range(500, 540)).write_parquet(place / "test.parquet")
    return load_task(place)


def test_all_four_are_found_and_hold_no_rows():
    assert set(find_tasks([PAPER])) == set(TASKS)
    ignored = [line for line in (PAPER / ".gitignore").read_text().splitlines() if line.startswith("*")]
    assert ignored == ["*.parquet", "*.jsonl", "*.csv"]


@pytest.mark.parametrize("name", TASKS)
def test_figures_are_the_papers(name):
    spec = load_task(PAPER / name).spec
    total, added, steering, others, batch, rate, epochs = FIGURES[name]
    assert spec.rows.seed == total - added
    assert spec.rows.per_call == 1
    assert spec.rows.per_round >= steering
    assert spec.budget.calls >= 1.3 * (total + others)
    assert (spec.student.batch_size, spec.student.learning_rate, spec.student.epochs) == (batch, rate, epochs)
    assert (spec.student.weights, spec.student.max_length, spec.student.min_steps) == (
        "distilbert-base-uncased",
        512,
        0,
    )
    assert (spec.rationales.per_label, spec.rationales.per_request) == (50, 3)
    assert (spec.teacher.model, spec.teacher.temperature) == ("gpt-3.5-turbo", 0.9)
    assert (spec.teacher.top_p, spec.teacher.mode) == (None, "live")
    assert (spec.strategy, spec.rounds, spec.experiment.rounds) == ("paper", 3, 2)
    assert spec.prompts.variant == "paper"


def test_gold_is_read_in_the_hubs_columns(copied):
    gold = read_gold(copied)
    assert gold.filter(pl.col("split") == "test").height == 40
    steer = gold.filter(pl.col("split") == "steer").height
    assert steer > 0.8 * 120
    assert gold.height == 160
    assert set(gold["label"]) == set(copied.spec.labels)
    first = gold.sort("source_row").row(0, named=True)
    context, second, answer = harbour(0)
    assert first["text"] == context
    assert first["text2"] == (None if copied.name == "imdb" else second)
    assert first["answer"] == (answer if copied.name == "adqa" else None)
    if copied.name == "adqa":
        assert all(row["text"][row["answer_start"] :].startswith(row["answer"]) for row in gold.iter_rows(named=True))


def test_labels_are_the_hubs_numbers(copied):
    names = {"imdb": ["negative", "positive"], "adqa": ["answer", "answer"]}
    gold = read_gold(copied).filter(pl.col("source_row") <= 2, pl.col("split") != "test").sort("source_row")
    assert gold["label"].to_list() == names.get(copied.name, ["entailment", "not_entailment"])


@pytest.mark.parametrize("name", TASKS)
def test_copies_may_be_csv_with_labels_by_name(name, tmp_path):
    place = copy_of(name, tmp_path)
    task = load_task(place)
    for key, numbers in (("dev", range(120)), ("test", range(500, 540))):
        rows = gold_of(name, numbers)
        if name == "adqa":
            rows = rows.with_columns(pl.col("answers").struct.field("text").list.first().alias("answers"))
        else:
            names = task.spec.gold.label_names
            rows = rows.with_columns(pl.col("label").cast(pl.String).replace_strict(names))
        rows.write_csv(place / f"{key}.csv")
    assert read_gold(task).height == 160


@pytest.mark.parametrize("name", TASKS)
def test_without_hub_or_copies_the_file_to_provide_is_named(name, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    task = load_task(copy_of(name, tmp_path))
    gold_digest(task)
    with pytest.raises(TaskError) as caught:
        read_gold(task)
    assert f"{tmp_path / name / 'dev.parquet'} (or dev.jsonl, dev.csv) with the columns" in str(caught.value)
    for column in gold_files(task)["dev"].columns:
        assert column in gold_of(name, range(1)).columns


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("count", [1, 3])
def test_every_request_has_words(name, count):
    task = load_task(PAPER / name)
    for role in set(wording(task)) - {"label"}:
        for label, declared in task.spec.labels.items():
            for sublabel in (None, *declared.sublabels):
                said = render(
                    *(task, role),
                    label=None if name == "adqa" else label,
                    count=count,
                    sublabel=sublabel,
                    rationales=["long", "loud"] if (name, role) == ("imdb", "seed") else None,
                    answer="1812" if name == "adqa" else None,
                )
                assert "None" not in said
                assert said.strip() == said


def test_own_templates_are_used():
    for name, roles in {"imdb": ("rationales", "seed", "extrapolate"), "qnli": ("seed", "extrapolate")}.items():
        for role in roles:
            assert template_file(load_task(PAPER / name), role) == PAPER / name / f"{role}.md"
    assert template_file(load_task(PAPER / "adqa"), "seed").parent.name == "paper"


def test_labels_are_asked_for_as_the_paper_does():
    imdb, qnli = load_task(PAPER / "imdb"), load_task(PAPER / "qnli")
    assert "a good impression" in render(imdb, "rationales", label="positive", count=50)
    assert "a bad impression" in render(imdb, "rationales", label="negative", count=50)
    listed = render(imdb, "seed", label="negative", count=1, rationales=["long", "loud"])
    assert listed.endswith("- long\n- loud\nWrite a negative review of it.")
    assert "answer is in the text" in render(qnli, "seed", label="entailment", count=1)
    assert "answer is not in the text" in render(qnli, "seed", label="not_entailment", count=1)


def test_rte_asks_for_what_the_sublabel_says_and_without_sublabels_as_the_paper_does(tmp_path):
    rte = load_task(PAPER / "rte")
    assert set(rte.spec.labels["not_entailment"].sublabels) == {"neutral", "contradiction"}
    for role in ("seed", "extrapolate"):
        asked = {"label": "not_entailment", "count": 1}
        assert "definitely correct." in render(rte, role, label="entailment", count=1)
        assert "definitely wrong." in render(rte, role, **asked, sublabel="contradiction")
        assert "neither definitely correct nor" in render(rte, role, **asked, sublabel="neutral")
        assert "definitely wrong." in render(rte, role, **asked, sublabels={})
    # An error is of one of the two, and nobody has said which.
    assert "as open or as wrong as the example's" in render(rte, "extrapolate", label="not_entailment", count=1)


def test_rte_without_its_three_lines_loads(tmp_path):
    place = copy_of("rte", tmp_path)
    lines = (place / "task.yaml").read_text().splitlines(keepends=True)
    start = next(n for n, line in enumerate(lines) if line.strip() == "sublabels:")
    (place / "task.yaml").write_text("".join(lines[:start] + lines[start + 3 :]))
    task = load_task(place)
    assert task.spec.labels["not_entailment"].sublabels == {}
    assert "definitely wrong." in render(task, "extrapolate", label="not_entailment", count=1)


def small(task, weights, url, **teacher):
    """The task at sizes for a test: everything but sizes, teacher, student and gates is as shipped."""
    spec = task.spec
    # Its budget limits money, so a teacher that is in no price table needs a price.
    asked = {"base_url": url, "name": "test", "model": "sim", "price": PriceSpec(input=0.5, output=1.5), **teacher}
    changed = {
        "teacher": spec.teacher.model_copy(update=asked),
        "student": spec.student.model_copy(update={"weights": str(weights), "epochs": 1, "max_length": 64}),
        "rows": spec.rows.model_copy(update={"seed": 12}),
        "rationales": spec.rationales.model_copy(update={"per_label": 6}),
        # The rows of a scripted teacher look like nothing that gates learn from gold.
        "gates": GatesSpec(**LOOSE),
        "experiment": spec.experiment.model_copy(update={"rounds": 1}),
    }
    return replace(task, spec=spec.model_copy(update=changed))


def test_each_goes_through_the_papers_loop_and_a_control(copied, tiny_student, tmp_path):
    warehouse = Warehouse(tmp_path / "warehouse")
    with scripted_teacher(obliging) as teacher:
        task = small(copied, tiny_student, teacher.url)
        make_gold(task, warehouse)
        rows = {arm: run_arm(task, warehouse, arm, 0).rows.row(0, named=True) for arm in ("paper", "gold_only")}
    errors = warehouse.live("error_set", loop_key(task, 0).columns()).read().height
    assert errors > 0
    # Exactly one row from each error; the label questions are RTE's, once a steering row of the label.
    assert rows["paper"]["synthetic_rows"] == 12 + errors
    asked = read_gold(task).filter((pl.col("split") == "steer") & (pl.col("label") == "not_entailment")).height
    assert rows["paper"]["label_questions"] == (asked if task.name == "rte" else 0)
    assert rows["paper"]["teacher_budget"] == 12 + errors + rows["paper"]["label_questions"]
    assert rows["gold_only"]["gold_rows"] == 120
    assert {row["metric"] for row in rows.values()} == {"f1" if task.name == "adqa" else "accuracy"}
