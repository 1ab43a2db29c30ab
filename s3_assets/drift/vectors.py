"""Vectors of rows, each distinct text of a task computed once and kept in the table ``embeddings``.

Belongs here: finding kept vectors, computing and keeping those that are missing. Does not belong here: the encoder
(``student/embeddings.py``), what is measured on vectors (the modules beside this one).
"""

import fcntl
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import polars as pl
from numpy.typing import NDArray

from s3_assets.store.drift_tables import DIMENSIONS
from s3_assets.store.identity import digest, text_id
from s3_assets.store.parts import DATA_VERSION, Warehouse
from s3_assets.store.tables import table

ENCODER = "minilm"
EMBEDDINGS = "embeddings"

# Rows kept at a time: a step that is killed keeps what it has computed so far.
CHUNK = 4096

log = logging.getLogger(__name__)

Vectors = NDArray[np.float32]


def row_vectors(warehouse: Warehouse, task: str, rows: pl.DataFrame, fields: Sequence[str]) -> Vectors:
    """Vectors of ``rows`` in order, float32 of shape (rows, 384), each of length 1.

    A row's text are its ``fields``, one a line. Texts that the task's table ``embeddings`` lacks are embedded and kept
    first. Two processes that want the same task's vectors take turns, so that no text is computed twice.
    """
    texts = [tuple(values) for values in rows.select(fields).iter_rows()]
    ids = [text_id(*values) for values in texts]
    wanted = dict(zip(ids, texts, strict=True))
    if not wanted:
        return np.zeros((0, DIMENSIONS), np.float32)
    # Most often all are there, and nobody needs to wait.
    kept = kept_vectors(warehouse, task, wanted)
    if len(kept) < len(wanted):
        with _turn(warehouse, task):
            kept = kept_vectors(warehouse, task, wanted)
            missing = {identity: values for identity, values in wanted.items() if identity not in kept}
            kept |= _embed(warehouse, task, missing)
    return np.stack([kept[identity] for identity in ids])


def kept_vectors(warehouse: Warehouse, task: str, ids: Iterable[str]) -> dict[str, Vectors]:
    """Vectors by text id, each of shape (384,), of those ``ids`` that the task's table ``embeddings`` holds.

    A part that cannot be read is passed over with a warning: its texts count as not kept.
    """
    wanted = list(set(ids))
    found: dict[str, Vectors] = {}
    for part in warehouse.parts(EMBEDDINGS, {"task": task}):
        rows = pl.scan_parquet(part.path, glob=False, hive_partitioning=False)
        mine = rows.filter(pl.col("encoder") == ENCODER, pl.col("text_id").is_in(wanted))
        try:
            columns = mine.select("text_id", "embedding").collect()
        except pl.exceptions.ComputeError as error:
            log.warning("vectors left out, for %s cannot be read and is to be deleted: %s", part.path, error)
            continue
        found |= dict(zip(columns["text_id"].to_list(), columns["embedding"].to_numpy(), strict=True))
    return found


def _embed(warehouse: Warehouse, task: str, missing: dict[str, tuple[str | None, ...]]) -> dict[str, Vectors]:
    if not missing:
        return {}
    from s3_assets.student.embeddings import embed  # torch and transformers, about 2.5 s

    log.info("embedding %s texts", f"{len(missing):,}")
    found: dict[str, Vectors] = {}
    # Alike lengths together: chunks are batched by length within, and the longest are done first.
    items = sorted(missing.items(), key=lambda item: -sum(len(text or "") for text in item[1]))
    for start in range(0, len(items), CHUNK):
        chunk = items[start : start + CHUNK]
        texts = ["\n".join(text for text in values if text is not None) for _, values in chunk]
        ids = [identity for identity, _ in chunk]
        vectors = embed(texts, ENCODER)
        _keep(warehouse, task, ids, vectors)
        found |= dict(zip(ids, vectors, strict=True))
        if len(items) > CHUNK:
            log.info("embedded %s of %s texts", f"{start + len(chunk):,}", f"{len(items):,}")
    return found


def _keep(warehouse: Warehouse, task: str, ids: list[str], vectors: Vectors) -> None:
    schema = table(EMBEDDINGS).schema
    columns = {
        "task": pl.Series([task] * len(ids), dtype=schema["task"]),
        "text_id": pl.Series(ids, dtype=schema["text_id"]),
        "encoder": pl.Series([ENCODER] * len(ids), dtype=schema["encoder"]),
        "embedding": pl.Series(vectors, dtype=schema["embedding"]),
    }
    # The vectors follow from encoder and texts.
    warehouse.write(EMBEDDINGS, {"task": task}, pl.DataFrame(columns), {DATA_VERSION: digest([ENCODER, ids])})


@contextmanager
def _turn(warehouse: Warehouse, task: str) -> Iterator[None]:
    """Hold the task's lock, which the system lets go when this process ends."""
    folder = warehouse.root / EMBEDDINGS
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f".{task}.lock").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
