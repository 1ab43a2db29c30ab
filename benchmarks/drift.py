"""What the drift of one round costs with embeddings cached: wall time and peak memory, medians over turns.

    .venv/bin/python benchmarks/drift.py
    .venv/bin/python benchmarks/drift.py --rows 600 --gold 137

Texts are made up: words by Zipf's law, a vocabulary for each label. A quarter of the synthetic rows is new in the
round, so both references are measured, over all labels and for each of two. Vectors of the encoder's width are made up
too and lie in the table ``embeddings`` before the clock starts. Every turn is a process of its own; imports count, and
``without imports`` is the time of the measuring function alone.

Bar: 10,000 rows against 300 gold rows within 30 s on two cores, well under 1.5 GB.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import polars as pl

FIELDS, LABELS, ROUND = ("text",), ("positive", "negative"), 2
WORDS, ROWS, GOLD, TURNS = 8000, 10_000, 300, 3
BAR_SECONDS, BAR_MB = 30, 1500


def made_up(count: int, seed: int) -> pl.DataFrame:
    """Rows with text, label and first_round, 6 to 40 words each."""
    rng = np.random.default_rng(seed)
    texts = []
    for number in range(count):
        drawn = rng.zipf(1.3, rng.integers(6, 41)) % WORDS
        texts.append(" ".join(f"w{word + WORDS * (number % 2) * (word > 100)}" for word in drawn))
    first = [ROUND if number >= count * 3 // 4 else number % ROUND for number in range(count)]
    labels = [LABELS[number % 2] for number in range(count)]
    return pl.DataFrame({"text": texts, "label": labels, "first_round": first})


def keep_vectors(root: Path, rows: pl.DataFrame) -> None:
    """The table ``embeddings`` with a made-up vector for every text, those of a label near each other."""
    from s3_assets.drift.vectors import EMBEDDINGS, ENCODER
    from s3_assets.store.identity import text_id
    from s3_assets.store.parts import Warehouse
    from s3_assets.store.tables import table

    rng = np.random.default_rng(0)
    schema = table(EMBEDDINGS).schema
    width = schema["embedding"].shape[0]
    spread = 1 / np.sqrt(1 + np.arange(width))
    found = (
        rng.normal(size=(rows.height, width)) * spread
        + 0.2 * rng.normal(size=(2, width))[(rows["label"] == "positive").cast(int)]
    )
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    columns = {
        "task": ["made_up"] * rows.height,
        "text_id": [text_id(text) for text in rows["text"]],
        "encoder": [ENCODER] * rows.height,
        "embedding": pl.Series(found.astype(np.float32), dtype=schema["embedding"]),
    }
    Warehouse(root).write(EMBEDDINGS, {"task": "made_up"}, pl.DataFrame(columns, schema))


def measured(root: Path, synthetic: int, gold: int) -> dict[str, float]:
    """One turn, in this process."""
    began = time.perf_counter()
    from s3_assets.drift.measures import measure_drift
    from s3_assets.drift.vectors import row_vectors
    from s3_assets.store.parts import Warehouse

    rows, steer = pl.read_parquet(root / "rows.parquet"), pl.read_parquet(root / "steer.parquet")
    imported = time.perf_counter()
    warehouse = Warehouse(root)
    found = measure_drift(
        rows, steer, ROUND, LABELS, FIELDS, 0, lambda pool: row_vectors(warehouse, "made_up", pool, FIELDS)
    )
    ended = time.perf_counter()
    assert (rows.height, steer.height) == (synthetic, gold)
    assert "torch" not in sys.modules
    return {
        "seconds": ended - began,
        "without imports": ended - imported,
        "peak MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "rows of the table": found.height,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--gold", type=int, default=GOLD)
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.root is not None:
        print(json.dumps(measured(arguments.root, arguments.rows, arguments.gold)))
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        rows, steer = made_up(arguments.rows, 1), made_up(arguments.gold, 2)
        rows.write_parquet(root / "rows.parquet")
        steer.write_parquet(root / "steer.parquet")
        keep_vectors(root, pl.concat([rows, steer]).unique("text", maintain_order=True))
        own = [sys.executable, __file__, "--rows", str(arguments.rows), "--gold", str(arguments.gold)]
        turns = [
            json.loads(subprocess.run([*own, "--root", str(root)], check=True, stdout=subprocess.PIPE).stdout)
            for _ in range(arguments.turns)
        ]
    figures = {name: median(turn[name] for turn in turns) for name in turns[0]}
    print(f"{arguments.rows:,} synthetic rows against {arguments.gold} gold rows, median of {arguments.turns} turns")
    for name, value in figures.items():
        print(f"  {name:<20} {value:10,.2f}")
    print(f"bar: {BAR_SECONDS} s, {BAR_MB:,} MB: {_verdict(figures)}")


def _verdict(figures: dict[str, float]) -> str:
    return "met" if figures["seconds"] <= BAR_SECONDS and figures["peak MB"] <= BAR_MB else "missed"


if __name__ == "__main__":
    main()
