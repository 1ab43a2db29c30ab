"""What gates cost: rows judged per second and memory, near duplicates against datasketch and against all pairs.

    .venv/bin/python benchmarks/gates.py
    .venv/bin/python benchmarks/gates.py --rows 20000 --without-datasketch

Rows are made of the words of the demo's gold, 6 to 30 each by their frequency there, a few with what teachers do wrong.
Every measurement is a process of its own, in turns:

* gates: all gates of the demo task, as a step asks them (labels are not verified);
* the same for rows of one template, "the film was A and i liked the B C of it", any two of which have most words in
  common (Jaccard 0.57), with 3,000 words to fill it;
* near duplicates alone: the index the gates use, and the same with datasketch's MinHash and LSH (``pip install
  datasketch``) with 70 permutations in 14 bands;
* on the first rows, near duplicates found against those that comparing all pairs finds.

Bar: 100,000 rows of either kind through the gates within 60 s of CPU time, memory flat: what is kept of a row is less
than 2 kB.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import polars as pl
from rich import box
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).resolve().parent
DEMO = HERE.parent / "data" / "tasks" / "film_reviews"
BAR_SECONDS, BAR_ROWS = 60, 100_000
NEAR, PERMUTATIONS, BANDS = 0.8, 70, 14
COMPARED = 3000
REFUSAL = "I'm sorry, but as an AI language model I can't help with that request."


def rows(count: int, seed: int = 0) -> Iterator[tuple[str, str]]:
    """Text and label of rows, 15% of them with a fault."""
    rng = random.Random(seed)
    gold = pl.read_csv(DEMO / "gold.csv")["review"].to_list()
    vocabulary = " ".join(gold).split()
    earlier: list[str] = []
    for number in range(count):
        drawn = rng.random()
        if drawn < 0.02:
            text = REFUSAL
        elif drawn < 0.03:
            text = rng.choice(gold)
        elif drawn < 0.06 and earlier:
            text = rng.choice(earlier)
        elif drawn < 0.1 and earlier:
            words = rng.choice(earlier).split()
            words[rng.randrange(len(words))] = rng.choice(vocabulary)
            text = " ".join(words)
        else:
            text = " ".join(rng.choices(vocabulary, k=rng.randint(6, 30)))
        if drawn > 0.95:
            text = f'Review: "{text}"'
        if len(earlier) < 5000:
            earlier.append(text)
        yield text, ("positive", "negative")[number % 2]


def templated(count: int, seed: int = 0) -> Iterator[tuple[str, str]]:
    """Text and label of rows of one template."""
    rng = random.Random(seed)
    slots = [f"w{number}" for number in range(3000)]
    for number in range(count):
        first, second, third = rng.choices(slots, k=3)
        yield f"the film was {first} and i liked the {second} {third} of it", ("positive", "negative")[number % 2]


Made = Callable[[int], Iterator[tuple[str, str]]]


def resident() -> float:
    """Resident memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def judge(count: int, made: Made = rows) -> dict[str, object]:
    from s3_assets.quality.gates import open_gates
    from s3_assets.tasks.gold import read_gold
    from s3_assets.tasks.load import load_task

    task = load_task(DEMO)
    gold = read_gold(task)
    began, before = time.process_time(), resident()
    gates = open_gates(task, gold)
    refused: dict[str, int] = {}
    memory = []
    for number, (text, label) in enumerate(made(count), start=1):
        refusal = gates.judge({"text": text}, label).refusal
        name = "accepted" if refusal is None else refusal.gate
        refused[name] = refused.get(name, 0) + 1
        if number % (count // 4) == 0:
            memory.append(round(resident() - before))
    return {"seconds": time.process_time() - began, "memory": memory, "refused": refused}


def judge_templated(count: int) -> dict[str, object]:
    return judge(count, templated)


def near_index(count: int) -> dict[str, object]:
    from s3_assets.quality.near import NearIndex, Sketch
    from s3_assets.quality.words import words

    began, before = time.process_time(), resident()
    index, found = NearIndex(NEAR), 0
    for text, _ in rows(count):
        sketch = Sketch.of([words(text)])
        found += next(index.find(sketch), None) is not None
        index.add(sketch)
    return {"seconds": time.process_time() - began, "memory": [round(resident() - before)], "found": found}


def near_datasketch(count: int) -> dict[str, object]:
    import datasketch

    from s3_assets.quality.words import jaccard, words

    began, before = time.process_time(), resident()
    near = datasketch.MinHashLSH(num_perm=PERMUTATIONS, params=(BANDS, PERMUTATIONS // BANDS))
    empty, kept, found = datasketch.MinHash(num_perm=PERMUTATIONS, seed=1), [], 0
    for number, (text, _) in enumerate(rows(count)):
        own = frozenset(words(text))
        sketch = empty.copy()
        sketch.update_batch([word.encode() for word in own])
        found += any(jaccard(own, kept[other]) >= NEAR for other in near.query(sketch))
        near.insert(number, sketch, check_duplication=False)
        kept.append(own)
    return {"seconds": time.process_time() - began, "memory": [round(resident() - before)], "found": found}


def near_all_pairs(count: int) -> dict[str, object]:
    from s3_assets.quality.words import jaccard, words

    began = time.process_time()
    kept, found = [], 0
    for text, _ in rows(count):
        own = frozenset(words(text))
        found += any(jaccard(own, other) >= NEAR for other in kept)
        kept.append(own)
    return {"seconds": time.process_time() - began, "memory": [0], "found": found}


SIDES = {
    "gates": judge,
    "templated": judge_templated,
    "near": near_index,
    "datasketch": near_datasketch,
    "all pairs": near_all_pairs,
}
NAMES = {
    "gates": "all gates",
    "templated": "all gates, one template",
    "near": "near duplicates alone",
    "datasketch": "near duplicates by datasketch",
}


def measured(side: str, count: int) -> dict[str, object]:
    command = [sys.executable, str(Path(__file__).resolve()), "--side", side, "--rows", str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=BAR_ROWS)
    parser.add_argument("--pairs", type=int, default=3, help="measurements of each side, in turns")
    parser.add_argument("--without-datasketch", action="store_true", help="leave the alternative out")
    parser.add_argument("--side", choices=list(SIDES), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.side:
        print(json.dumps(SIDES[asked.side](asked.rows)))
        return
    console = Console()
    sides = [side for side in NAMES if side != "datasketch" or not asked.without_datasketch]
    runs: dict[str, list[dict[str, object]]] = {side: [] for side in sides}
    for pair in range(1, asked.pairs + 1):
        for side in sides:
            runs[side].append(measured(side, asked.rows))
        console.print(f"turn {pair}: " + ", ".join(f"{side} {runs[side][-1]['seconds']:.1f} s" for side in sides))
    shown = Table(
        "", "CPU seconds", "rows/s", "MB at the end", title=f"{asked.rows:,} rows, medians", box=box.SIMPLE_HEAD
    )
    took = {side: median(run["seconds"] for run in runs[side]) for side in sides}
    for side in sides:
        memory = median(run["memory"][-1] for run in runs[side])
        shown.add_row(NAMES[side], f"{took[side]:.1f}", f"{asked.rows / took[side]:,.0f}", f"{memory:.0f}")
    console.print(shown)
    for side in ("gates", "templated"):
        last = runs[side][-1]
        console.print(f"{NAMES[side]}: MB after each quarter of the rows {last['memory']}, judged {last['refused']}")
    found = {side: measured(side, COMPARED)["found"] for side in ("all pairs", "near")}
    console.print(f"near duplicates among {COMPARED} rows: {found['near']} found, {found['all pairs']} by all pairs")
    bar = BAR_SECONDS * asked.rows / BAR_ROWS
    met = max(took["gates"], took["templated"]) <= bar
    console.print(f"bar {bar:.0f} s: {'met' if met else 'missed'}")


if __name__ == "__main__":
    main()
