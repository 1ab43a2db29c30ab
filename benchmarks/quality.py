"""What gates and second opinions make of a misbehaving teacher, on real text whose true labels are known.

    .venv/bin/python benchmarks/quality.py --packs /path/to/packs
    .venv/bin/python benchmarks/quality.py --packs /path/to/packs --pack nli_sick --verify students both --seeds 0

The simulated teacher answers with real rows of a pack and misbehaves at its defaults: it refuses, quotes, copies the
example, takes the wrong label, breaks JSON. A task over the pack with 100 gold rows writes its seed set and two
extrapolated sets (of random steering rows, so that nothing need be trained), with each way of verifying. What it gave
before and after the gates is then compared with the truth: the label that the pack has for the text.

Nothing here is an LLM result. Belongs here: running, comparing with the truth, the bars. Does not belong here: the
simulated teacher (``s3_assets_tests/simulated_teacher.py``).
"""

import argparse
import os
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
from rich import box
from rich.console import Console
from rich.table import Table

from s3_assets.loop.fingerprints import EXTRAPOLATED_SET, SEED_SET, loop_key
from s3_assets.loop.steps import make_extrapolated_set, make_gold, make_seed_set
from s3_assets.quality.near import count_near_duplicates
from s3_assets.quality.overlap import Grams
from s3_assets.quality.repairs import without_quotes
from s3_assets.quality.words import jaccard, words
from s3_assets.store.parts import Warehouse
from s3_assets.tasks.load import Task
from s3_assets.tasks.split import normalise
from s3_assets_tests.simulated_teacher import KEY_VARIABLE, simulated_teacher, write_pack_task

PACKS = ("sentiment_mr", "topic_clinc10", "nli_sick")
ROUNDS = 2
REFUSAL = "as an ai language model"
NEAR = 0.8
# Rows that repeat another row, or gold, are no loss whatever their label.
REPEATS = {"duplicate", "near_duplicate", "held_out_gold", "echo", "gold_copy"}


@dataclass
class Result:
    """Counts of one run, in rows unless said otherwise."""

    came: int = 0
    kept: int = 0
    refusals: tuple[int, int] = (0, 0)
    quoted: tuple[int, int] = (0, 0)
    exact: int = 0
    near: float = 0.0
    near_all_words: float = 0.0
    leaked: int = 0
    copies: int = 0
    wrong: tuple[float, float] = (0.0, 0.0)
    near_gold: int = 0
    lost: float = 0.0
    lost_by: Counter[str] = field(default_factory=Counter)
    questions: float = 0.0
    seconds: float = 0.0


def run(packs: Path, pack: str, verify: str, seed: int) -> Result:
    os.environ.setdefault(KEY_VARIABLE, "simulated")
    with tempfile.TemporaryDirectory() as scratch, simulated_teacher(packs, pack) as teacher:
        task = write_pack_task(
            Path(scratch),
            packs / pack,
            f"{pack}_quality",
            teacher.url,
            strategy="goldgen",
            seed=seed,
            rounds=ROUNDS + 1,
            verify={"by": verify},
        )
        warehouse = Warehouse(Path(scratch) / "warehouse")
        began = time.perf_counter()
        make_gold(task, warehouse)
        for round_ in range(ROUNDS):
            make_seed_set(task, warehouse, round_)
            make_extrapolated_set(task, warehouse, round_)
        make_seed_set(task, warehouse, ROUNDS)
        return measure(task, warehouse, packs / pack, time.perf_counter() - began)


def measure(task: Task, warehouse: Warehouse, pack: Path, seconds: float) -> Result:
    fields = task.spec.text_fields
    kept = live(task, warehouse, SEED_SET, ROUNDS)
    rejected = pl.concat(
        [live(task, warehouse, "rejected", 0, SEED_SET)]
        + [live(task, warehouse, "rejected", round_, EXTRAPOLATED_SET) for round_ in range(ROUNDS)]
    ).filter(pl.col("stage") == "row")
    verdicts = pl.concat(
        [live(task, warehouse, "verdicts", 0, SEED_SET)]
        + [live(task, warehouse, "verdicts", round_, EXTRAPOLATED_SET) for round_ in range(ROUNDS)]
    )
    gold = warehouse.live("gold", {"task": task.name}).read()
    truth = {key_of(row, fields): row["label"] for row in pl.read_parquet(pack / "pool.parquet").to_dicts()}
    came = [*kept.to_dicts(), *rejected.to_dicts()]
    # As written, for what came: the repaired rows of what was kept.
    unquoted = kept.filter(pl.col("repairs").str.contains("quotes")).height
    grams = Grams(text for row in gold.filter(pl.col("split") != "steer").select(fields).iter_rows() for text in row)
    golden = {tuple(normalise(row[name]) for name in fields) for row in gold.to_dicts()}
    good = [row for row in came if row.get("gate") not in REPEATS and is_good(row, truth, fields)]
    lost = Counter(row["gate"] for row in good if row.get("gate"))
    before = [row for row in came if row.get("gate") in {None, "label_doubted"}]
    rows = verdicts.filter(pl.col("kind") == "synthetic")
    asked = int(verdicts["requests"].list.len().sum())
    return Result(
        came=len(came),
        kept=kept.height,
        refusals=(sum(refuses(row, fields) for row in came), sum(refuses(row, fields) for row in kept.to_dicts())),
        quoted=(unquoted, sum(is_quoted(row[fields[-1]]) for row in kept.to_dicts())),
        exact=kept.height - len({tuple(normalise(row[name]) for name in fields) for row in kept.to_dicts()}),
        near=count_near_duplicates(kept, fields, NEAR) / kept.height,
        near_all_words=near_all_words(kept, fields) / kept.height,
        leaked=sum(any(grams.any_of(words(row[name])) for name in fields) for row in kept.to_dicts()),
        copies=sum(tuple(normalise(row[name]) for name in fields) in golden for row in kept.to_dicts()),
        wrong=(wrong_share(before, truth, fields), wrong_share(kept.to_dicts(), truth, fields)),
        near_gold=sum(row.get("gate") in {"held_out_gold", "echo"} for row in came),
        lost=len([row for row in good if row.get("gate")]) / len(good),
        lost_by=lost,
        questions=asked / max(1, rows.height),
        seconds=seconds,
    )


def live(task: Task, warehouse: Warehouse, name: str, round_: int, asset: str | None = None) -> pl.DataFrame:
    keys = loop_key(task, round_).columns() | ({} if asset is None else {"asset": asset})
    return warehouse.live(name, keys).read()


def key_of(row: dict[str, Any], fields: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(" ".join(words(without_quotes(str(row[name] or "").strip()))) for name in fields)


def is_good(row: dict[str, Any], truth: dict[tuple[str, ...], str], fields: tuple[str, ...]) -> bool:
    """A row of the pack under its true label. A copy of the example is gold's text and none of the pack's."""
    return truth.get(key_of(row, fields)) == row["label"]


def wrong_share(rows: list[dict[str, Any]], truth: dict[tuple[str, ...], str], fields: tuple[str, ...]) -> float:
    known = [truth[key] != row["label"] for row in rows if (key := key_of(row, fields)) in truth]
    return sum(known) / max(1, len(known))


def refuses(row: dict[str, Any], fields: tuple[str, ...]) -> bool:
    return any(REFUSAL in (row[name] or "").lower() for name in fields)


def is_quoted(text: str) -> bool:
    return len(text) > 1 and text[0] == text[-1] == '"'


def near_all_words(rows: pl.DataFrame, fields: tuple[str, ...]) -> int:
    """Rows with an earlier row at Jaccard 0.8 over the words of all fields together, by comparing all pairs."""
    kept: list[frozenset[str]] = []
    found = 0
    for row in rows.select(fields).iter_rows():
        own = frozenset(word for text in row for word in words(text))
        found += any(jaccard(own, other) >= NEAR for other in kept)
        kept.append(own)
    return found


def bars(result: Result, verify: str) -> list[str]:
    """Bars that a result misses."""
    missed = []
    for name, value, most in (
        ("refusals", result.refusals[1], 0),
        ("quoted", result.quoted[1], 0),
        ("exact duplicates", result.exact, 0),
        ("near duplicates", result.near, 0.02),
        ("test leakage", result.leaked, 0),
        ("gold copies", result.copies, 0),
        ("good rows lost", result.lost, 0.05),
        *((("label errors", result.wrong[1], result.wrong[0] / 2),) if verify == "teacher" else ()),
    ):
        if value > most:
            missed.append(f"{name} {value:.3g}, bar {most:.3g}")
    return missed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packs", type=Path, required=True, help="folder of packs")
    parser.add_argument("--pack", nargs="+", default=list(PACKS))
    parser.add_argument("--verify", nargs="+", default=["nobody", "teacher", "students", "both"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    asked = parser.parse_args()
    console = Console(width=150)
    shown = Table(
        "pack", "verify", "seed", "came", "kept", "refusals", "quoted", "dupl.", "near %", "all words %",
        "overlap gold", "leaked", "wrong labels %", "good lost %", "quest./row", "s",
        box=box.SIMPLE_HEAD, title="simulated teacher at its default misbehaviour",
    )  # fmt: skip
    for pack in asked.pack:
        for seed in asked.seeds:
            for verify in asked.verify:
                got = run(asked.packs.resolve(), pack, verify, seed)
                shown.add_row(
                    pack, verify, str(seed), str(got.came), str(got.kept), f"{got.refusals[0]} > {got.refusals[1]}",
                    f"{got.quoted[0]} > {got.quoted[1]}", str(got.exact), f"{100 * got.near:.1f}",
                    f"{100 * got.near_all_words:.1f}", str(got.near_gold), str(got.leaked + got.copies),
                    f"{100 * got.wrong[0]:.1f} > {100 * got.wrong[1]:.1f}", f"{100 * got.lost:.1f}",
                    f"{got.questions:.2f}", f"{got.seconds:.0f}",
                )  # fmt: skip
                for missed in bars(got, verify):
                    console.print(f"{pack}, verify {verify}, seed {seed}: missed: {missed}")
                console.print(f"{pack}, verify {verify}, seed {seed}: good rows lost by {dict(got.lost_by)}")
    console.print(shown)


if __name__ == "__main__":
    main()
