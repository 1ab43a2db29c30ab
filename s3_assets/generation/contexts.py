"""Contexts: the first texts that pairs and questions are written for (paper: conditional contexts).

Belongs here: where contexts come from and which may not be used. Does not belong here: planning requests over them
(``seed.py``).
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from s3_assets.quality.overlap import HeldOutTexts
from s3_assets.tasks.answers import locate
from s3_assets.tasks.files import NamedFile, named_file, text_column
from s3_assets.tasks.load import Task, TaskError
from s3_assets.tasks.spec import ANSWER

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Context:
    """A first text; for questions the answer they must have and its place, or None where the teacher chooses."""

    text: str
    answer: str | None = None
    answer_start: int | None = None


def read_contexts(task: Task, gold: pl.DataFrame) -> list[Context]:
    """Contexts of a pair or question task, each once: the task's own file, else those of steering gold.

    ``gold`` has the columns of the ``gold`` table. Contexts that overlap those of selecting or test gold are left out.
    ``TaskError`` when none is left. Single texts have none, and pairs of which both texts are written.
    """
    if task.spec.kind == "single" or (task.spec.kind == "pair" and task.spec.pair.writes == "both"):
        return []
    own = task.spec.contexts is not None
    given = list(dict.fromkeys(_own(task) if own else _steering(gold)))
    held_out = HeldOutTexts(gold)
    kept = [context for context in given if not held_out.overlap(context.text)]
    if len(kept) < len(given):
        log.info("%d of %d contexts left out: they overlap selecting or test gold", len(given) - len(kept), len(given))
    if not kept:
        place = _file(task).find() if own else "steering gold"
        raise TaskError(
            f"task {task.name}: {place} has no context that does not overlap selecting or test gold; give others"
        )
    return kept


def writable(task: Task, sources: pl.DataFrame, gold: pl.DataFrame) -> pl.DataFrame:
    """Gold rows that new rows may be written from: a context they keep must not overlap held-out gold."""
    if not task.spec.keeps_context:
        return sources
    held_out = HeldOutTexts(gold)
    shared = pl.Series([held_out.overlap(text) for text in sources["text"]], dtype=pl.Boolean)
    if shared.any():
        log.info("%d of %d rows left out: their contexts overlap selecting or test gold", shared.sum(), sources.height)
    return sources.filter(~shared)


def given(context: Context) -> dict[str, str]:
    """What a request says of its context."""
    return {"text": context.text} | ({} if context.answer is None else {ANSWER: context.answer})


def kept(task: Task, context: Context | None) -> dict[str, str]:
    """Fields that rows for ``context`` have whatever the teacher writes. A question always keeps its context."""
    return {} if context is None or not task.spec.keeps_context else given(context)


def contexts_digest(task: Task) -> str | None:
    """Hash of the task's own file of contexts; None without one. Asks nobody."""
    return None if task.spec.contexts is None else _file(task).digest()


def _steering(gold: pl.DataFrame) -> Iterator[Context]:
    rows = gold.filter(pl.col("split") == "steer").select("text", ANSWER, "answer_start")
    return (Context(*row) for row in rows.iter_rows())


def _own(task: Task) -> Iterator[Context]:
    for place, row in enumerate(_read(task).iter_rows(named=True), start=1):
        text, answer = row["text"] or "", row.get(ANSWER) or None
        if not text:
            raise TaskError(f"{_file(task).find()}: row {place}: the context is empty")
        found = locate(text, answer) if answer is not None else None
        if answer is not None and found is None:
            raise TaskError(
                f"{_file(task).find()}: row {place}: the answer {answer!r} is not in its context; "
                "correct it, or leave it empty so that the teacher chooses one"
            )
        yield Context(text) if found is None else Context(text, text[slice(*found)], found[0])


def _file(task: Task) -> NamedFile:
    return named_file(task, "contexts", task.spec.contexts or "", (task.spec.fields.text,))


def _read(task: Task) -> pl.DataFrame:
    rows = _file(task).read()
    column = next((name for name in (task.spec.fields.text, "text") if name in rows.columns), None)
    if column is None:
        raise TaskError(
            f"{_file(task).find()}: no column {task.spec.fields.text!r} with the contexts; "
            f"it has {', '.join(rows.columns)}"
        )
    place = _file(task).find()
    wanted = [text_column(rows, column, place).alias("text")]
    if task.spec.kind == "qa" and ANSWER in rows.columns:
        wanted.append(text_column(rows, ANSWER, place))
    return rows.select(wanted)
