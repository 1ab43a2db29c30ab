"""A question answering task through two rounds: contexts, answers found in them, EM and F1, errors by a threshold."""

import json
from dataclasses import replace

import polars as pl
import pytest

from s3_assets.experiment.arms import run_arm
from s3_assets.experiment.publish import make_leaderboard
from s3_assets.generation.extrapolate import write_extrapolated_set
from s3_assets.generation.filling import Written
from s3_assets.loop.fingerprints import loop_key
from s3_assets.loop.progress import round_figures, selecting_gains
from s3_assets.loop.steps import (
    make_drift,
    make_error_set,
    make_extrapolated_set,
    make_gold,
    make_seed_set,
    make_trained_model,
)
from s3_assets.quality.gates import open_gates
from s3_assets.store.catalog import build_catalog, connect
from s3_assets.store.parts import RoundKey, Warehouse
from s3_assets.tasks.gold import read_gold
from s3_assets.teacher.session import teacher_session
from s3_assets_tests.fakes import LOOSE, facts, obliging, scripted_teacher, write_task
from s3_assets_tests.tiny_student import make_tiny_student

PLACES = ("the harbour", "the market", "the station", "the mill", "the old bridge", "the library")
COLOURS = ("red", "green", "blue", "white", "black", "yellow")
FIELDS = {"text": "context", "text2": "question", "answer": "answers"}
ROWS = [
    {
        "context": f"Boat number {place} is painted {COLOURS[place % 6]} and lies near {PLACES[place // 6 % 6]}.",
        "question": f"Near what does boat {place} lie?" if place % 2 else f"Which colour is boat {place}?",
        "answers": [PLACES[place // 6 % 6].removeprefix("the "), PLACES[place // 6 % 6]]
        if place % 2
        else [COLOURS[place % 6]],
    }
    for place in range(84)
]


def declared(folder, url, weights, **keys):
    gold = folder / "gold.parquet"
    pl.DataFrame(ROWS).write_parquet(gold)
    return write_task(
        folder,
        kind="qa",
        fields=FIELDS,
        labels=None,
        gates=LOOSE,
        gold=str(gold),
        teacher={"base_url": url},
        student={"weights": str(weights), "epochs": 1, "min_steps": 0, "max_length": 64},
        rows={"seed": 24, "per_round": 12, "per_call": 4},
        **keys,
    )


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    texts = [f"{row['context']} {row['question']}" for row in ROWS]
    return make_tiny_student(tmp_path_factory.mktemp("qa") / "tiny", texts)


@pytest.fixture(scope="module")
def loop(tmp_path_factory, weights):
    """Rounds 0 and 1, and the teacher that was asked."""
    place = tmp_path_factory.mktemp("loop")
    with scripted_teacher(obliging) as teacher:
        task, warehouse = declared(place, teacher.url, weights), Warehouse(place / "warehouse")
        make_gold(task, warehouse)
        for round_ in range(2):
            for make in (make_seed_set, make_trained_model, make_error_set, make_drift, make_extrapolated_set):
                make(task, warehouse, round_)
        yield task, warehouse, teacher


def live(loop, name, round_):
    task, warehouse, _ = loop
    return warehouse.live(name, loop_key(task, round_).columns()).read()


def test_questions_are_asked_of_contexts_with_the_answer_they_must_have(loop):
    _, warehouse, teacher = loop
    steer = warehouse.live("gold", {"task": "small"}).read().filter(pl.col("split") == "steer")
    asked = [facts(body) for body in teacher.bodies]
    known = set(steer.select("text", "answer").iter_rows())
    assert {(block["given"]["text"], block["given"]["answer"]) for block in asked} <= known
    assert not [block for block in asked if "label" in block or "labels" in block]
    items = teacher.bodies[0]["response_format"]["json_schema"]["schema"]["properties"]["examples"]["items"]
    assert items["required"] == ["text2", "answer"]
    first, second = live(loop, "seed_set", 0), live(loop, "seed_set", 1)
    assert first.height == 24
    assert second.height == 24 + live(loop, "extrapolated_set", 0).height == 36
    for rows in (first, second):
        assert set(rows["label"]) == {"answer"}
        for text, answer, start in rows.select("text", "answer", "answer_start").iter_rows():
            assert text[start : start + len(answer)] == answer


def test_extrapolated_questions_keep_context_and_answer_of_their_error(loop):
    errors = live(loop, "error_set", 0)
    added = live(loop, "extrapolated_set", 0).join(errors, on="gold_id", suffix="_of_error")
    assert added.height == 12
    assert added.filter(
        (pl.col("text") != pl.col("text_of_error")) | (pl.col("answer") != pl.col("answer_of_error"))
    ).is_empty()
    shown = [facts(body)["example"] for body in loop[2].bodies if "example" in facts(body)]
    assert all(set(example) == {"text", "text2", "answer", "predicted"} for example in shown)


def test_exact_match_and_f1_are_the_official_ones_on_the_same_predictions(loop):
    gold = loop[1].live("gold", {"task": "small"}).read()
    for round_ in range(2):
        model = live(loop, "trained_model", round_).row(0, named=True)
        predictions = live(loop, "predictions", round_).join(gold.select("gold_id", "answers"), on="gold_id")
        for split in ("steer", "select", "test"):
            rows = predictions.filter(pl.col("split") == split)
            from torchmetrics.functional.text import squad  # 2 s, in every process that collects

            reference = squad(
                [
                    {"id": key, "prediction_text": said}
                    for key, said in rows.select("gold_id", "prediction").iter_rows()
                ],
                [
                    {"id": key, "answers": {"text": answers, "answer_start": [0] * len(answers)}}
                    for key, answers in rows.select("gold_id", "answers").iter_rows()
                ],
            )
            assert 100 * model[f"{split}_accuracy"] == pytest.approx(reference["exact_match"].item(), abs=1e-4)
            assert 100 * model[f"{split}_f1"] == pytest.approx(reference["f1"].item(), abs=1e-4)
        assert predictions["f1"].n_unique() > 1


def test_errors_are_answers_without_exact_match(loop):
    predictions = live(loop, "predictions", 0).filter(pl.col("split") == "steer")
    wrong = predictions.filter(pl.col("exact_match") == 0)
    assert wrong.height > 0
    assert sorted(wrong["gold_id"]) == live(loop, "error_set", 0)["gold_id"].to_list()
    task, warehouse, _ = loop
    figures = round_figures(task, warehouse, 0)
    assert figures.errors == wrong.height
    model = live(loop, "trained_model", 0).row(0, named=True)
    assert (figures.select.share, figures.select_f1) == pytest.approx((model["select_accuracy"], model["select_f1"]))
    # The loop stops by F1, as epochs are chosen.
    (gain,) = selecting_gains(task, warehouse, 1)
    assert gain.gain == pytest.approx(live(loop, "trained_model", 1)["select_f1"][0] - model["select_f1"])


def test_a_threshold_on_f1_makes_fewer_rows_errors(loop):
    task, warehouse, _ = loop
    spec = task.spec.model_copy(update={"qa": task.spec.qa.model_copy(update={"error_below_f1": 0.01})})
    lenient = replace(task, spec=spec)
    make_trained_model(lenient, warehouse, 0)
    rows = make_error_set(lenient, warehouse, 0).rows
    predictions = live(loop, "predictions", 0).filter(pl.col("split") == "steer")
    assert rows.height == predictions.filter(pl.col("f1") < 0.01).height
    assert set(rows["f1"]) <= {0.0}
    figures = round_figures(lenient, warehouse, 0)
    # Fewer errors, but no more exact answers.
    assert (figures.errors, figures.steer.right) == (rows.height, int(predictions["exact_match"].sum()))
    # As it was, for the other tests.
    for make in (make_trained_model, make_error_set):
        make(task, warehouse, 0)


def test_sql_shows_the_questions(loop):
    build_catalog(loop[1])
    with connect(loop[1]) as sql:
        sql.execute("set variable as_of = now()::timestamptz + interval 1 hour")
        ask = lambda query: sql.execute(query).fetchall()  # noqa: E731
        assert ask("select count(*) from seed_set where substr(text, answer_start + 1, length(answer)) <> answer") == [
            (0,)
        ]
        assert ask("select count(*) from row_origin where origin = 'extrapolated' and wrong_prediction is null") == [
            (0,)
        ]
        assert ask("select min(len(answers)), max(len(answers)) from gold") == [(1, 2)]
        assert ask(
            "select count(*) from row_origin where answer is null or gold_answer <> answer and first_round > 0"
        ) == [(0,)]
        assert ask("select count(*) from gold_history where f1 is null") == [(0,)]
        assert ask("select round, test_f1 from rounds order by round") == ask(
            "select round, test_f1 from trained_model order by round"
        )
        # Contexts are gold's word for word and no distance from it: the questions alone are measured.
        ((drift,),) = ask("select value from drift where metric = 'oov_share' and label is null and round = 0")
        assert drift > 0.5


def test_answers_that_do_not_stand_in_the_context_are_refused_and_kept(tmp_path, weights):
    def invents(body, number):
        items = [{"text2": f"question {number}.{place}?", "answer": ("Red", "purple")[place % 2]} for place in range(4)]
        return 200, json.dumps({"examples": items})

    with scripted_teacher(invents) as teacher:
        task = declared(tmp_path, teacher.url, weights, qa={"keep_answer": False})
        gold = read_gold(task)
        sources = gold.filter(pl.col("text").str.contains("red")).head(1).with_columns(prediction=pl.lit("boat"))
        key = RoundKey("small", "s3_shown", 0, 0)
        with teacher_session(task, Warehouse(tmp_path / "warehouse"), key, "extrapolated_set") as session:
            write_extrapolated_set(task, session, sources, 0, open_gates(task, gold), written := Written())
        assert all("answer" not in facts(body)["given"] for body in teacher.bodies)
    # As it stands in the context, whatever the case the teacher wrote it in.
    assert {(row["answer"], row["answer_start"]) for row in written.accepted} == {
        ("red", sources["text"][0].index("red"))
    }
    refused = [row for row in written.rejected if row["gate"] == "answer_not_in_context"]
    assert refused
    assert {row["answer"] for row in refused} == {"purple"}
    assert all("purple" in row["reason"] for row in refused)


def test_arms_are_compared_by_f1_with_exact_match_beside(loop):
    task, warehouse, _ = loop
    for arm in ("gold_only", "goldgen"):
        run_arm(task, warehouse, arm, 1)
    board = make_leaderboard(task, warehouse).result.rows
    assert set(board["metric"]) == {"f1"}
    assert board["exact_match_mean"].null_count() == 0
    assert (board["score_mean"] >= board["exact_match_mean"]).all()
