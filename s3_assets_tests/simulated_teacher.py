"""The simulated teacher over a pack of real text, as a process of its own, and tasks that ask it.

Belongs here: finding packs, starting, asking and ending the simulated teacher, declaring a task over a pack; used by
tests and by ``benchmarks/real_input.py``. Does not belong here: tests. What it answers is real text of the pack, not
written by a model: no result obtained with it is an LLM result.
"""

import contextlib
import json
import os
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
import yaml

from s3_assets.tasks.load import Task, load_task

PACKS_VARIABLE = "S3_ASSETS_PACKS"
KEY_VARIABLE = "S3_ASSETS_SIMULATED_KEY"
GOLD_ROWS = 100
SECONDS_TO_START = 60


@dataclass(frozen=True)
class SimulatedTeacher:
    """A running simulated teacher. ``url`` is the base URL for a client."""

    url: str

    def stats(self) -> dict[str, dict[str, int]]:
        """What it counted: ``totals`` of requests, 429, 500 and tokens, ``calls`` answered by kind."""
        return json.loads(_get(self.url.removesuffix("/v1") + "/stats"))


def packs_folder() -> Path:
    """The folder that ``S3_ASSETS_PACKS`` names; says what to set when it names none."""
    named = os.environ.get(PACKS_VARIABLE)
    if not named:
        raise RuntimeError(f"set {PACKS_VARIABLE} to the folder of packs; these tests run by `make test-packs`")
    folder = Path(named).expanduser().resolve()
    if not _script(folder).is_file():
        raise RuntimeError(f"{PACKS_VARIABLE}={named}: there is no {_script(folder)}, which answers from the packs")
    return folder


@contextlib.contextmanager
def simulated_teacher(packs: Path, pack: str, **options: float) -> Iterator[SimulatedTeacher]:
    """The simulated teacher over ``packs/pack`` on a free port of 127.0.0.1; ended by its own process.

    ``options`` are its command line's, as ``http_429=0.1``.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(_script(packs)), "--pack", str(packs / pack), "--port", str(port)]
    for name, value in options.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    # It orders words by their hash; with new hashes in every process its rationales would differ from run to run.
    process = subprocess.Popen(command, env={**os.environ, "PYTHONHASHSEED": "0"})
    teacher = SimulatedTeacher(f"http://127.0.0.1:{port}/v1")
    try:
        _wait_until_answering(teacher, process)
        yield teacher
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def write_pack_task(folder: Path, pack: Path, name: str, url: str, **keys: Any) -> Task:
    """A task called ``name`` over a pack: ``GOLD_ROWS`` of its gold steer and select, its whole test file is test gold.

    ``url`` is the simulated teacher's. Other keys are those of the YAML; mappings are merged one level deep.
    """
    gold = pl.read_parquet(pack / "gold_val.parquet")
    declared: dict[str, Any] = {
        "name": name,
        "description": f"Texts of {pack.name}.",
        "labels": {label: f"What people label {label}." for label in sorted(gold["label"].unique())},
        "gold": {
            "files": {"dev": str(pack / "gold_val.parquet"), "test": str(pack / "gold_test.parquet")},
            "limit": {"dev": GOLD_ROWS},
        },
        "teacher": {
            "backend": "openai",
            "name": "simulated",
            "model": "sim",
            "base_url": url,
            "api_key_env": KEY_VARIABLE,
        },
    }
    if "text2" in gold.columns:
        # The simulated teacher writes a context of its own whatever is given.
        declared |= {"kind": "pair", "fields": {"text2": "text2"}, "pair": {"keep_context": False}}
    for key, value in keys.items():
        declared[key] = declared.get(key, {}) | value if isinstance(value, dict) else value
    place = folder / name
    place.mkdir(parents=True)
    (place / "task.yaml").write_text(yaml.safe_dump(declared, sort_keys=False), encoding="utf-8")
    return load_task(place)


def _script(packs: Path) -> Path:
    return packs.parent / "sim_llm" / "sim_llm.py"


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read()


def _wait_until_answering(teacher: SimulatedTeacher, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the simulated teacher ended with code {process.returncode}; its words are above")
        try:
            teacher.stats()
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"the simulated teacher did not answer within {SECONDS_TO_START} s at {teacher.url}")
