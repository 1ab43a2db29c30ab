"""``s3-assets compare`` through Dagster, and the assets ``experiment`` and ``leaderboard``."""

import dagster as dg
import pytest

from s3_assets.cli.compare import parse_arms
from s3_assets.definitions import task_definitions
from s3_assets.loop.fingerprints import ROUND_ASSETS
from s3_assets.partitions import arm_and_seed, experiment_key, partitions_of
from s3_assets.resources import WarehouseResource
from s3_assets.store.catalog import connect
from s3_assets.store.parts import Warehouse
from s3_assets.tasks.presets import presets
from s3_assets_tests.fakes import write_task


@pytest.fixture
def compared(tmp_path, tiny_student, home):
    """A task with small arms, found by the command."""
    return write_task(
        tmp_path / "tasks",
        student={"weights": str(tiny_student), "epochs": 1, "min_steps": 0},
        rows={"seed": 24, "per_round": 12, "per_call": 4},
        experiment={"rounds": 1, "seeds": 2},
        strategies={"mine": {"base": "s3", "explore": 0.5, "summary": "rows from random gold too"}},
    )


def test_two_arms_and_two_seeds_by_the_command(compared, command, tmp_path):
    code, said, _ = command("compare", "small", "--arms", "s3,gold_only")
    assert code == 0
    assert "seed 1, arm 2 of 2: s3 took" in said
    assert "Not an LLM result" in said
    with connect(Warehouse(tmp_path / "warehouse")) as sql:
        sql.execute("set variable as_of = now()::timestamptz + interval 1 hour")
        ask = lambda query: sql.execute(query).fetchall()  # noqa: E731
        assert ask("select arm, seed, synthetic_rows from experiment order by all") == [
            ("gold_only", 0, 0),
            ("gold_only", 1, 0),
            ("s3", 0, 36),
            ("s3", 1, 36),
        ]
        # Rows of the arm's rounds stand in the loop's tables; a score is that of its last student.
        assert ask("select arm, seed, round, count(*) from seed_set group by all order by all") == [
            ("s3", 0, 0, 24),
            ("s3", 0, 1, 36),
            ("s3", 1, 0, 24),
            ("s3", 1, 1, 36),
        ]
        assert ask("""select count(*) from experiment e join trained_model m using (task, arm, seed)
                      where m.round = e.last_round and m.test_accuracy = e.test_score""") == [(4,)]
        assert ask("""select arm, seeds, round(score_mean, 9) from leaderboard order by arm""") == ask(
            "select arm, count(*), round(avg(test_score), 9) from experiment group by arm order by arm"
        )
        # No gold text is trained on but where the arm says so, and test gold reached nobody.
        assert ask("select count(*) from seed_set s join gold g on lower(trim(s.text)) = lower(trim(g.text))") == [(0,)]
        assert ask("select count(*) from teacher_uses join gold using (gold_id) where split <> 'steer'") == [(0,)]
    code, said, _ = command("compare", "small", "--arms", "gold_only,s3")
    assert code == 0
    assert said.count("is there already") == 4
    code, said, _ = command("compare", "small", "--arms", "s3", "--dry-run")
    assert (code, said.count("s3: is there already")) == (0, 2)
    code, said, _ = command("leaderboard", "small")
    assert code == 0
    assert "gold_only" in said


def test_arms_seeds_and_tasks_that_are_not_there(compared, command):
    code, _, said = command("compare", "small", "--arms", "s3,defualt")
    assert code == 2
    assert said.startswith("--arms 's3,defualt': no arm defualt. Did you mean default")
    assert f"Arms are {', '.join(presets())}, mine; and default, mine without an option, as default~" in said
    assert command("compare", "small", "--arms", ",")[0] == 2
    code, _, said = command("compare", "small", "--seeds", "3")
    assert (code, "raise experiment.seeds" in said) == (2, True)
    code, said, _ = command("compare", "small", "--arms", "gold_only,s3,paper", "--dry-run")
    assert code == 0
    assert "seed 1, gold_only: asks for nothing" in said
    assert "seed 0, s3: asks for 24 rows in the seed set and at most 12 in each of 1 rounds, budget 36" in said
    # One row from each error, and there are not more errors than steering rows.
    assert "seed 0, paper: asks for 24 rows in the seed set and at most 137 in each of 1 rounds" in said


def test_arms_are_listed_with_ablations_apart(compared, command):
    code, said, _ = command("compare", "small", "--arms", "list")
    assert code == 0
    whole, left_out = said.split("ablations: one option left out:\n")
    names = [line.split()[0] for line in whole.splitlines()[1:]]
    assert names == [*presets(), "mine"]
    assert whole.splitlines()[-1].split(maxsplit=1)[1] == "rows from random gold too"
    assert [line.split()[0] for line in left_out.splitlines()] == [
        *(name for name in compared.spec.arms if name.startswith("default~")),
        "mine~explore",
    ]


def test_words_stand_for_several_arms(compared):
    assert parse_arms(None, compared) == parse_arms("all", compared) == [*presets(), "mine"]
    ablations = parse_arms("ablations", compared)
    assert ablations[0] == "default"
    assert "default~by" in ablations
    assert all(name.startswith("default~") for name in ablations[1:])
    # In the order of the strategies, each once.
    assert parse_arms("ablations, s3,default,mine~explore", compared) == ["s3", *ablations, "mine~explore"]


def test_an_arm_beyond_its_budget_is_refused_before_anything_runs(compared, command, tmp_path):
    write_task(
        tmp_path / "tasks",
        rows={"seed": 24, "per_round": 12, "per_call": 4},
        experiment={"rounds": 1, "seeds": 1},
        # A row and five questions in each of ten rounds.
        strategies={"many": {"base": "default", "steps": 10, "shows": ["prediction", "diagnosis"]}},
        teacher={"base_url": "http://127.0.0.1:9/v1"},
    )
    for words in (("--dry-run",), ()):
        code, _, said = command("compare", "small", "--arms", "gold_only,many", *words)
        assert code == 2
        assert "arm many of task small would ask for 70 rows" in said
    assert not (tmp_path / "warehouse" / "experiment").exists()


def test_an_ablation_is_a_partition_and_a_name_in_sql(compared, instance, tmp_path):
    """``~`` is allowed in partition keys, and stands unescaped in paths that DuckDB reads arms from."""
    job = task_definitions(compared, WarehouseResource()).resolve_implicit_global_asset_job_def()
    for name, key in (("gold", None), ("experiment", experiment_key("mine~explore", 0)), ("leaderboard", None)):
        done = job.execute_in_process(
            instance=instance, asset_selection=[dg.AssetKey(["small", name])], partition_key=key
        )
        assert done.success
    with connect(Warehouse(tmp_path / "warehouse")) as sql:
        sql.execute("set variable as_of = now()::timestamptz + interval 1 hour")
        for table in ("experiment", "leaderboard", "extrapolated_set", "predictions", "teacher_uses"):
            assert sql.execute(f"select distinct arm from {table}").fetchall() == [("mine~explore",)]
        assert sql.execute("select teacher_budget, over_budget from experiment").fetchone() == (36, False)


def test_what_the_ui_shows_of_an_arm_and_of_the_board(compared, instance):
    job = task_definitions(compared, WarehouseResource()).resolve_implicit_global_asset_job_def()

    def materialize(name, partition=None):
        return job.execute_in_process(
            instance=instance, asset_selection=[dg.AssetKey(["small", name])], partition_key=partition
        )

    materialize("gold")
    done = materialize("experiment", experiment_key("seed_only+gold", 1))
    (event,) = done.get_asset_materialization_events()
    assert event.partition == "seed_only+gold|seed_01"
    metadata = event.materialization.metadata
    assert metadata["dagster/partition_row_count"].value == 1
    assert metadata["synthetic_rows"].value == 24
    assert metadata["gold_rows"].value > 0
    (event,) = materialize("leaderboard").get_asset_materialization_events()
    shown = event.materialization.metadata
    assert "seed_only+gold" in shown["board"].value
    assert shown["plot"].value.startswith("![")
    assert "data:image/png;base64," in shown["plot"].value
    assert shown["score_seed_only+gold"].value == pytest.approx(metadata["test_score"].value, abs=1e-4)


def test_a_board_without_experiments_says_what_to_run(compared, instance):
    job = task_definitions(compared, WarehouseResource()).resolve_implicit_global_asset_job_def()
    with pytest.raises(dg.Failure, match=r"no live experiment. Run `s3-assets compare small`"):
        job.execute_in_process(instance=instance, asset_selection=[dg.AssetKey(["small", "leaderboard"])])


def test_partitions_name_arms_and_seeds(compared):
    arms = list(compared.spec.arms)
    assert {*presets(), "mine", "mine~explore", "default~by"} <= set(arms)
    keys = partitions_of(compared, "experiment").get_partition_keys()
    assert len(keys) == 2 * len(arms)
    assert {arm_and_seed(key) for key in keys} == {(arm, seed) for arm in arms for seed in (0, 1)}
    assert partitions_of(compared, "gold") is partitions_of(compared, "leaderboard") is None
    assert all(partitions_of(compared, name) is not None for name in ROUND_ASSETS)
