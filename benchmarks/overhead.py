"""What a round costs beside training and waiting for the teacher, against the same Dagster graph with empty assets.

    .venv/bin/python benchmarks/overhead.py

One measurement is one run of round 0 (seed set, model, error set, drift, extrapolated set) in a new process with the
multiprocess executor: a run worker and one process per step, as ``dg dev`` runs it. Product and empty graph take turns.
The empty graph has the same keys, dependencies, partitions, checks, resource and descriptions; it imports Dagster
only. From the product's wall time are taken off:

* training: from the call of ``train_student``, so with importing torch and transformers and loading the checkpoint, to
  its return, and predicting; not saving and hashing the weights;
* the teacher: moments in which at least one call is under way, less what the ledger took to write in them.

Moments in which both happen, or in which another step works beside them, are taken off once.

Belongs here: running, subtracting, reporting. Does not belong here: the two graphs (``overhead_product.py``,
``overhead_empty.py``).
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median

import dagster as dg
import yaml
from rich import box
from rich.console import Console
from rich.table import Table

from s3_assets.definitions import defs
from s3_assets.loop.fingerprints import ROUND_ASSETS
from s3_assets.loop.steps import make_gold
from s3_assets.resources import WarehouseResource
from s3_assets.store.parts import round_name
from s3_assets.tasks.load import load_task

HERE = Path(__file__).resolve().parent
DEMO = HERE.parent / "data" / "tasks" / "film_reviews"
TASK = "overhead"
BAR = 1.5

# Through -c, so that step processes have no main module to import again.
WORKER = """
import json, sys
import dagster as dg
from dagster._core.definitions.reconstruct import ReconstructableRepository
module, folder, keys, partition = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), sys.argv[4]
job = ReconstructableRepository.for_module(module, "defs", folder).get_reconstructable_job("__ASSET_JOB")
with dg.DagsterInstance.get() as instance:
    selection, tags = [dg.AssetKey(key) for key in keys], {"dagster/partition": partition}
    with dg.execute_job(job, instance, asset_selection=selection, tags=tags) as result:
        print("RUN", result.run_id, result.success)
"""

Interval = tuple[float, float]

# Intervals by what happened in them: training, teacher, ledger.
Noted = dict[str, list[Interval]]


@dataclass
class Measured:
    """One run: wall time, what is taken off; per step: seconds to its start, of work, of own work."""

    wall: float
    training: float = 0.0
    teacher: float = 0.0
    taken_off: float = 0.0
    starting: dict[str, float] = field(default_factory=dict)
    working: dict[str, float] = field(default_factory=dict)
    own_work: dict[str, float] = field(default_factory=dict)

    @property
    def own(self) -> float:
        return self.wall - self.taken_off


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory(prefix="overhead-") as scratch:
        bench = Bench(Path(scratch), options.student, options.leave_quickly)
        for module in ("overhead_empty", "overhead_product"):
            bench.measure(module)  # Fills caches of compiled modules and the Dagster homes.
        empty, product = [], []
        for turn in range(options.pairs):
            pair = [("overhead_empty", empty), ("overhead_product", product)]
            for module, found in pair if turn % 2 == 0 else reversed(pair):
                found.append(bench.measure(module))
            sys.stderr.write(
                f"pair {turn + 1}: empty {empty[-1].wall:.1f} s, product {product[-1].wall:.1f} s, of which training "
                f"{product[-1].training:.1f} s and teacher {product[-1].teacher:.1f} s, own {product[-1].own:.1f} s\n"
            )
    _report(Console(width=110), empty, product, options)


class Bench:
    """A task, the two Dagster homes, and how a run is measured."""

    def __init__(self, place: Path, student: str, leave_quickly: bool) -> None:
        self._place, self._leave_quickly = place, leave_quickly
        self._runs = 0
        folder = place / "tasks" / TASK
        folder.mkdir(parents=True)
        declared = yaml.safe_load((DEMO / "task.yaml").read_text())
        declared |= {
            "name": TASK,
            "gold": str(DEMO / declared["gold"]),
            "teacher": {"backend": "embedded", "grammar": str(DEMO / "grammar.yaml")},
            # One pass: training is taken off, but its model is saved and hashed like any other.
            "student": {"weights": student, "epochs": 1, "min_steps": 0},
        }
        (folder / "task.yaml").write_text(yaml.safe_dump(declared, sort_keys=False))
        os.environ["S3_ASSETS_TASKS"] = str(place / "tasks")
        self._task = load_task(folder)
        self._keys = [[TASK, name] for name in ROUND_ASSETS]
        self._graph = place / "graph.json"
        self._graph.write_text(json.dumps([_declared(asset) for asset in defs().assets or ()]))  # type: ignore[arg-type]

    def measure(self, module: str) -> Measured:
        """One run of round 0 in a new warehouse."""
        self._runs += 1
        place = self._place / f"run{self._runs}"
        notes = place / "notes"
        notes.mkdir(parents=True)
        warehouse = WarehouseResource(path=str(place / "warehouse"))
        make_gold(self._task, warehouse.open())
        home = self._place / module
        if not home.exists():
            home.mkdir()
            shutil.copy(HERE.parent / "dagster_home" / "dagster.yaml", home)
        environment = {
            **os.environ,
            "DAGSTER_HOME": str(home),
            "S3_ASSETS_WAREHOUSE": warehouse.path,
            "OVERHEAD_NOTES": str(notes),
            "OVERHEAD_GRAPH": str(self._graph),
            "OVERHEAD_LEAVE_QUICKLY": "1" if self._leave_quickly else "",
            "PYTHONPATH": str(HERE),
        }
        # Installed packages come compiled; the product must be too, or its compiling would be measured.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        command = [sys.executable, "-c", WORKER, module, str(HERE), json.dumps(self._keys), round_name(0)]
        began = time.perf_counter()
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=place)
        wall = time.perf_counter() - began
        (line,) = [line for line in done.stdout.splitlines() if line.startswith("RUN ")] or [""]
        if not line.endswith("True"):
            raise RuntimeError(f"the run of {module} failed:\n{done.stdout}\n{done.stderr}")
        found = Measured(wall)
        _take_off(found, [_read_notes(file) for file in notes.glob("*.jsonl")])
        with dg.DagsterInstance.from_config(str(home)) as instance:
            _time_steps(found, instance.all_logs(line.split()[1]), notes)
        shutil.rmtree(place)
        return found


def _declared(asset: dg.AssetsDefinition) -> dict[str, object]:
    """An asset's declaration as JSON, for the graph of empty assets."""
    (spec,) = asset.specs
    schema = spec.metadata["dagster/column_schema"]
    partitions = asset.partitions_def
    return {
        "key": list(spec.key.path),
        "deps": [list(dep.asset_key.path) for dep in spec.deps],
        "partitions": list(partitions.get_partition_keys()) if partitions else None,
        "group": spec.group_name,
        "kinds": sorted(spec.kinds),
        "tags": {name: value for name, value in spec.tags.items() if not name.startswith("dagster/kind/")},
        "description": spec.description,
        "columns": [[column.name, column.type, column.description] for column in schema.columns],
        "checks": [check.name for check in asset.check_specs],
    }


def _take_off(found: Measured, noted: Sequence[Noted]) -> None:
    together: Noted = {"training": [], "teacher": [], "ledger": []}
    for one in noted:
        for kind, intervals in one.items():
            together[kind] += intervals
    found.training = _length(_union(together["training"]))
    found.teacher = _length(_union(together["teacher"])) - _ledger_meanwhile(together)
    found.taken_off = _taken_off(together)


def _read_notes(file: Path) -> Noted:
    intervals: Noted = {"training": [], "teacher": [], "ledger": []}
    if file.exists():
        for line in file.read_text().splitlines():
            kind, began, ended = json.loads(line)
            intervals[kind].append((began, ended))
    return intervals


def _taken_off(noted: Noted) -> float:
    return _length(_union([*noted["training"], *noted["teacher"]])) - _ledger_meanwhile(noted)


def _ledger_meanwhile(noted: Noted) -> float:
    under_way = _union(noted["teacher"])
    return sum(_shared(one, under_way) for one in noted["ledger"])


def _time_steps(found: Measured, events: Iterable[dg.EventLogEntry], notes: Path) -> None:
    """Seconds from asking for a step's process to its first line of work, and of its own work from there to its end."""
    asked, began, process = {}, {}, {}
    for entry in events:
        if entry.dagster_event is None or entry.step_key is None:
            continue
        step, kind = entry.step_key.removeprefix(f"{TASK}__"), entry.dagster_event.event_type_value
        if kind == "STEP_WORKER_STARTING":
            asked[step] = entry.timestamp
        elif kind == "STEP_WORKER_STARTED":
            process[step] = entry.dagster_event.engine_event_data.metadata["pid"].value
        elif kind == "STEP_START":
            began[step] = entry.timestamp
            found.starting[step] = entry.timestamp - asked[step]
        elif kind == "STEP_SUCCESS":
            found.working[step] = entry.timestamp - began[step]
            found.own_work[step] = found.working[step] - _taken_off(_read_notes(notes / f"{process[step]}.jsonl"))


def _union(intervals: Sequence[Interval]) -> list[Interval]:
    joined: list[Interval] = []
    for began, ended in sorted(intervals):
        if joined and began <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(ended, joined[-1][1]))
        else:
            joined.append((began, ended))
    return joined


def _length(intervals: Iterable[Interval]) -> float:
    return sum(ended - began for began, ended in intervals)


def _shared(one: Interval, others: Sequence[Interval]) -> float:
    return sum(max(0.0, min(one[1], ended) - max(one[0], began)) for began, ended in others)


def _report(console: Console, empty: list[Measured], product: list[Measured], options: argparse.Namespace) -> None:
    table = Table(
        "median seconds of a round", "empty graph", "product", box=box.SIMPLE, title=f"{len(empty)} alternating pairs"
    )
    for name, values in (
        ("wall time of the run", [found.wall for found in product]),
        ("training, predicting", [found.training for found in product]),
        ("teacher", [found.teacher for found in product]),
        ("neither", [found.own for found in product]),
    ):
        bare = f"{median(found.wall for found in empty):.2f}" if name in ("wall time of the run", "neither") else "-"
        table.add_row(name, bare, f"{median(values):.2f}")
    console.print(table)
    ratios = [ours.own / bare.wall for ours, bare in zip(product, empty, strict=True)]
    ratio = median(found.own for found in product) / median(found.wall for found in empty)
    console.print(
        f"ratio of medians {ratio:.2f} (by pair {', '.join(f'{one:.2f}' for one in ratios)}); bar {BAR}: "
        f"{'met' if ratio <= BAR else 'NOT met'}",
        highlight=False,
    )
    heads = ("start, empty", "start, product", "work, empty", "own work, product", "all work, product")
    steps = Table("step process", *heads, box=box.SIMPLE, title="median seconds")
    for step in ROUND_ASSETS:
        cells = [median(run.starting[step] for run in runs) for runs in (empty, product)]
        cells += [median(run.own_work[step] for run in runs) for runs in (empty, product)]
        cells.append(median(run.working[step] for run in product))
        steps.add_row(step, *(f"{cell:.2f}" for cell in cells))
    console.print(steps)
    end = "as the product's do" if options.leave_quickly else "as Dagster's do"
    console.print(
        "start: from asking for the step's process to its first event (interpreter, imports, code location); all\n"
        "work: from there to its last event; own work: without training, predicting and the teacher.\n"
        f"Task: the demo's gold, grammar and rows, student {options.student}, 1 epoch. The empty graph's processes\n"
        f"end {end}. {os.cpu_count()} cores, Python {platform.python_version()}, dagster {version('dagster')}.",
        highlight=False,
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--student", default="minilm", help="weights; saving and hashing them is part of the overhead")
    parser.add_argument(
        "--leave-quickly", action="store_true", help="let the empty graph's processes end as the product's do"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
