"""Comparing arms over packs of real text with the simulated teacher: what the benchmarks that do so share.

Belongs here: a place of its own for data, a pack as a task, what labels mean. Does not belong here: which arms and
sizes (``paper_parity.py``, ``strategy.py``), the simulated teacher as a process (``s3_assets_tests``).
"""

import contextlib
import logging
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

# The tests' helper for the simulated teacher is not installed with the package.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from s3_assets import settings
from s3_assets.tasks.load import Task
from s3_assets_tests.simulated_teacher import PACKS_VARIABLE, packs_folder, write_pack_task

PACKAGES = ("s3-assets", "torch", "transformers", "polars")
# Of a label that packs give another meaning, the pack's own.
MEANINGS: Mapping[str, str] = {
    "positive": "The writer thinks well of it.",
    "negative": "The writer thinks badly of it.",
    "entailment": "The second text follows from the first.",
    "not_entailment": "The second text does not follow from the first: it may be false, or nothing is said of it.",
    "neutral": "The first text leaves it open whether the second is true.",
    "contradiction": "The second text cannot be true when the first is.",
    "auto_and_commute": "A request to an assistant about the car, fuel, traffic, directions or the way to work.",
    "banking": "A request about bank accounts, transfers, bills, cheques or balances.",
    "credit_cards": "A request about credit cards: limits, rates, rewards, applications, a card that is lost.",
    "home": "A request about the home: lists, orders, reminders, calendar, music, devices of the house.",
    "kitchen_and_dining": "A request about food: recipes, cooking, nutrition, restaurants and reservations.",
    "meta": "A request about the assistant itself: its name, language, volume, settings, or yes, no, cancel, repeat.",
    "small_talk": "Talk for its own sake: greetings, thanks, jokes, questions about who the assistant is.",
    "travel": "A request about journeys: flights, hotels, luggage, visas, vaccinations, sights.",
    "utility": "A request for a tool: time, alarm, timer, weather, arithmetic, spelling, definitions, calls and texts.",
    "work": "A request about a job: leave and days off, pay, taxes, insurance, pensions, meetings.",
}


@contextlib.contextmanager
def place_of_data(keep: str | None, prefix: str) -> Iterator[Path]:
    """A folder with a warehouse and a Dagster home of its own: ``keep``, or one that goes when it is done."""
    with tempfile.TemporaryDirectory(prefix=f"{prefix}-") as scratch:
        place = Path(keep).resolve() if keep else Path(scratch)
        os.environ["S3_ASSETS_WAREHOUSE"] = str(place / "warehouse")
        # A home of its own: these runs are no part of what the project's UI shows.
        os.environ["DAGSTER_HOME"] = str(place / "home")
        (place / "home").mkdir(parents=True, exist_ok=True)
        shutil.copy(settings.project_root() / "dagster_home" / "dagster.yaml", place / "home")
        logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", stream=sys.stderr)
        logging.getLogger("s3_assets").setLevel(logging.INFO)
        yield place


def folder_of_packs(named: str | None) -> Path:
    """The folder of packs: ``named``, or the one that the environment names."""
    if named:
        os.environ[PACKS_VARIABLE] = named
    return packs_folder()


def pack_task(place: Path, pack: Path, url: str, **keys: Any) -> Task:
    """The pack as a task in ``place/tasks``, asked of the simulated teacher at ``url``; ``keys`` are its YAML's."""
    shutil.rmtree(place / "tasks" / pack.name, ignore_errors=True)
    labels = pl.read_parquet(pack / "gold_val.parquet")["label"].unique().sort()
    return write_pack_task(
        place / "tasks",
        pack,
        pack.name,
        url,
        # A name of its own, so that no pack is served another's answers.
        teacher={"name": f"simulated-{pack.name}"},
        labels={label: MEANINGS[label] for label in labels},
        budget={"calls": 1_000_000},
        **keys,
    )


def versions() -> str:
    """Processors and versions that figures were made with."""
    named = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return f"{os.cpu_count()} cores, Python {platform.python_version()}, {named}"
