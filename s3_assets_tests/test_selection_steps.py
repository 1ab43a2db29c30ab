"""What a round's choice rests on, from live parts: predictions, earlier rounds, vectors; what the step stores of it."""

import hashlib
import json
import math
from dataclasses import dataclass

import numpy as np
import polars as pl
import pytest

from s3_assets.experiment.asked import asked
from s3_assets.generation.diagnosis import diagnosis_requests
from s3_assets.generation.estimate import ASSUMED_ERRORS, MOST_RUNS, estimate_rounds
from s3_assets.generation.imagined import Imagined
from s3_assets.generation.schedule import MOST_DIAGNOSES
from s3_assets.generation.seed import seed_wanted
from s3_assets.loop.fingerprints import (
    CODE_VERSIONS,
    DRIFT,
    ERROR_SET,
    EXTRAPOLATED_SET,
    SEED_SET,
    TRAINED_MODEL,
    _chosen,
    input_fingerprint,
    loop_key,
    upstream,
)
from s3_assets.loop.sources import read_basis
from s3_assets.loop.steps import make_extrapolated_set, make_gold, make_seed_set
from s3_assets.loop.uses import gold_in_use
from s3_assets.selection.choose import choose
from s3_assets.selection.clusters import group_count
from s3_assets.selection.skipped import mislabelled
from s3_assets.store.identity import digest
from s3_assets.store.parts import Warehouse
from s3_assets.store.tables import table
from s3_assets.tasks.gold import read_gold
from s3_assets.tasks.load import Task
from s3_assets_tests.fakes import DEMO_FOLDER, facts, obliging, scripted_teacher, write_task
from s3_assets_tests.test_estimate import train

ROWS = {"seed": 24, "per_call": 4, "per_round": 20}

# Declared, and never asked.
OUT_OF_REACH = {"base_url": "http://127.0.0.1:9/v1"}
EMBEDDED = {"backend": "embedded", "grammar": str(DEMO_FOLDER / "grammar.yaml")}


@pytest.fixture
def warehouse(tmp_path) -> Warehouse:
    return Warehouse(tmp_path / "warehouse")


@pytest.fixture
def embedded(monkeypatch) -> list[str]:
    """Vectors that follow from a hash of the text, without a model; gives the texts that were embedded."""
    seen: list[str] = []

    def embed(texts, *_):
        seen.extend(texts)
        drawn = [np.random.default_rng(list(hashlib.md5(text.encode()).digest())) for text in texts]
        vectors = np.stack([rng.standard_normal(384, np.float32) for rng in drawn])
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    monkeypatch.setattr("s3_assets.student.embeddings.embed", embed)
    return seen


def tried(folder, base="s3", rows=None, teacher=None, backend=None, **options) -> Task:
    keys = {} if backend is None else {"teacher": backend}
    keys = keys if teacher is None else {"teacher": {"base_url": teacher.url}}
    return write_task(
        folder,
        strategies={"tried": {"base": base, **options}},
        strategy="tried",
        rows={**ROWS, **(rows or {})},
        **keys,
    )


def diagnosing(body, number):
    if body["response_format"]["json_schema"]["name"] == "diagnosis":
        return 200, json.dumps({"diagnosis": f"They\nare read too fast, {facts(body)['errors'][0]['label']}."})
    return obliging(body, number)


def live(warehouse, name, task, round_=0) -> pl.DataFrame:
    return warehouse.live(name, loop_key(task, round_).columns()).read()


def first_round(task, warehouse, share=0.4) -> pl.DataFrame:
    """Gold, seed set, a model that gets ``share`` wrong and is sure of it all, and the extrapolated set."""
    make_gold(task, warehouse)
    make_seed_set(task, warehouse, 0)
    train(task, warehouse, 0, share)
    doubt = pl.when("correct").then(0.1).otherwise(0.9)
    predictions = live(warehouse, "predictions", task).with_columns(doubt=doubt)
    warehouse.write("predictions", loop_key(task, 0).columns(), predictions)
    return make_extrapolated_set(task, warehouse, 0).rows


def test_the_step_stores_what_it_chose(tmp_path, warehouse, embedded):
    with scripted_teacher(diagnosing) as teacher:
        task = tried(
            tmp_path, teacher=teacher, explore=0.25, shows=["prediction", "contrast", "diagnosis"], steers="dev"
        )
        rows = first_round(task, warehouse)
        blocks = [facts(body) for body in teacher.bodies if "example" in facts(body)]
        questions = [body for body in teacher.bodies if "errors" in facts(body)]
    sources = live(warehouse, "sources", task)
    gold = read_gold(task)
    uses = dict(gold.select("gold_id", "split").iter_rows())
    # Five questions about errors come off 20 rows.
    assert sources["rows_requested"].sum() == 15
    written = dict(rows["gold_id"].value_counts().iter_rows())
    assert written == dict(sources.filter(pl.col("rows_requested") > 0).select("gold_id", "rows_requested").iter_rows())
    assert set(sources["why"]) == {"error", "explored"}
    # Selecting gold steers here, test gold never does.
    assert {uses[one] for one in sources["gold_id"]} == {"steer", "select"}
    shown = sources.filter(pl.col("rows_requested") > 0)
    assert shown["contrast_id"].null_count() == 0
    assert {uses[one] for one in shown["contrast_id"]} <= {"steer", "select"}
    assert {block["contrast"]["text"] for block in blocks} <= set(gold.filter(pl.col("split") != "test")["text"])
    # Clusters are of errors alone, and each that was asked about has its diagnosis in one line.
    assert sources.filter(pl.col("why") == "explored")["cluster"].null_count() == sources["cluster"].null_count()
    assert len(questions) == shown["cluster"].n_unique() - int(shown["cluster"].has_nulls()) > 1
    of_errors = shown.filter(pl.col("cluster").is_not_null())
    assert of_errors["diagnosis"].null_count() == 0
    assert {said for (said,) in of_errors.select("diagnosis").iter_rows()} <= {
        f"They are read too fast, {label}." for label in task.spec.labels
    }
    told = dict(sources.select("gold_id", "diagnosis").iter_rows())
    ids = dict(gold.select("text", "gold_id").iter_rows())
    assert all(block.get("diagnosis") == told[ids[block["example"]["text"]]] for block in blocks)
    # Questions about errors are no rows.
    came = asked(
        warehouse, loop_key(task, 0), EXTRAPOLATED_SET, warehouse.live(EXTRAPOLATED_SET, loop_key(task, 0).columns())
    )
    assert came.rows_requested == 15
    assert came.calls == len(blocks) + len(questions)


def test_contrasts_and_sources_are_steering_gold_alone(tmp_path, warehouse, embedded):
    with scripted_teacher(obliging) as teacher:
        task = tried(tmp_path, teacher=teacher, by="doubt", explore=0.5, shows=["contrast"])
        first_round(task, warehouse)
    held_out = read_gold(task).filter(pl.col("split") != "steer")
    sources = live(warehouse, "sources", task)
    assert sources["contrast_id"].drop_nulls().len() > 5
    assert not set(held_out["gold_id"]) & {*sources["gold_id"], *sources["contrast_id"].drop_nulls()}
    assert not [body for body in teacher.bodies for text in held_out["text"] if text in body["messages"][-1]["content"]]
    # Nor is a vector made of it.
    assert not set(held_out["text"]) & set(embedded)


@pytest.mark.parametrize("shows", [["diagnosis"], ["contrast", "diagnosis"]])
def test_a_diagnosis_is_of_errors_of_one_fold(tmp_path, warehouse, embedded, shows):
    with scripted_teacher(diagnosing) as teacher:
        task = tried(tmp_path, teacher=teacher, shows=shows, cross_fit=2)
        gold = read_gold(task)
        errors = gold.filter(pl.col("split") == "steer").head(12).with_columns(pl.lit("x").alias("prediction"))
        known = read_basis(task, warehouse, loop_key(task, 0), gold, errors, None)
        requests = diagnosis_requests(task, choose(task, known, 0), known.rows(), 0)
    ids = dict(known.steer.select("text", "gold_id").iter_rows())
    asked_about = [
        {known.folds[ids[one["text"]]] for one in facts({"messages": one.messages})["errors"]}
        for one in requests.values()
    ]
    assert len(asked_about) > 1
    assert all(len(folds) == 1 for folds in asked_about)
    assert {1, 2} == set.union(*asked_about)
    # Nothing else needs folds.
    other = tried(tmp_path, by="cluster", cross_fit=2)
    assert read_basis(other, warehouse, loop_key(other, 0), gold, errors, None).folds == {}


def test_contrasts_are_of_the_rows_own_fold(tmp_path, warehouse, embedded):
    task = tried(tmp_path, shows=["contrast"], cross_fit=2)
    gold = read_gold(task)
    steer = gold.filter(pl.col("split") == "steer")
    errors = steer.head(12).with_columns(pl.lit("x").alias("prediction"))
    known = read_basis(task, warehouse, loop_key(task, 0), gold, errors, None)
    assert set(known.folds.values()) == {1, 2}
    pairs = [(one.gold_id, one.contrast_id) for one in choose(task, known, 0).sources if one.contrast_id]
    assert len(pairs) == 12
    assert all(known.folds[own] == known.folds[other] for own, other in pairs)


def test_the_paper_s_rule_makes_no_vectors(tmp_path, warehouse, embedded):
    task = tried(tmp_path)
    first_round(task, warehouse)
    assert embedded == []
    sources = live(warehouse, "sources", task)
    assert set(sources["why"]) == {"error"}
    assert sources["weight"].to_list() == [1.0] * sources.height
    assert sources["gold_id"].to_list() == live(warehouse, ERROR_SET, task)["gold_id"].to_list()
    assert sources["contrast_id"].null_count() == sources["cluster"].null_count() == sources.height


def test_doubt_is_of_the_round_s_predictions(tmp_path, warehouse):
    task = tried(tmp_path, by="doubt")
    gold = read_gold(task)
    steer = gold.filter(pl.col("split") == "steer")
    schema = table("predictions").schema
    rows = [
        {"gold_id": one, "split": split, "doubt": float(one == steer["gold_id"][3])}
        for one, split in gold.select("gold_id", "split").iter_rows()
    ]
    said = pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema)
    said = said.with_columns(pl.lit("small").alias("task"))
    warehouse.write("predictions", loop_key(task, 0).columns(), said)
    known = read_basis(task, warehouse, loop_key(task, 0), gold, table_of(ERROR_SET), None)
    assert known.said.height == steer.height
    wanted = choose(task, known, 0).wanted()
    assert {one: rows for one, rows in wanted.items() if rows} == {steer["gold_id"][3]: 20}


def test_rows_of_a_round_without_errors_name_the_student_that_doubted(tmp_path, warehouse):
    with scripted_teacher(obliging) as teacher:
        task = tried(tmp_path, teacher=teacher, by="doubt")
        rows = first_round(task, warehouse, share=0.0)
    assert live(warehouse, ERROR_SET, task).is_empty()
    assert rows.height
    assert set(rows["model_id"]) == set(live(warehouse, TRAINED_MODEL, task)["model_id"])


def table_of(name) -> pl.DataFrame:
    return pl.DataFrame(schema=table(name).schema)


def test_never_learned_are_errors_of_three_rounds_that_two_wrote_from(tmp_path, warehouse):
    task = tried(tmp_path, skips=["never_learned"])
    gold = read_gold(task)
    a, b, c = gold.filter(pl.col("split") == "steer")["gold_id"].head(3)

    def put(name, round_, ids):
        frame = pl.DataFrame({"gold_id": ids}, schema={"gold_id": pl.String})
        absent = [
            pl.lit(None, dtype).alias(column) for column, dtype in table(name).schema.items() if column != "gold_id"
        ]
        warehouse.write(name, loop_key(task, round_).columns(), frame.with_columns(absent))

    for round_, wrong, extrapolated in ((0, [a, b, c], [a, b]), (1, [a, b, c], [a, c])):
        put(ERROR_SET, round_, wrong)
        put(EXTRAPOLATED_SET, round_, extrapolated)
    errors = gold.filter(pl.col("gold_id").is_in([a, b, c]))
    for round_ in (1, 2):
        known = read_basis(task, warehouse, loop_key(task, round_), gold, errors, None)
        assert set(known.skipped) == (set() if round_ == 1 else {a})
    wanted = choose(task, known, 2).wanted()
    assert a not in wanted
    assert wanted[b] == wanted[c] == 10
    # With that error alone, none is skipped.
    assert (
        read_basis(task, warehouse, loop_key(task, 2), gold, errors.filter(pl.col("gold_id") == a), None).skipped == {}
    )
    free = tried(tmp_path)
    assert read_basis(free, warehouse, loop_key(free, 2), gold, errors, None).skipped == {}
    # What was passed over in a round stays so in the next.
    put(ERROR_SET, 2, [a, b, c])
    put(EXTRAPOLATED_SET, 2, [c])
    assert set(read_basis(task, warehouse, loop_key(task, 3), gold, errors, None).skipped) == {a, c}


def test_mislabelled_errors_are_those_that_students_on_other_rows_doubt(tmp_path, warehouse, monkeypatch):
    """Texts of one word, of which the vector tells the label; two gold rows are labelled against it."""

    def embed(texts, *_):
        return np.array([[1.0, 0.0] if "good" in text else [0.0, 1.0] for text in texts], np.float32)

    monkeypatch.setattr("s3_assets.quality.ensemble.embed", embed)
    rows = [(f"{('good', 'bad')[place % 2]} {place}", ("positive", "negative")[place % 2]) for place in range(160)]
    csv = "review,verdict\n" + "".join(f"{text},{label}\n" for text, label in rows)
    csv += "good but not,negative\nbad but not,positive\n"
    task = write_task(
        tmp_path,
        csv,
        strategies={"tried": {"base": "s3", "skips": ["mislabelled"]}},
        strategy="tried",
        gold={"file": "gold.csv", "split": {"steer": 0.5, "select": 0.25, "test": 0.25}},
    )
    gold = read_gold(task)
    # Wherever they fall: both steer. No other labels are looked at.
    planted = pl.col("text").str.contains("but not")
    gold = gold.with_columns(
        pl.when(planted).then(pl.lit("steer")).otherwise("split").alias("split"),
    ).with_columns(pl.when(pl.col("split") == "steer").then("label").otherwise(pl.lit("?")).alias("label"))
    errors = pl.concat([gold.filter(planted), gold.filter(~planted & (pl.col("split") == "steer")).head(3)])
    seed = pl.DataFrame(
        {
            "text": ["good one", "bad one"],
            "text2": [None, None],
            "label": ["positive", "negative"],
            "gold_id": [None] * 2,
        },
        schema_overrides={"text2": pl.String, "gold_id": pl.String},
    )
    known = read_basis(task, warehouse, loop_key(task, 0), gold, errors, seed)
    assert set(known.skipped) == set(gold.filter(planted)["gold_id"])
    assert all(reason.startswith("mislabelled: others give ") for reason in known.skipped.values())
    # What is only looked ahead at asks no students.
    assert read_basis(task, warehouse, loop_key(task, 0), gold, errors, seed, ahead=True).skipped == {}


def test_a_label_is_doubted_by_how_much_likelier_another_is(tmp_path, monkeypatch):
    from s3_assets.quality.ensemble import Opinion

    task = tried(tmp_path, skips=["mislabelled"])
    steer = read_gold(task).filter(pl.col("split") == "steer").head(5)
    said = [Opinion(own, "other", top) for own, top in ((0.15, 0.8), (0.15, 0.3), (0.19, 0.8), (0.5, 0.5))]
    monkeypatch.setattr("s3_assets.generation.held_out.opinions_held_out", lambda *_: [*said, None])
    ids = steer["gold_id"].to_list()
    # Of many labels even the likeliest has little: 0.15 of 0.3 is no doubt.
    assert set(mislabelled(task, ids, steer, table_of(SEED_SET))) == {ids[0]}
    assert mislabelled(task, ids[1:], steer, table_of(SEED_SET)) == {}


def test_questions_have_no_labels_to_doubt(tmp_path, caplog):
    from s3_assets_tests.test_templates import task_of

    caplog.set_level("INFO", logger="s3_assets")
    assert mislabelled(task_of(tmp_path, "qa"), ["a"], table_of("gold"), table_of(SEED_SET)) == {}
    assert "questions have no labels" in caplog.text


# -- the seed set ------------------------------------------------------------------------------------------------------


def test_the_seed_set_has_gold_s_shares_of_labels(tmp_path, warehouse):
    csv = "review,verdict\n" + "".join(
        f"text {place},{'positive' if place % 5 else 'negative'}\n" for place in range(100)
    )
    with scripted_teacher(obliging) as teacher:
        keys = {"strategies": {"tried": {"base": "s3", "prior": "gold"}}, "teacher": {"base_url": teacher.url}}
        task = write_task(tmp_path, csv, strategy="tried", rows=ROWS, **keys)
        make_gold(task, warehouse)
        rows = make_seed_set(task, warehouse, 0).rows
    steer = read_gold(task).filter(pl.col("split") == "steer")
    share = steer.filter(pl.col("label") == "positive").height / steer.height
    found = dict(rows["label"].value_counts().iter_rows())
    assert found == {"positive": round(24 * share), "negative": 24 - round(24 * share)}
    assert found["positive"] > 15
    assert found == seed_wanted(task, steer)
    assert seed_wanted(write_task(tmp_path, csv, rows=ROWS), steer) == {"positive": 12, "negative": 12}


def test_each_label_has_a_row_at_least(tmp_path):
    task = tried(tmp_path, prior="gold")
    only = pl.DataFrame({"label": ["positive"] * 50})
    assert seed_wanted(task, only) == {"positive": 23, "negative": 1}
    with pytest.raises(ValueError, match="steering gold"):
        seed_wanted(task)


# -- fingerprints ------------------------------------------------------------------------------------------------------


# What an extrapolated set follows from, by name; each is held against all others.
FOLLOWS = {
    "nothing": {},
    "by": {"by": "loss"},
    "keep": {"by": "loss", "keep": 0.5},
    "doubt": {"by": "doubt"},
    "skips": {"skips": ["mislabelled"]},
    "explore": {"explore": 0.5},
    "prior": {"prior": "gold"},
    "steers": {"steers": "dev"},
    "one_each": {"one_each": True},
    "prediction": {"shows": ["prediction"]},
    "probability": {"shows": ["prediction", "probability"]},
    "contrast": {"shows": ["contrast"]},
    "contrast in folds": {"shows": ["contrast"], "cross_fit": 2},
    "contrast in other folds": {"shows": ["contrast"], "cross_fit": 3},
    "diagnosis": {"shows": ["diagnosis"]},
    "diagnosis in folds": {"shows": ["diagnosis"], "cross_fit": 2},
    "diagnosis in other folds": {"shows": ["diagnosis"], "cross_fit": 3},
    "verify": {"verify": "teacher"},
    "other verify": {"verify": "students"},
    "seed_share": {"seed_share": 0.5},
    "steps": {"steps": 4},
    "growth": {"growth": 2},
    "budget": {"budget": 0.5, "seed_share": 0.5},
}


def follows(folder, asset, options, round_=0, **keys) -> str:
    task = write_task(
        folder,
        strategies={"tried": {"base": "s3", **options}},
        strategy="tried",
        rows=ROWS,
        teacher=OUT_OF_REACH,
        **keys,
    )
    return input_fingerprint(task, asset, round_, {})


def test_each_option_changes_what_the_extrapolated_set_follows_from(tmp_path):
    found: dict[str, str] = {}
    for name, options in FOLLOWS.items():
        said = follows(tmp_path, EXTRAPOLATED_SET, options)
        assert said not in found, (name, found.get(said))
        found[said] = name
    # Students of folds alone choose no rows and show nothing.
    assert found[follows(tmp_path, EXTRAPOLATED_SET, {"cross_fit": 2})] == "nothing"


def test_options_of_the_seed_set_change_what_it_follows_from(tmp_path):
    found = {name: follows(tmp_path, SEED_SET, options) for name, options in FOLLOWS.items()}
    of_seeds = {"prior", "steers", "verify", "other verify", "seed_share", "budget"}
    assert {name for name in found if found[name] != found["nothing"]} == of_seeds
    assert len(set(found.values())) == len(of_seeds) + 1
    assert found["nothing"] != follows(tmp_path, SEED_SET, {"rationales": False})


def test_what_steers_changes_what_is_measured_against_it(tmp_path):
    """Distance from steering gold, shortcuts that it lacks: of a task's own seed rows and of later rounds too."""
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "seed.csv").write_text("text,label\nfine,positive\n")
    for asset, round_, keys in (
        (DRIFT, 0, {}),
        (SEED_SET, 1, {}),
        (SEED_SET, 0, {"seed_rows": "seed.csv"}),
        (TRAINED_MODEL, 0, {}),
    ):
        dev, paper = (follows(tmp_path, asset, how, round_, **keys) for how in ({"steers": "dev"}, {}))
        assert dev != paper, (asset, round_)
        assert paper == follows(tmp_path, asset, {"by": "loss"}, round_, **keys)


def test_options_of_the_paper_add_nothing_to_what_parts_followed_from(tmp_path):
    """Parts of before there was an option stay live."""
    task = write_task(tmp_path, strategy="s3", rows=ROWS)
    spec = task.spec
    before = [spec.drift.model_dump(), list(spec.fields_written), spec.seed]
    assert input_fingerprint(task, DRIFT, 0, {}) == digest([DRIFT, CODE_VERSIONS[DRIFT], before, {}])
    assert input_fingerprint(task, SEED_SET, 1, {}) == digest([SEED_SET, CODE_VERSIONS[SEED_SET], None, {}])
    shown = write_task(tmp_path, strategy="s3_shown", rows=ROWS)
    for one in (task, shown):
        assert _chosen(one) == []


def test_doubt_reads_the_student_s_predictions(tmp_path):
    assert (TRAINED_MODEL, 1) in upstream(tried(tmp_path, by="doubt"), EXTRAPOLATED_SET, 1)
    assert (TRAINED_MODEL, 1) not in upstream(tried(tmp_path), EXTRAPOLATED_SET, 1)


# -- estimates ---------------------------------------------------------------------------------------------------------


def test_the_default_strategy_is_estimated_before_any_training(tmp_path, warehouse, embedded):
    with scripted_teacher(obliging) as teacher:
        task = write_task(tmp_path, strategy="default", teacher={"base_url": teacher.url}, rows=ROWS)
        zero, one = estimate_rounds(task, warehouse, 0, 1)
        assert teacher.bodies == []
        assert embedded == []
        assert one.ground == f"assumed {ASSUMED_ERRORS:.0%} errors"
        make_gold(task, warehouse)
        make_seed_set(task, warehouse, 0)
        assert zero.cost.calls == len(teacher.bodies)
        steer = gold_in_use(task, read_gold(task)).filter(pl.col("split") == "steer")
        assert 0 < one.cost.calls < steer.height
        assert one.cost.tokens > 0
    plain = estimate_rounds(write_task(tmp_path / "plain", strategy="default~shows", rows=ROWS), warehouse, 1, 1)
    # The contrast and its words are read too.
    assert one.cost.read / one.cost.calls > plain[0].cost.read / plain[0].cost.calls


# What an option does to rounds 0 to 2, held against the paper's rule.
SAID = {
    "doubt": ({"by": "doubt"}, lambda it, paper: it.calls[1] > paper.calls[1]),
    "loss": ({"by": "loss", "keep": 0.5}, lambda it, paper: it.calls[1] < paper.calls[1]),
    "explore": ({"explore": 0.5}, lambda it, paper: it.calls[1] > paper.calls[1]),
    "one_each": ({"one_each": True}, lambda it, paper: it.calls[1] == it.errors and it.rows[1] < paper.rows[1]),
    "dev": ({"steers": "dev"}, lambda it, paper: it.calls[1] > paper.calls[1]),
    "contrast": ({"shows": ["contrast"]}, lambda it, paper: it.each[1] > 1.1 * paper.each[1]),
    "contrast in folds": ({"shows": ["contrast"], "cross_fit": 3}, lambda it, paper: it.each[1] > 1.1 * paper.each[1]),
    "prediction": ({"shows": ["prediction"]}, lambda it, paper: it.each[1] > paper.each[1]),
    "verify": ({"verify": "teacher"}, lambda it, paper: it.questions > 0 == paper.questions),
    "seed_share": ({"seed_share": 0.5}, lambda it, paper: it.calls[0] > paper.calls[0] and it.rows[1] < paper.rows[1]),
    "steps": ({"steps": 6}, lambda it, paper: it.calls[:1] == paper.calls[:1] and it.calls[1] < paper.calls[1]),
    "growth": ({"growth": 3}, lambda it, paper: it.rows[1] < paper.rows[1] and it.rows[2] > paper.rows[2]),
    "budget": ({"budget": 0.2, "seed_share": 0.375}, lambda it, paper: all(map(float.__lt__, it.calls, paper.calls))),
}


@dataclass
class Said:
    """An estimate of rounds: calls, tokens written (which go by rows), tokens read a call; of errors assumed."""

    calls: list[float]
    rows: list[float]
    each: list[float]
    questions: int
    errors: int


def estimated(folder, **options) -> Said:
    task = write_task(
        folder / "tasks",
        strategies={"tried": {"base": "s3", **options}},
        strategy="tried",
        rows={**ROWS, "per_round": 60},
        teacher=OUT_OF_REACH,
    )
    kinds: list[str] = []
    imagine = Imagined._imagine

    def heard(self, request):
        kinds.append(request.kind)
        return imagine(self, request)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Imagined, "_imagine", heard)
        # The means of so few differ by less than what is compared.
        patch.setattr("s3_assets.generation.estimate.MOST_RUNS", 5)
        costs = [one.cost for one in estimate_rounds(task, Warehouse(folder / "warehouse"), 0, 2)]
    steer = gold_in_use(task, read_gold(task)).filter(pl.col("split") == "steer").height
    calls, rows = [one.calls for one in costs], [one.written for one in costs]
    each = [one.read / one.calls for one in costs]
    return Said(calls, rows, each, kinds.count("label"), math.ceil(ASSUMED_ERRORS * steer))


@pytest.fixture(scope="module")
def paper_estimated(tmp_path_factory) -> Said:
    return estimated(tmp_path_factory.mktemp("paper"))


@pytest.mark.parametrize("name", SAID)
def test_every_option_is_estimated(tmp_path, embedded, paper_estimated, name):
    options, holds = SAID[name]
    found = estimated(tmp_path, **options)
    assert holds(found, paper_estimated), (found, paper_estimated)
    assert embedded == []


def test_questions_about_errors_are_estimated_by_fold(tmp_path, warehouse, embedded, monkeypatch):
    """Groups are within folds, so there are more of them; each has one question."""
    kinds: list[str] = []
    imagine = Imagined._imagine
    monkeypatch.setattr(Imagined, "_imagine", lambda self, one: (kinds.append(one.kind), imagine(self, one))[1])
    csv = "review,verdict\n" + "".join(f"text {place},{('positive', 'negative')[place % 2]}\n" for place in range(60))
    asked = []
    for cross_fit in (0, 3):
        kinds.clear()
        own = {"tried": {"base": "s3", "shows": ["diagnosis"], "cross_fit": cross_fit}}
        task = write_task(
            tmp_path, csv, strategies=own, strategy="tried", rows={**ROWS, "per_round": 60}, teacher=OUT_OF_REACH
        )
        estimate_rounds(task, warehouse, 1, 1)
        asked.append(kinds.count("diagnosis") / MOST_RUNS)
    errors = math.ceil(ASSUMED_ERRORS * read_gold(task).filter(pl.col("split") == "steer").height)
    assert asked[0] == group_count(errors) < asked[1] <= MOST_DIAGNOSES


@pytest.mark.parametrize("options", [{"by": "cluster"}, {"by": "doubt", "steers": "dev"}, {"skips": ["mislabelled"]}])
def test_an_estimate_once_errors_are_known_is_what_is_then_asked(tmp_path, warehouse, embedded, options):
    with scripted_teacher(diagnosing) as teacher:
        task = tried(tmp_path, teacher=teacher, shows=["diagnosis"], **options)
        make_gold(task, warehouse)
        make_seed_set(task, warehouse, 0)
        train(task, warehouse, 0, 0.4)
        sure = live(warehouse, "predictions", task).with_columns(doubt=pl.when("correct").then(0.1).otherwise(0.9))
        warehouse.write("predictions", loop_key(task, 0).columns(), sure)
        (said,) = estimate_rounds(task, warehouse, 1, 1)
        before = len(teacher.bodies)
        make_extrapolated_set(task, warehouse, 0)
        assert said.ground == "errors known"
        # Clusters of other vectors have other sizes.
        assert abs(said.cost.calls - (len(teacher.bodies) - before)) <= 2


def test_an_estimate_does_not_say_over_and_over_what_the_step_will_say(tmp_path, warehouse, embedded, caplog):
    task = tried(tmp_path, shows=["diagnosis"], backend=EMBEDDED)
    estimate_rounds(task, warehouse, 0, 2)
    assert "diagnosis" not in caplog.text
    first_round(task, warehouse)
    assert caplog.text.count("shows: diagnosis is left out: the embedded teacher cannot answer it") == 1
