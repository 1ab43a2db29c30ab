"""The training loop.

Belongs here: one student trained from its checkpoint on one training set. Does not belong here: reading or writing
tables (``loop/training.py``), batches (``batches.py``), the model (``model.py``).
"""

import copy
import logging
import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from s3_assets.student.batches import collate, training_batches
from s3_assets.student.device import Device, share_the_processor
from s3_assets.student.errors import StudentError
from s3_assets.student.features import Embed
from s3_assets.student.frozen import fit_frozen
from s3_assets.student.kinds import AnyStudent
from s3_assets.student.label_head import refuse_labels
from s3_assets.student.model import Student, fresh_student
from s3_assets.student.span_head import refuse_answers
from s3_assets.student.targets import has_soft, refuse_targets
from s3_assets.tasks.spec import QaSpec, StudentSpec

log = logging.getLogger(__name__)

LARGEST_GRADIENT_NORM = 1.0
SECONDS_BETWEEN_PROGRESS = 10.0


@dataclass(frozen=True)
class TrainedStudent:
    """A trained student and how it got there.

    ``history`` has one entry per epoch: epoch (from 1), training_loss, select_loss, select_accuracy; for
    questions also select_f1, and accuracy is the share of exact matches. The three are null without selecting rows.
    ``seconds`` is wall time of training, loading excluded. A frozen student has no epochs: its history has one entry
    per strength of the penalty tried (``logistic.INVERSE_STRENGTHS`` in order), ``epochs`` is their number,
    ``best_epoch`` the one kept, and ``seconds`` include what its texts took to embed.
    """

    student: AnyStudent
    epochs: int
    best_epoch: int
    history: list[dict[str, float | int | None]]
    seconds: float
    device: str


def train_student(
    training: pl.DataFrame,
    select: pl.DataFrame,
    labels: Sequence[str],
    spec: StudentSpec,
    seed: int,
    qa: QaSpec | None = None,
    vectors: Embed | None = None,
) -> TrainedStudent:
    """Train a fresh student on ``training`` and keep its best epoch on ``select``.

    Without ``qa`` a classifier into ``labels``, rows having the columns text, text2, label; with it a student that
    answers questions, rows having text (context), text2 (question), answer, answer_start (in characters), answers (if
    there are others). ``training`` may also have the columns weight (Float64; absent: all 1) and, for classifiers,
    soft (a list of probabilities in the order of ``labels``; null: the label is meant). A row's loss is its weight
    times the cross entropy against soft or label; weights are not divided by their sum, so their mean should be 1.

    Best is the highest accuracy, of answers the highest mean F1, then the lowest loss; the last epoch where ``select``
    is empty. With ``spec.kind`` frozen see ``frozen.fit_frozen``; only that uses ``vectors``, which give the vectors of
    single texts as ``spec.weights`` do. The same inputs and seed give the same weights on the same machine. Raises
    ``StudentError`` for no rows, one class, unknown labels, weights or probabilities that are none, an answer that is
    not where it should be, and for questions with soft labels or a frozen student.
    """
    share_the_processor()
    if qa is not None and spec.kind == "frozen":
        raise StudentError(
            "student.kind: frozen students classify; questions need one of kind fine_tuned, as an answer is found by "
            "training the encoder"
        )
    if training.is_empty():
        raise StudentError(
            "the training set has no rows; ask for more (rows.seed), or look in the table rejected for what became of "
            "them"
        )
    if qa is not None and has_soft(training):
        raise StudentError("soft labels are probabilities of labels; students that answer questions learn answers")
    refuse_targets(training, labels)
    if qa is None:
        refuse_labels(training, select, labels)
    else:
        refuse_answers(training, select)
    if spec.kind == "frozen":
        return _frozen(training, select, labels, spec, seed, vectors)
    import torch

    # Leaves the caller's random state as it was. One GPU is used, so one is named: torch warns when there are more.
    with torch.random.fork_rng(devices=[torch.cuda.current_device()] if torch.cuda.is_available() else []):
        torch.manual_seed(seed)
        student = fresh_student(spec.weights, labels, spec.max_length, qa)
        return _fit(student, training, select, spec, seed)


def _frozen(
    training: pl.DataFrame,
    select: pl.DataFrame,
    labels: Sequence[str],
    spec: StudentSpec,
    seed: int,
    vectors: Embed | None,
) -> TrainedStudent:
    began = time.perf_counter()
    student, history, best = fit_frozen(training, select, labels, spec, seed, vectors)
    seconds = time.perf_counter() - began
    log.info("training: strength %d of %d kept, %s", best, len(history), _line(history[best - 1], seconds))
    return TrainedStudent(student, len(history), best, history, seconds, str(Device("cpu", bf16=False)))


def _fit(
    student: Student, training: pl.DataFrame, select: pl.DataFrame, spec: StudentSpec, seed: int
) -> TrainedStudent:
    import torch

    began, rng, device = time.perf_counter(), random.Random(seed), student.device.kind
    rows, targets = student.examples(training)
    lengths = [len(row["input_ids"]) for row in rows]
    steps_per_epoch = math.ceil(len(rows) / spec.batch_size)
    # Small sets need steps, not passes: three passes over a few dozen rows leave the head near chance.
    epochs = max(spec.epochs, math.ceil(spec.min_steps / steps_per_epoch))
    optimizer, schedule = _optimizer(student.model, spec, epochs * steps_per_epoch)
    history: list[dict[str, float | int | None]] = []
    best: tuple[tuple[float, float], int, dict[str, Any]] | None = None
    for epoch in range(1, epochs + 1):
        student.model.train()
        total, shown = 0.0, time.perf_counter()
        for place, numbers in enumerate(training_batches(lengths, spec.batch_size, rng), start=1):
            batch = collate(student.tokenizer, [rows[number] for number in numbers], device)
            loss = student.loss(batch, targets[numbers])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(student.model.parameters(), LARGEST_GRADIENT_NORM)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            total += loss.item() * len(numbers)
            if time.perf_counter() - shown > SECONDS_BETWEEN_PROGRESS:
                shown = time.perf_counter()
                log.info("training: epoch %d of %d, batch %d of %d", epoch, epochs, place, steps_per_epoch)
        scores = _score(student, select)
        history.append({"epoch": epoch, "training_loss": total / len(rows), **scores})
        log.info("training: epoch %d of %d, %s", epoch, epochs, _line(history[-1], time.perf_counter() - began))
        reached, lost = scores[f"select_{student.head.ranks_by}"], scores["select_loss"]
        if reached is not None and lost is not None:
            rank = (reached, -lost)
            if best is None or rank > best[0]:
                best = (rank, epoch, copy.deepcopy(student.model.state_dict()))
    if best is not None:
        student.model.load_state_dict(best[2])
    best_epoch = best[1] if best is not None else epochs
    return TrainedStudent(student, epochs, best_epoch, history, time.perf_counter() - began, str(student.device))


def _optimizer(model: Any, spec: StudentSpec, steps: int) -> tuple[Any, Any]:
    """AdamW without decay on biases and norms; the rate warms up linearly, then falls linearly to 0."""
    import torch

    weights = [weight for weight in model.parameters() if weight.requires_grad]
    groups = [
        {"params": [weight for weight in weights if weight.dim() > 1], "weight_decay": spec.weight_decay},
        {"params": [weight for weight in weights if weight.dim() <= 1], "weight_decay": 0.0},
    ]
    # Fused: a MiniLM step of 16 short rows took 330 instead of 500 ms, because this part took 25 instead of 183.
    optimizer = torch.optim.AdamW(groups, lr=spec.learning_rate, fused=True)
    warmup = math.ceil(steps * spec.warmup_share)

    def share(step: int) -> float:
        return (step + 1) / warmup if step < warmup else max(0.0, (steps - step) / max(1, steps - warmup))

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, share)


def _score(student: Student, select: pl.DataFrame) -> dict[str, float | None]:
    measures = student.head.measures
    if select.is_empty():
        return dict.fromkeys(["select_loss", *(f"select_{name}" for name in measures)])
    found = student.predict(select)
    means = {f"select_{name}": float(found[column].to_numpy().mean()) for name, column in measures.items()}
    return {"select_loss": float(found["loss"].to_numpy().mean()), **means}


def _line(entry: dict[str, float | int | None], seconds: float) -> str:
    accuracy, f1 = entry["select_accuracy"], entry.get("select_f1")
    selecting = "no selecting gold" if accuracy is None else f"selecting gold {100 * accuracy:.1f}% right"
    if f1 is not None:
        selecting += f", F1 {100 * f1:.1f}%"
    return f"loss {entry['training_loss']:.3f}, {selecting}, {seconds:.0f} s so far"
