"""The training loop.

Belongs here: one student trained from its checkpoint on one training set. Does not belong here: reading or writing
tables (``loop/training.py``), batches (``batches.py``), the model (``model.py``), what a temperature is
(``calibration.py``), trying learning rates (``learning_rates.py``).
"""

import copy
import logging
import math
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl

from s3_assets.student.balance import balanced
from s3_assets.student.batches import collate, pieces, training_batches
from s3_assets.student.best_epoch import BestEpoch, Rank
from s3_assets.student.calibration import best_temperature, logs_of
from s3_assets.student.contrastive import LIGHT, ContrastiveHead, as_classifier, contrastive_student
from s3_assets.student.device import Device, share_the_processor
from s3_assets.student.errors import StudentError
from s3_assets.student.features import Embed
from s3_assets.student.frozen import fit_frozen
from s3_assets.student.kinds import SingleStudent
from s3_assets.student.label_head import LabelHead, label_numbers, refuse_labels
from s3_assets.student.learning_rates import Trial, best_rate
from s3_assets.student.model import Student, fresh_student
from s3_assets.student.span_head import SpanHead, refuse_answers
from s3_assets.student.steps import planned_steps
from s3_assets.student.targets import has_soft, refuse_targets
from s3_assets.tasks.spec import QaSpec
from s3_assets.tasks.student_spec import StudentSpec

log = logging.getLogger(__name__)

LARGEST_GRADIENT_NORM = 1.0
SECONDS_BETWEEN_PROGRESS = 10.0


@dataclass(frozen=True)
class TrainedStudent:
    """A trained student and how it got there.

    ``history`` has one entry per epoch: epoch (from 1), training_loss (of a contrastive student pair_loss, which is
    ``ContrastiveHead.loss``), select_loss, select_accuracy; for questions also select_f1, and accuracy is the share of
    exact matches. The three are null without selecting rows.
    ``seconds`` is wall time of training, loading excluded but for students of rates tried. A frozen student has no
    epochs: its history has one entry per strength of the penalty tried (``logistic.INVERSE_STRENGTHS`` in order),
    ``epochs`` is their number, ``best_epoch`` the one kept, and ``seconds`` include what its texts took to embed.
    ``batch_size`` is the number of rows a step took, at most; None of a frozen student.

    ``temperature`` is what the student's logits were divided by after training, 1 where they were not; losses in
    ``history`` are of before. Where ``learning_rates`` were tried, ``tried`` has what each came to (``best_rate``) and
    ``learning_rate`` is the one taken.
    """

    student: SingleStudent
    epochs: int
    best_epoch: int
    history: list[dict[str, float | int | None]]
    seconds: float
    device: str
    batch_size: int | None = None
    temperature: float = 1.0
    learning_rate: float | None = None
    tried: list[dict[str, Any]] = field(default_factory=list)

    def uncalibrated(self) -> "TrainedStudent":
        """The same student, its logits as they were before calibration; this one is not to be asked any more."""
        if self.temperature == 1 or not self.student.divide_logits(1 / self.temperature):
            return self
        return replace(self, temperature=1.0)


def train_student(
    training: pl.DataFrame,
    select: pl.DataFrame,
    labels: Sequence[str],
    spec: StudentSpec,
    seed: int,
    qa: QaSpec | None = None,
    vectors: Embed | None = None,
) -> TrainedStudent:
    """Train a fresh student on ``training`` and keep one of its epochs by ``select``.

    Without ``qa`` a classifier into ``labels``, rows having the columns text, text2, label; with it a student that
    answers questions, rows having text (context), text2 (question), answer, answer_start (in characters), answers (if
    there are others). ``training`` may also have the columns weight (Float64; absent: all 1) and, for classifiers,
    soft (a list of probabilities in the order of ``labels``; null: the label is meant). A row's loss is its weight
    times the cross entropy against soft or label; weights are not divided by their sum, so their mean should be 1.
    ``spec.class_weights`` multiplies them. Rows with one gold_id, where there is that column, are held out together.

    Kept is the latest epoch whose accuracy, of answers whose mean F1, is not clearly below the best (``BestEpoch``);
    the last where ``select`` is empty. A classifier is then calibrated on ``select`` (``best_temperature``): its logits
    are divided, in the weights, so that its loss there is least. With ``spec.kind`` frozen see ``frozen.fit_frozen``;
    only that uses ``vectors``, which give the vectors of single texts as ``spec.weights`` do. The same inputs and seed
    give the same weights on the same machine. Raises ``StudentError`` for no rows, one class, unknown labels, weights
    or probabilities that are none, an answer that is not where it should be, too few rows to try learning rates by, and
    for questions with soft labels, class weights or a frozen student.
    """
    share_the_processor()
    if qa is not None and spec.kind != "fine_tuned":
        raise StudentError(
            f"student.kind: {spec.kind} students classify; questions need one of kind fine_tuned, which finds where an "
            "answer begins and ends"
        )
    if training.is_empty():
        raise StudentError(
            "the training set has no rows; ask for more (rows.seed), or look in the table rejected for what became of "
            "them"
        )
    if qa is not None and has_soft(training):
        raise StudentError("soft labels are probabilities of labels; students that answer questions learn answers")
    refuse_targets(training, labels)
    if qa is not None:
        if spec.class_weights != "none":
            raise StudentError("student.class_weights: questions have no labels to weigh alike; leave it out")
        refuse_answers(training, select)
        return _by_steps(training, select, labels, spec, seed, qa)
    refuse_labels(training, select, labels)
    if spec.class_weights == "balanced":
        training = balanced(training)
    if spec.kind == "frozen":
        return _calibrated(_frozen(training, select, labels, spec, seed, vectors), select)
    return _calibrated(_by_steps(training, select, labels, spec, seed, None), select)


def _by_steps(
    training: pl.DataFrame, select: pl.DataFrame, labels: Sequence[str], spec: StudentSpec, seed: int, qa: QaSpec | None
) -> TrainedStudent:
    """A student whose weights are trained: a fine-tuned or a contrastive one."""
    began = time.perf_counter()

    def train(rows: pl.DataFrame, judging: pl.DataFrame, options: StudentSpec) -> TrainedStudent:
        import torch

        # Leaves the caller's random state as it was. One GPU is used, so one is named: torch warns when there are more.
        with torch.random.fork_rng(devices=[torch.cuda.current_device()] if torch.cuda.is_available() else []):
            torch.manual_seed(seed)
            if spec.kind != "contrastive":
                return _fit(fresh_student(spec.weights, labels, spec.max_length, qa), rows, judging, options, seed)
            head = ContrastiveHead(tuple(labels), LIGHT if spec.strength is None else spec.strength)
            student = contrastive_student(head, options)
            return replace(_fit(student, rows, judging, options, seed), student=as_classifier(student, head))

    def trial(rows: pl.DataFrame, judging: pl.DataFrame, options: StudentSpec) -> Trial:
        done = train(rows, judging, options)
        scores = done.history[done.best_epoch - 1]
        return _rank(scores, (LabelHead if qa is None else SpanHead).ranks_by), scores

    if not spec.learning_rates:
        return train(training, select, spec)
    rate, tried = best_rate(trial, training, select, spec, seed)
    done = train(training, select, spec.model_copy(update={"learning_rate": rate}))
    return replace(done, seconds=time.perf_counter() - began, learning_rate=rate, tried=tried)


def _calibrated(done: TrainedStudent, select: pl.DataFrame) -> TrainedStudent:
    """``done`` with its logits divided by the temperature at which its loss on ``select`` is least."""
    if select.is_empty():
        return done
    logs = logs_of(done.student.probabilities(select))
    temperature = best_temperature(logs, label_numbers(select["label"].to_list(), done.student.labels))
    if temperature == 1 or not done.student.divide_logits(temperature):
        return done
    log.info("training: logits divided by %.2f, found on %d rows of selecting gold", temperature, select.height)
    return replace(done, temperature=temperature)


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
    steps = planned_steps(len(rows), spec)
    epochs = steps.epochs
    tokens = student.device.tokens_compared if student.head.compares_rows else student.device.tokens
    if (steps.batch_size, epochs) != (spec.batch_size, spec.epochs):
        log.info("training: %d epochs in batches of %d, for %d steps", epochs, steps.batch_size, steps.total)
    optimizer, schedule = _optimizer(student.model, spec, steps.total)
    history: list[dict[str, float | int | None]] = []
    best, kept = BestEpoch(), {}
    for epoch in range(1, epochs + 1):
        student.model.train()
        losses, shown = [], time.perf_counter()
        for place, numbers in enumerate(training_batches(lengths, steps.batch_size, rng), start=1):
            for piece in pieces(numbers, lengths, tokens):
                batch = collate(student.tokenizer, [rows[number] for number in piece], device)
                loss = student.loss(batch, targets[piece])
                # The gradient of the batch's mean, whatever the pieces; of a contrastive student of the pairs in each.
                (loss * (len(piece) / len(numbers))).backward()
                losses.append(loss.detach() * len(piece))
            torch.nn.utils.clip_grad_norm_(student.model.parameters(), LARGEST_GRADIENT_NORM)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            if time.perf_counter() - shown > SECONDS_BETWEEN_PROGRESS:
                shown = time.perf_counter()
                log.info("training: epoch %d of %d, batch %d of %d", epoch, epochs, place, steps.per_epoch)
        if not select.is_empty():
            student.complete(rows, targets)
        # Read once an epoch: a GPU would have to be waited for at every step.
        total, (scores, measures) = sum(torch.stack(losses).tolist()), _score(student, select)
        history.append({"epoch": epoch, student.head.loss_name: total / len(rows), **scores})
        log.info("training: epoch %d of %d, %s", epoch, epochs, _line(history[-1], time.perf_counter() - began))
        if select.is_empty():
            continue
        if best.take(epoch, _rank(scores, student.head.ranks_by), measures):
            kept = copy.deepcopy(student.model.state_dict())
        waited = spec.patience is not None and epoch - best.best >= spec.patience
        if waited and spec.min_steps <= epoch * steps.per_epoch < steps.total:
            log.info("training: ended after epoch %d of %d, none better than epoch %d", epoch, epochs, best.best)
            break
    if kept:
        student.model.load_state_dict(kept)
    student.complete(rows, targets)
    seconds, kept_epoch = time.perf_counter() - began, best.epoch or len(history)
    return TrainedStudent(
        student, len(history), kept_epoch, history, seconds, str(student.device), batch_size=steps.batch_size
    )


def _rank(scores: Mapping[str, float | int | None], measure: str) -> Rank:
    """Of an epoch with selecting rows, the higher the better: its measure, then its loss."""
    reached, lost = scores[f"select_{measure}"], scores["select_loss"]
    return (0.0 if reached is None else reached), -(math.inf if lost is None else lost)


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


def _score(student: Student, select: pl.DataFrame) -> tuple[dict[str, float | None], list[float]]:
    """Means over selecting rows, and of each row what epochs are compared by."""
    measures = student.head.measures
    if select.is_empty():
        return dict.fromkeys(["select_loss", *(f"select_{name}" for name in measures)]), []
    found = student.predict(select)
    means = {f"select_{name}": float(found[column].to_numpy().mean()) for name, column in measures.items()}
    each = found[measures[student.head.ranks_by]].cast(pl.Float64).to_list()
    return {"select_loss": float(found["loss"].to_numpy().mean()), **means}, each


def _line(entry: dict[str, float | int | None], seconds: float) -> str:
    accuracy, f1 = entry["select_accuracy"], entry.get("select_f1")
    selecting = "no selecting gold" if accuracy is None else f"selecting gold {100 * accuracy:.1f}% right"
    if f1 is not None:
        selecting += f", F1 {100 * f1:.1f}%"
    loss = f"loss of pairs {entry['pair_loss']:.3f}" if "pair_loss" in entry else f"loss {entry['training_loss']:.3f}"
    return f"{loss}, {selecting}, {seconds:.0f} s so far"
