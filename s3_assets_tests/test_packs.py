"""Real text through the entry of ``s3-assets run``, from a teacher that misbehaves: where every answer ended.

The packs are outside the project; ``make test-packs`` runs this module, with ``S3_ASSETS_PACKS`` naming their folder.
"""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import polars as pl
import pytest
from rich.console import Console

from s3_assets import settings
from s3_assets.cli import run
from s3_assets.experiment.arms import run_arm
from s3_assets.loop.fingerprints import loop_key
from s3_assets.loop.steps import make_gold
from s3_assets.store.catalog import connect
from s3_assets.store.parts import Warehouse
from s3_assets.tasks.load import load_task
from s3_assets_tests.simulated_teacher import (
    GOLD_ROWS,
    packs_folder,
    simulated_teacher,
    write_pack_task,
)
from s3_assets_tests.test_paper_tasks import copy_of, small

pytestmark = pytest.mark.packs

SEED_ROWS = 80
TEST_ROWS = 2000

# Often enough that each happens many times in about a hundred requests; the draws are seeded.
MISBEHAVIOUR = {"refusals": 0.1, "copying": 0.2, "broken_json": 0.15, "http_429": 0.1, "http_500": 0.05}
REFUSAL = "I'm sorry, but as an AI language model I can't help with that request."


@dataclass(frozen=True)
class Loop:
    """What rounds 0 and 1 left behind: the catalog, the teacher's own counts, the printed table."""

    sql: duckdb.DuckDBPyConnection
    counted: dict[str, dict[str, int]]
    printed: str

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        return self.sql.execute(query).fetchall()


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory, tiny_student: Path) -> Iterator[Loop]:
    place, packs = tmp_path_factory.mktemp("packs"), packs_folder()
    (place / "home").mkdir()
    printed = io.StringIO()
    with (
        pytest.MonkeyPatch.context() as environment,
        simulated_teacher(packs, "sentiment_mr", **MISBEHAVIOUR) as teacher,
    ):
        environment.setenv("S3_ASSETS_WAREHOUSE", str(place / "warehouse"))
        environment.setenv("S3_ASSETS_SIMULATED_KEY", "a key")
        task = write_pack_task(
            place / "tasks",
            packs / "sentiment_mr",
            "reviews",
            teacher.url,
            student={"weights": str(tiny_student), "epochs": 1, "min_steps": 0},
            rows={"seed": SEED_ROWS, "per_error": 2, "per_call": 4, "refill": True},
            strategy="s3_shown",
            rationales={"per_label": 10, "per_request": 2},
        )
        with dg.DagsterInstance.local_temp(str(place / "home")) as instance:
            environment.setattr(run, "open_instance", lambda: instance)
            run.run_rounds(Console(file=printed, width=200), task, 0, 1)
        counted = teacher.stats()
        with connect(settings.warehouse()) as sql:
            sql.execute("set variable as_of = now()::timestamptz + interval 1 hour")
            yield Loop(sql, counted, printed.getvalue())


def written(response: str) -> list[dict[str, str]] | None:
    """Examples in an answer; None when its JSON was cut off."""
    try:
        return json.loads(response)["examples"]
    except json.JSONDecodeError:
        return None


def test_a_hundred_gold_rows_steer_and_select_and_the_test_file_tests(loop):
    counts = dict(loop.ask("select split, count(*) from gold group by all"))
    assert counts["steer"] + counts["select"] == GOLD_ROWS
    assert counts["test"] == TEST_ROWS
    assert counts["steer"] > counts["select"] > 0
    sources = loop.ask("select distinct split = 'test', parse_filename(source) from gold order by all")
    assert sources == [(False, "gold_val.parquet"), (True, "gold_test.parquet")]
    assert loop.ask("select round, count(*) from predictions where split = 'test' group by all order by all") == [
        (0, TEST_ROWS),
        (1, TEST_ROWS),
    ]


def test_training_sets_grow_by_what_was_extrapolated(loop):
    by_origin = {
        tuple(key): rows for *key, rows in loop.ask("select round, origin, count(*) from seed_set group by all")
    }
    ((added,),) = loop.ask("select count(*) from extrapolated_set where round = 0")
    assert by_origin == {(0, "seed"): SEED_ROWS, (1, "seed"): SEED_ROWS, (1, "extrapolated"): added}
    ((errors,),) = loop.ask("select count(*) from error_set where round = 0")
    assert 0 < added <= 2 * errors
    assert loop.ask("select count(*) from extrapolated_set where round = 1") == [(0,)]
    assert str(SEED_ROWS + added) in loop.printed


def test_extrapolated_rows_lead_to_their_error_and_to_the_raw_answer(loop):
    assert loop.ask("""select count(*) from extrapolated_set x anti join error_set e
                       on x.gold_id = e.gold_id and x.round = e.round and x.label = e.label""") == [(0,)]
    assert loop.ask("select count(*) from seed_set anti join teacher_calls using (request_id)") == [(0,)]
    rows = loop.ask("""select x.text, x.repairs, x.item, c.request, c.response, g.text from extrapolated_set x
                       join gold g using (gold_id)
                       join teacher_calls c on c.request_id = x.request_id and c.outcome = 'answered'
                       qualify c.attempt = max(c.attempt) over (partition by x.request_id)""")
    assert len(rows) == loop.ask("select count(*) from extrapolated_set")[0][0]
    assert {repairs for _, repairs, *_ in rows} == {None, "quotes"}
    for text, repairs, item, request, response, gold_text in rows:
        # Of an answer that broke off, the text stands whole in what came.
        whole = written(response)
        if not whole:
            assert json.dumps(text)[1:-1] in response
        elif repairs is None:
            assert whole[item]["text"].strip() == text
        else:
            assert whole[item]["text"].strip('" ') == text
        assert json.dumps(gold_text, ensure_ascii=False) in json.loads(request)["messages"][-1]["content"]


def test_every_answer_is_accepted_rejected_or_a_failed_attempt(loop):
    calls = loop.ask("""select request_id, attempt, outcome, cause, response from teacher_calls
                        where kind = 'examples' order by request_id, attempt""")
    accepted = {*loop.ask("select request_id, item from seed_set where round = 0")}
    accepted |= {*loop.ask("select request_id, item from extrapolated_set")}
    rejected = {*loop.ask("select request_id, item from rejected where stage = 'row'")}
    assert not accepted & rejected
    faults = dict(loop.ask("select gate, count(*) from rejected where stage = 'response' group by all"))
    expected, cut, broken, latest = set(), 0, set(), {}
    for key, attempt, outcome, cause, response in calls:
        assert attempt == latest.get(key, -1) + 1
        latest[key] = attempt
        if outcome == "failed":
            assert response is None
            assert cause.startswith(("HTTP 429: ", "HTTP 500: "))
            continue
        examples = written(response)
        if examples is None:
            cut += 1
            broken.add(key)
        expected |= {(key, item) for item in range(len(examples or []))}
    # Of answers that broke off, whole items are used too.
    assert expected <= accepted | rejected
    assert {key for key, _ in (accepted | rejected) - expected} <= broken
    assert faults == {"cut_off": cut}
    assert cut > 5


def test_the_ledger_counts_what_the_teacher_counted(loop):
    assert loop.counted["totals"]["429"] > 5
    assert loop.counted["totals"]["500"] > 0
    ((calls, too_many, errors, tokens),) = loop.ask("""
        select count(*), count(*) filter (cause like 'HTTP 429%'), count(*) filter (cause like 'HTTP 500%'),
               sum(prompt_tokens + completion_tokens) from teacher_calls""")
    totals = loop.counted["totals"]
    assert (calls, too_many, errors) == (totals["requests"], totals["429"], totals["500"])
    assert tokens == totals["prompt_tokens"] + totals["completion_tokens"]


def test_refusals_and_copies_are_rejected_with_their_gate(loop):
    gates = dict(loop.ask("select gate, count(*) from rejected group by all"))
    assert gates["refusal"] > 5
    assert gates["gold_copy"] > 5
    assert loop.ask(f"select distinct gate from rejected where text = '{REFUSAL.replace(chr(39), chr(39) * 2)}'") == [
        ("refusal",)
    ]
    assert loop.ask("select count(*) from seed_set where text ilike '%language model%'") == [(0,)]
    # A copy of the example is the steering row it was shown, nothing else.
    assert loop.ask("""select count(*) from rejected r join gold g using (gold_id)
                       where r.gate = 'gold_copy' and r.text <> g.text""") == [(0,)]


def test_only_steering_gold_is_shown_to_the_teacher(loop):
    sent = "\n".join(
        message["content"]
        for (request,) in loop.ask("select request from teacher_calls")
        for message in json.loads(request)["messages"]
    )

    def shown(where: str) -> set[str]:
        texts = {text for (text,) in loop.ask(f"select text from gold where {where}")}
        return {text for text in texts if text in sent or json.dumps(text, ensure_ascii=False)[1:-1] in sent}

    assert shown("split = 'test'") == set()
    assert shown("split = 'select'") == set()
    # The search finds what was shown.
    assert shown("split = 'steer'") == {text for (text,) in loop.ask("select text from error_set where round = 0")}


def test_no_gold_text_is_trained_on(loop):
    assert loop.ask("select count(*) from seed_set s join gold g on lower(trim(s.text)) = lower(trim(g.text))") == [
        (0,)
    ]


# Columns of the hub's files, by the pack's.
HUB_COLUMNS = {"imdb": {"text": "text"}, "rte": {"text": "sentence1", "text2": "sentence2"}}


@pytest.mark.parametrize(("name", "pack"), [("imdb", "sentiment_mr"), ("rte", "nli_rte")])
def test_the_papers_tasks_run_on_a_pack_in_the_hubs_columns(name, pack, tmp_path, tiny_student, monkeypatch):
    """The shipped declaration with local files instead of the hub, asked of the simulated teacher, in small sizes."""
    monkeypatch.setenv("S3_ASSETS_SIMULATED_KEY", "a key")
    place, packs, warehouse = copy_of(name, tmp_path), packs_folder(), Warehouse(tmp_path / "warehouse")
    for key, file in (("dev", "gold_val.parquet"), ("test", "gold_test.parquet")):
        pl.read_parquet(packs / pack / file).head(100).rename(HUB_COLUMNS[name]).write_parquet(place / f"{key}.parquet")
    with simulated_teacher(packs, pack) as teacher:
        # It knows no finer labels: without this the step would end at the twentieth wrong one.
        asked = {"api_key_env": "S3_ASSETS_SIMULATED_KEY", "most_unusable": 1.0}
        task = small(load_task(place), tiny_student, teacher.url, **asked)
        make_gold(task, warehouse)
        row = run_arm(task, warehouse, "paper", 0).rows.row(0, named=True)
    errors = warehouse.live("error_set", loop_key(task, 0).columns()).read().height
    assert 12 < row["synthetic_rows"] <= 12 + errors
    assert row["test_rows"] == 100
    # Its answers to those questions are refused and kept, and rows are asked for evenly.
    rejected = warehouse.live("rejected", {**loop_key(task, 0).columns(), "asset": "seed_set"}).read()
    assert (rejected["gate"] == "schema").any() == (name == "rte")
    seeds = warehouse.live("seed_set", loop_key(task, 0).columns()).read()
    assert seeds["sublabel"].drop_nulls().value_counts().height == (2 if name == "rte" else 0)
