"""A real ``dg dev`` on loopback over a throw-away home and warehouse, asked through GraphQL.

Belongs here: starting, asking and stopping it. Does not belong here: tests.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from s3_assets.store.parts import Warehouse
from s3_assets_tests.fakes import DEMO_FOLDER, REPOSITORY, write_task
from s3_assets_tests.tiny_student import make_tiny_student

SECONDS_TO_START = 120


@dataclass(frozen=True)
class DevServer:
    """The running server: its address and the file its output goes to."""

    url: str
    log: Path

    @property
    def warehouse(self) -> Warehouse:
        """What its runs write."""
        return Warehouse(self.log.parent / "warehouse")

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """Result of a GraphQL query; raises on errors."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as response:
            answer = json.loads(response.read())
        assert "errors" not in answer, answer["errors"]
        return answer["data"]


@contextlib.contextmanager
def dev_server(place: Path, tasks: Path) -> Iterator[DevServer]:
    """``dg dev`` over ``place/home`` and ``place/warehouse`` with the task folders in ``tasks``."""
    home = place / "home"
    home.mkdir(parents=True)
    shutil.copy(REPOSITORY / "dagster_home" / "dagster.yaml", home)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        # As `make dev` does.
        "VIRTUAL_ENV": sys.prefix,
        "DAGSTER_HOME": str(home),
        "S3_ASSETS_TASKS": str(tasks),
        "S3_ASSETS_WAREHOUSE": str(place / "warehouse"),
    }
    log = place / "dev.log"
    command = [str(Path(sys.executable).parent / "dg"), "dev", "--host", "127.0.0.1", "--port", str(port)]
    with log.open("w") as output:
        process = subprocess.Popen(
            command, cwd=REPOSITORY, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    server = DevServer(f"http://127.0.0.1:{port}", log)
    try:
        _wait_until_loaded(server, process)
        yield server
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextlib.contextmanager
def small_task_server(place: Path) -> Iterator[DevServer]:
    """``dev_server`` with the task ``small``: the demo's gold, 24 seed rows, three rounds, a student of a second."""
    texts = pl.read_csv(DEMO_FOLDER / "gold.csv")["review"].to_list()
    weights = make_tiny_student(place / "student", texts)
    write_task(place / "tasks", student={"weights": str(weights), "epochs": 1, "min_steps": 0}, rounds=3)
    with dev_server(place, place / "tasks") as running:
        yield running


def _wait_until_loaded(server: DevServer, process: subprocess.Popen[bytes]) -> None:
    query = "{ workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError { __typename } } } } }"
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline:
        assert process.poll() is None, server.log.read_text()
        try:
            entries = server.ask(query)["workspaceOrError"]["locationEntries"]
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.5)
            continue
        kinds = [(entry["locationOrLoadError"] or {}).get("__typename") for entry in entries]
        if kinds == ["RepositoryLocation"]:
            return
        assert "PythonError" not in kinds, server.log.read_text()
        time.sleep(0.5)
    raise AssertionError(f"dg dev did not load in {SECONDS_TO_START} s:\n{server.log.read_text()}")
