"""A backfill of two rounds from the UI's own code: everything in order, nothing twice.

Drives a real ``dg dev`` (webserver, daemon, run launcher) through GraphQL, the way the UI does.
"""

import time
from itertools import pairwise

import polars as pl
import pytest

from s3_assets.store.parts import RoundKey, round_name
from s3_assets_tests.dev_server import DevServer, small_task_server

ROUNDS = [round_name(round_) for round_ in range(2)]
ASSETS = ["seed_set", "trained_model", "error_set", "drift", "extrapolated_set"]

LAUNCH = """
mutation Launch($assets: [AssetKeyInput!], $partitions: [String!], $config: RunConfigData) {
  launchPartitionBackfill(
    backfillParams: {assetSelection: $assets, partitionNames: $partitions, runConfigData: $config}
  ) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}"""
MATERIALIZE_GOLD = """
mutation Gold($selector: JobOrPipelineSelector!, $config: RunConfigData) {
  launchPipelineExecution(executionParams: {selector: $selector, mode: "default", runConfigData: $config}) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}"""
RUNS = """
query Runs($tags: [ExecutionTag!]) {
  runsOrError(filter: {tags: $tags}) {
    ... on Runs { results { runId status startTime endTime tags { key value } assetSelection { path } } }
  }
}"""
RUN = "query Run($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
BACKFILL = """
query Backfill($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status } } }"""


# Rounds whose steps need no process of their own: a process takes seconds to start. Gold's step has one, as it has
# for everybody.
IN_PROCESS = {"execution": {"config": {"in_process": {}}}}


def wait_for(ask, done, seconds=600):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        status = ask()
        if done(status):
            return status
        time.sleep(1)
    raise AssertionError(f"still {status} after {seconds} s")


def backfill(server: DevServer, rounds: list[str]) -> list[dict]:
    """Launch, wait, and give the backfill's runs in the order they started."""
    assets = [{"path": ["small", name]} for name in ASSETS]
    launched = server.ask(LAUNCH, assets=assets, partitions=rounds, config=IN_PROCESS)["launchPartitionBackfill"]
    assert launched["__typename"] == "LaunchBackfillSuccess", launched
    backfill_id = launched["backfillId"]
    status = wait_for(
        lambda: server.ask(BACKFILL, id=backfill_id)["partitionBackfillOrError"]["status"],
        lambda status: status.startswith(("COMPLETED", "FAILED", "CANCELED")),
    )
    assert status == "COMPLETED_SUCCESS", server.log.read_text()
    tags = [{"key": "dagster/backfill", "value": backfill_id}]
    return sorted(server.ask(RUNS, tags=tags)["runsOrError"]["results"], key=lambda run: run["startTime"])


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with small_task_server(tmp_path_factory.mktemp("backfill")) as running:
        yield running


def materialize_gold(server):
    selector = {
        "repositoryLocationName": "s3_assets",
        "repositoryName": "__repository__",
        "pipelineName": "__ASSET_JOB",
        "assetSelection": [{"path": ["small", "gold"]}],
    }
    launched = server.ask(MATERIALIZE_GOLD, selector=selector, config={})["launchPipelineExecution"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    run_id = launched["run"]["runId"]
    status = wait_for(
        lambda: server.ask(RUN, id=run_id)["runOrError"]["status"],
        lambda status: status in ("SUCCESS", "FAILURE", "CANCELED"),
    )
    assert status == "SUCCESS", server.log.read_text()


def made(warehouse):
    """Parts of everything but the ledger."""
    return {path for path in warehouse.root.glob("**/*.parquet") if "teacher_" not in str(path)}


def paid(warehouse):
    return pl.read_parquet(list(warehouse.root.glob("teacher_calls/*.parquet")), hive_partitioning=False)


def test_two_rounds_in_order_and_nothing_twice(server):
    warehouse = server.warehouse
    materialize_gold(server)
    # Asked in the wrong order on purpose.
    runs = backfill(server, list(reversed(ROUNDS)))
    partitions = [next(tag["value"] for tag in run["tags"] if tag["key"] == "dagster/partition") for run in runs]
    assert partitions == ROUNDS
    assert all(len(run["assetSelection"]) == len(ASSETS) for run in runs)
    for earlier, later in pairwise(runs):
        assert earlier["endTime"] <= later["startTime"]
    sets = []
    keys = [RoundKey("small", "s3_shown", 0, round_).columns() for round_ in range(2)]
    for round_ in range(2):
        seed_set = warehouse.live("seed_set", keys[round_]).read()
        extrapolated = warehouse.live("extrapolated_set", keys[round_]).read()
        if sets:
            before, added = sets[-1]
            # Exactly the last seed set, then exactly the last extrapolated set.
            assert seed_set["example_id"].to_list() == [*before["example_id"], *added["example_id"]]
            assert seed_set.filter(pl.col("first_round") == round_).height == added.height
        sets.append((seed_set, extrapolated))
    assert all(added.height > 0 for _, added in sets)
    stamps = [[warehouse.live(name, keys[round_]).stamp for name in ASSETS] for round_ in range(2)]
    assert all(max(earlier) < min(later) for earlier, later in pairwise(stamps))

    parts, calls = made(warehouse), paid(warehouse)
    assert calls.unique(["request_id", "attempt"]).height == calls.height
    again = backfill(server, ROUNDS[1:2])
    assert [run["status"] for run in again] == ["SUCCESS"]
    assert made(warehouse) == parts
    assert paid(warehouse).height == calls.height


def test_nothing_of_ours_warns_at_load(server):
    # What steps say of their rows is said in runs.
    lines = [line for line in server.log.read_text().splitlines() if " - __ASSET_JOB - " not in line]
    assert not [line for line in lines if "warning" in line.lower()], lines
