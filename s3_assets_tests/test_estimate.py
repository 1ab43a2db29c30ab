"""What rounds are said to cost, against what they then cost; what the estimate rests on; budgets it exceeds."""

import json
import threading

import polars as pl
import pytest

from s3_assets.generation.estimate import (
    ASSUMED_ERRORS,
    SPENT,
    beyond_budget,
    estimate_rounds,
    total,
)
from s3_assets.generation.rates import measured_rates
from s3_assets.loop.fingerprints import EXTRAPOLATED_SET, GOLD, SEED_SET, TRAINED_MODEL, loop_key
from s3_assets.loop.publish import publish
from s3_assets.loop.steps import make_error_set, make_extrapolated_set, make_gold, make_seed_set
from s3_assets.store.parts import Warehouse
from s3_assets.store.tables import table
from s3_assets.tasks.gold import read_gold
from s3_assets.teacher.ledger import paid_by_round, spent
from s3_assets_tests import fakes
from s3_assets_tests.fakes import obliging, scripted_teacher, write_task
from s3_assets_tests.simulated_teacher import KEY_VARIABLE, packs_folder, simulated_teacher, write_pack_task

PRICE = {"input": 0.15, "output": 0.6}


@pytest.fixture
def warehouse(tmp_path):
    return Warehouse(tmp_path / "warehouse")


def train(task, warehouse, round_, share):
    """A round's model without a student: every so many rows of gold are wrong. Gives its error set."""
    key = loop_key(task, round_)
    labels = list(task.spec.labels)
    other = dict(zip(labels, [*labels[1:], labels[0]], strict=True))

    def make(inputs):
        folder = warehouse.model_folder(key)
        folder.mkdir(parents=True)
        (folder / "model.safetensors").touch()
        # Which ones does not follow from their order in the file.
        wrong = (pl.col("gold_id").rank("ordinal") + round_) % 100 < 100 * share
        said = pl.when(wrong).then(pl.col("label").replace_strict(other)).otherwise("label")
        rows = [
            {**row, **key.columns(), "model_id": "m", "correct": row["label"] == row["prediction"]}
            for row in inputs[GOLD].read().with_columns(said.alias("prediction")).to_dicts()
        ]
        schema = table("predictions").schema
        predictions = pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema)
        warehouse.write("predictions", key.columns(), predictions)
        model = {**key.columns(), "model_id": "m", "path": str(folder.relative_to(warehouse.root))}
        return pl.DataFrame([model], schema=table(TRAINED_MODEL).schema), {}

    publish(task, warehouse, TRAINED_MODEL, round_, make)
    return make_error_set(task, warehouse, round_).rows


def seeded(task, warehouse):
    make_gold(task, warehouse)
    make_seed_set(task, warehouse, 0)


def assert_within(estimated, real, share=0.15):
    for name in ("calls", "tokens", "money"):
        said, was = getattr(estimated.cost, name), getattr(real.cost, name)
        assert was > 0, name
        assert abs(said / was - 1) <= share, (name, said, was)


@pytest.fixture
def counted(monkeypatch):
    """Makes scripted teachers bill tokens by length, as an endpoint does; wraps a script."""
    asked = threading.local()
    envelope = fakes._envelope

    def billed(content, *_):
        return envelope(content, {"prompt_tokens": asked.characters // 3, "completion_tokens": len(content) // 3})

    monkeypatch.setattr(fakes, "_envelope", billed)

    def counting(script):
        def wrapped(body, number):
            asked.characters = sum(len(message["content"]) for message in body["messages"])
            return script(body, number)

        return wrapped

    return counting


def careless(body, number):
    """Every tenth request fails, every ninth answer breaks off at once, every fifth holds the same text twice."""
    if number % 10 == 9:
        return 500, "oops"
    if number % 9 == 8:
        return 200, '{"examples": ['
    status, content = obliging(body, number)
    if number % 5 == 4 and body["response_format"]["json_schema"]["name"] == "examples":
        items = json.loads(content)["examples"]
        content = json.dumps({"examples": [items[0]] * len(items)})
    return status, content


# -- before anything is asked ----------------------------------------------------------------------------------------


def test_before_anything_is_asked_the_seed_set_is_its_first_wave(tmp_path, warehouse):
    with scripted_teacher(obliging) as teacher:
        task = write_task(tmp_path, teacher={"base_url": teacher.url})
        zero, one, two = estimate_rounds(task, warehouse, 0, 2)
        assert teacher.bodies == []
        assert not warehouse.root.exists()
        seeded(task, warehouse)
        assert zero.cost.calls == len(teacher.bodies)
    assert zero.ground == "before any error"
    assert zero.cost.read > 0 < zero.cost.written
    # 137 rows steer; of the 42 assumed errors 20 give the round's 20 rows.
    steer = read_gold(task).filter(pl.col("split") == "steer").height
    assert steer * ASSUMED_ERRORS > 20
    assert one.ground == two.ground == "assumed 30% errors"
    assert 20 <= one.cost.calls < 26


def test_a_cap_on_rows_of_an_error_asks_for_the_assumed_share_of_steering_gold(tmp_path, warehouse):
    task = write_task(tmp_path, rows={"seed": 24, "per_error": 2, "per_round": 1000})
    (one,) = estimate_rounds(task, warehouse, 1, 1)
    errors = read_gold(task).filter(pl.col("split") == "steer").height * ASSUMED_ERRORS
    assert errors <= one.cost.calls <= 1.25 * errors


def test_questions_and_finer_labels_are_estimated_too(tmp_path, warehouse):
    gold = "a,b,answer\n" + "".join(f"the boat {n} lies in harbour,where is {n}?,harbour\n" for n in range(80))
    fields = {"text": "a", "text2": "b", "answer": "answer"}
    teacher = {"base_url": "http://x/v1"}
    task = write_task(tmp_path, gold, kind="qa", fields=fields, labels=None, teacher=teacher)
    zero, one = estimate_rounds(task, warehouse, 0, 1)
    assert zero.cost.calls == 6
    assert one.cost.calls > 0
    pairs = {"kind": "pair", "fields": {"text": "a", "text2": "b", "label": "answer"}}
    finer = {"harbour": {"means": "It holds.", "sublabels": {"sure": "Surely.", "likely": "Likely."}}, "sea": "Not."}
    task = write_task(tmp_path, gold, **pairs, labels=finer, teacher=teacher)
    steer = read_gold(task).filter(pl.col("split") == "steer").height
    # A question for each steering row of the label, and the same requests.
    assert estimate_rounds(task, warehouse, 0, 0)[0].cost.calls == pytest.approx(6 + steer, abs=1)


def test_pairs_and_own_seed_rows(tmp_path, warehouse):
    gold = "a,b,label\n" + "".join(f"first {n},second {n},{'yn'[n % 2]}\n" for n in range(80))
    fields = {"text": "a", "text2": "b", "label": "label"}
    labels = {"y": "It follows.", "n": "It does not."}
    task = write_task(tmp_path, gold, kind="pair", fields=fields, labels=labels, teacher={"base_url": "http://x/v1"})
    assert estimate_rounds(task, warehouse, 0, 0)[0].cost.calls == 6
    own = tmp_path / "seed.csv"
    own.write_text("text,text2,label\na,b,y\nc,d,n\n")
    task = write_task(tmp_path, gold, kind="pair", fields=fields, labels=labels, seed_rows=str(own))
    zero, one = estimate_rounds(task, warehouse, 0, 1)
    assert (zero.ground, zero.cost.calls) == ("own rows", 0)
    assert one.cost.calls > 0


# -- once round 0 is done --------------------------------------------------------------------------------------------


def test_after_round_0_the_next_one_costs_what_was_said(tmp_path, warehouse):
    """The embedded teacher, at a price."""
    task = write_task(
        tmp_path,
        teacher={"backend": "embedded", "grammar": str(fakes.DEMO_FOLDER / "grammar.yaml"), "price": PRICE},
        rows={"seed": 60, "per_error": 3, "per_call": 4},
    )
    seeded(task, warehouse)
    errors = train(task, warehouse, 0, 0.3)
    before, said, further = estimate_rounds(task, warehouse, 0, 2)
    assert (before.ground, said.ground) == (SPENT, "errors known")
    assert further.ground == "assumed as many errors as in round 0"
    assert further.cost.calls == pytest.approx(said.cost.calls, rel=0.1)
    make_extrapolated_set(task, warehouse, 0)
    real = estimate_rounds(task, warehouse, 1, 1)[0]
    assert real.cost.calls >= errors.height
    assert_within(said, real)


def test_failed_and_unusable_answers_and_refused_rows_are_expected_again(tmp_path, warehouse, counted):
    with scripted_teacher(counted(careless)) as teacher:
        task = write_task(
            tmp_path,
            # One at a time: which request goes wrong follows from its place.
            teacher={"base_url": teacher.url, "price": PRICE, "concurrency": 1},
            rows={"seed": 80, "per_error": 3, "per_call": 4, "refill": True},
        )
        seeded(task, warehouse)
        # Round 1 by what the seed set told, round 2 by what round 1 did.
        for round_ in (1, 2):
            errors = train(task, warehouse, round_ - 1, 0.3)
            said = estimate_rounds(task, warehouse, round_, round_)[0]
            make_extrapolated_set(task, warehouse, round_ - 1)
            make_seed_set(task, warehouse, round_)
            real = estimate_rounds(task, warehouse, round_, round_)[0]
            assert real.cost.calls > 1.3 * errors.height
            assert_within(said, real)


def test_rounds_that_are_made_show_what_they_cost(tmp_path, warehouse):
    with scripted_teacher(careless) as teacher:
        task = write_task(tmp_path, teacher={"base_url": teacher.url, "price": PRICE})
        seeded(task, warehouse)
        train(task, warehouse, 0, 0.3)
        make_extrapolated_set(task, warehouse, 0)
        sent = len(teacher.bodies)
        made = estimate_rounds(task, warehouse, 0, 1)
        assert len(teacher.bodies) == sent
    assert [one.ground for one in made] == [SPENT, SPENT]
    paid = paid_by_round(warehouse, loop_key(task, 0))
    for one in made:
        assert one.cost.calls == paid[one.round].calls
        assert one.cost.tokens == paid[one.round].tokens
        assert one.cost.money == pytest.approx(paid[one.round].money)
    assert total(made).calls == sent


def test_answers_in_the_ledger_are_free(tmp_path, warehouse):
    with scripted_teacher(careless) as teacher:
        task = write_task(tmp_path, teacher={"base_url": teacher.url, "price": PRICE})
        seeded(task, warehouse)
        train(task, warehouse, 0, 0.3)
        make_extrapolated_set(task, warehouse, 0)
        warehouse.retire(EXTRAPOLATED_SET, loop_key(task, 0).columns())
        again = estimate_rounds(task, warehouse, 1, 1)[0]
        sent = len(teacher.bodies)
        make_extrapolated_set(task, warehouse, 0)
        assert len(teacher.bodies) == sent
        assert again.cost.calls == 0
        assert again.from_ledger > 0
        assert again.ground == "errors known"
        warehouse.retire(SEED_SET, loop_key(task, 0).columns())
        zero, one = estimate_rounds(task, warehouse, 0, 1)
    assert zero.cost.calls == 0
    assert one.ground == "assumed 30% errors"


def test_rates_are_of_the_tasks_own_teacher(tmp_path, warehouse, counted):
    with scripted_teacher(counted(careless)) as teacher:
        keys = {"base_url": teacher.url, "concurrency": 1}
        task = write_task(tmp_path, teacher=keys, rows={"seed": 160, "per_call": 4})
        seeded(task, warehouse)
        rates = measured_rates(task, warehouse)[SEED_SET, "examples"]
        # A token is three characters here; the price of messages is not that of JSON around them.
        assert 1 / rates.read == pytest.approx(3, rel=0.02)
        assert 1 / rates.written == pytest.approx(3, rel=0.05)
        assert 1.1 < rates.calls < 1.4
        assert 0.7 < rates.accepted_share < 1
        other = write_task(tmp_path, teacher={**keys, "model": "another"}, rows={"seed": 160, "per_call": 4})
        assert measured_rates(other, warehouse)[SEED_SET, "examples"].measured == 0


def test_an_endpoint_that_never_answered_says_nothing_of_the_next_run(tmp_path, warehouse):
    with scripted_teacher(lambda body, number: (500, "down")) as teacher:
        task = write_task(tmp_path, teacher={"base_url": teacher.url, "retries": 1})
        fresh = estimate_rounds(task, warehouse, 0, 0)
        with pytest.raises(RuntimeError):
            seeded(task, warehouse)
    assert spent(warehouse, {"task": "small"}).calls > 0
    assert estimate_rounds(task, warehouse, 0, 0) == fresh


# -- money and budgets -----------------------------------------------------------------------------------------------


def test_a_batch_costs_its_share_and_an_unknown_price_is_unknown(tmp_path, warehouse):
    def money(**teacher):
        task = write_task(tmp_path, teacher={"base_url": "http://x/v1", **teacher})
        return estimate_rounds(task, warehouse, 0, 0)[0].cost.money

    live = money(price=PRICE)
    assert live > 0
    assert money(price=PRICE, mode="batch", batch_price_factor=0.25) == pytest.approx(live / 4)
    assert money() is None
    assert money(backend="embedded", grammar=str(fakes.DEMO_FOLDER / "grammar.yaml")) == 0
    assert money(price=PRICE, mode="replay") == 0


def test_limits_that_are_exceeded_are_said(tmp_path, warehouse):
    with scripted_teacher(obliging) as teacher:
        keys = {
            "teacher": {"base_url": teacher.url, "price": PRICE},
            "rows": {"seed": 24, "per_error": 2, "per_call": 4},
        }
        task = write_task(tmp_path, **keys, budget={"calls": 60, "per_round": {"calls": 30}})
        seeded(task, warehouse)
        errors = train(task, warehouse, 0, 0.2).height
        assert 22 < errors < 52
        rounds = estimate_rounds(task, warehouse, 0, 2)
        said = "\n".join(beyond_budget(task, warehouse, rounds))
        done = spent(warehouse, {"task": "small"}).calls
    assert f"budget.calls leaves {60 - done} calls" in said
    # The rows of round 1 are asked for in round 0, whose seed set was paid too.
    assert f"what round 0 asks takes about {rounds[1].cost.calls:.0f} calls" in said
    assert f"budget.per_round.calls leaves {30 - done} calls" in said
    assert beyond_budget(task, warehouse, rounds[:1]) == []
    roomy = write_task(tmp_path, **keys, budget={"calls": 600, "money": 1})
    assert beyond_budget(roomy, warehouse, estimate_rounds(roomy, warehouse, 0, 2)) == []
    poor = write_task(tmp_path, **keys, budget={"calls": 600, "money": 0.00003})
    assert "budget.money leaves $" in beyond_budget(poor, warehouse, estimate_rounds(poor, warehouse, 0, 2))[0]


def test_the_command_shows_figures_ground_price_and_budget(command, tmp_path):
    write_task(tmp_path / "tasks", teacher={"base_url": "http://127.0.0.1:9/v1"}, budget={"calls": 10})
    code, out, _ = command("estimate", "small", "--rounds", "0-3")
    assert code == 0
    table_rows = [line.split() for line in out.splitlines() if line.split()[:1] in (["0"], ["3"], ["all"])]
    assert table_rows[0][1] == "8"
    assert all("unknown" in row for row in table_rows)
    assert "before any error" in out
    assert "assumed 30% errors" in out
    assert "price: unknown, the price table has no model 'gpt-4o-mini' at http://127.0.0.1:9/v1" in out
    assert "over budget: what is still to be asked takes about" in out
    assert "budget.calls leaves 10 calls" in out
    code, _, err = command("estimate", "small", "--rounds", "0-9")
    assert code == 2
    assert "allows rounds 0-3" in err
    code, out, _ = command("estimate", "film_reviews")
    assert code == 0
    assert "price: $0 per million tokens read" in out
    assert "budget: what is ahead fits" in out


# -- real text -------------------------------------------------------------------------------------------------------


@pytest.mark.packs
def test_real_text_and_a_teacher_that_misbehaves_as_a_hosted_one(tmp_path, warehouse, monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, "a key")
    packs = packs_folder()
    with simulated_teacher(packs, "sentiment_mr") as teacher:
        task = write_pack_task(
            tmp_path / "tasks",
            packs / "sentiment_mr",
            "reviews",
            teacher.url,
            teacher={"price": PRICE},
            gold={"limit": {"dev": 300}},
            strategy="s3_shown",
        )
        seeded(task, warehouse)
        train(task, warehouse, 0, 0.3)
        said = estimate_rounds(task, warehouse, 1, 1)[0]
        make_extrapolated_set(task, warehouse, 0)
        real = estimate_rounds(task, warehouse, 1, 1)[0]
    assert said.ground == "errors known"
    assert_within(said, real)
