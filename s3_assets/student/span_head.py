"""Students that answer questions with a span of the context: one output per token for its start, one for its end.

Belongs here: what rows and outputs mean to such a student. Does not belong here: running the model (``model.py``),
windows of long contexts (``windows.py``), comparing answers (``squad.py``).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from s3_assets.student.batches import Ask, Encoded
from s3_assets.student.errors import StudentError
from s3_assets.student.squad import exact_match, f1
from s3_assets.student.targets import row_weights
from s3_assets.student.windows import Window, token_span, windows
from s3_assets.tasks.spec import ANSWER, QaSpec

# Loss of a gold answer that no window holds whole: that of a probability of 1e-12 for its start and its end.
LOSS_OUT_OF_REACH = -math.log(1e-12)

# Where windows without the answer point: position 0, where encoders have their CLS token.
NOWHERE = (0, 0)

# What of the task's options the saved student needs.
SAVED = {"stride", "longest_answer", "error_below_f1"}
NOTE = "question_answering"

Numbers = NDArray[np.float64]
Span = tuple[int, int]


@dataclass(frozen=True)
class SpanHead:
    """Answers by spans of tokens, with the task's options ``qa``."""

    qa: QaSpec

    auto_model = "AutoModelForQuestionAnswering"
    labels = (ANSWER,)
    loss_name = "training_loss"
    compares_rows = False
    ranks_by = "f1"

    @property
    def measures(self) -> dict[str, str]:
        """Measures of predictions, each with the column it is the mean of."""
        return {"accuracy": "exact_match", "f1": "f1"}

    @property
    def options(self) -> dict[str, Any]:
        """What the model is loaded with."""
        return {"num_labels": 2}

    @property
    def notes(self) -> dict[str, Any]:
        """Entries of the model's config beside those of transformers, as ``noted`` reads them."""
        return {NOTE: self.qa.model_dump(include=SAVED)}

    @classmethod
    def noted(cls, config: Any) -> "SpanHead":
        """The head of a model with ``config``; with default options where it was not saved by a student."""
        return cls(QaSpec(**getattr(config, NOTE, {})))

    def examples(self, tokenizer: Any, rows: pl.DataFrame, max_length: int) -> tuple[list[Encoded], Any]:
        """Windows of ``rows``, and the positions of first and last token of the answer in each.

        A window that lacks the answer points ``NOWHERE`` if another of its row has it. Rows whose answer is whole in no
        window are left out; ``StudentError`` where that leaves nothing. Where rows have other weights than 1, a third
        column has that of the window's row.
        """
        import torch

        encoded, targets, weights = [], [], []
        weight = row_weights(rows)
        pieces = windows(tokenizer, rows, max_length, self.qa.stride)
        for row, span in enumerate(_gold_spans(rows, pieces)):
            if span is None:
                continue
            for window in pieces[row]:
                encoded.append(window.encoded)
                targets.append(_within(window, span) if window.holds(span) else NOWHERE)
                weights.append(1.0 if weight is None else float(weight[row]))
        if not encoded:
            raise StudentError("no answer of the training set fits into a window; raise student.max_length")
        if weight is None:
            return encoded, torch.tensor(targets)
        # Positions are whole numbers far below those that float32 cannot tell apart.
        return encoded, torch.tensor([(*places, own) for places, own in zip(targets, weights, strict=True)])

    def loss(self, output: Any, batch: dict[str, Any], targets: Any, /) -> Any:
        """Mean cross entropy of starts and ends, in nats; padding is no place to point at.

        Where ``targets`` have a third column, the windows' are multiplied by it before the mean.
        """
        import torch

        padding = batch["attention_mask"] == 0
        both = torch.stack([output.start_logits, output.end_logits], dim=1).float()
        both = both.masked_fill(padding.unsqueeze(1), -torch.inf)
        if targets.shape[1] == 2:
            return torch.nn.functional.cross_entropy(both.flatten(0, 1), targets.flatten())
        places, weights = targets[:, :2].long(), targets[:, 2]
        losses = torch.nn.functional.cross_entropy(both.flatten(0, 1), places.flatten(), reduction="none")
        return (losses.view(-1, 2).mean(1) * weights).mean()

    def values(self, output: Any, _batch: dict[str, Any], /) -> Any:
        """Outputs of a batch by window, of shape (2, positions): logits of starts, logits of ends."""
        import torch

        return torch.stack([output.start_logits, output.end_logits], dim=1)

    def complete(self, ask: Ask, encoded: Sequence[Encoded], targets: Any) -> None:
        """Nothing: steps train all of it."""

    def predict(self, tokenizer: Any, rows: pl.DataFrame, max_length: int, ask: Ask) -> pl.DataFrame:
        """``rows`` have the columns text (context), text2 (question); if known answer, answer_start, answers.

        The student may answer with any run of at most ``longest_answer`` context tokens that is whole in one window.
        Its score is the sum of the logits of start and end, in the window where that is highest. Columns:

        * prediction: the characters of the run with the highest score, without outer whitespace; empty where the
          context has no tokens
        * prediction_start: where the prediction starts in the context, in characters; null where it is empty
        * probability: of that run, softmax over the scores of all runs; 0 for the empty prediction
        * label_probability: likewise of ``answer`` at ``answer_start``; 0 where the student may not answer with it
        * loss: mean cross entropy of start and end over the positions of the window that holds the gold answer, in
          nats; the lowest of several; ``LOSS_OUT_OF_REACH`` where none does
        * exact_match, f1: against ``answers``, or ``answer`` where they are missing
        * correct: whether f1 reaches ``error_below_f1``, or without that, whether the match is exact

        All but the first three need the column ``answer``. One that does not stand at its start is a ``StudentError``.
        """
        pieces = windows(tokenizer, rows, max_length, self.qa.stride)
        gold = _gold_spans(rows, pieces) if "answer" in rows.columns else None
        found = iter(ask([window.encoded for row in pieces for window in row]))
        predictions: list[str] = []
        starts: list[int | None] = []
        probabilities, gold_probabilities, losses = [], [], []
        for row, (context, own) in enumerate(zip(rows["text"], pieces, strict=True)):
            logits = [next(found).double().numpy()[:, : len(window.encoded["input_ids"])] for window in own]
            scores = _scores(own, logits, self.qa.longest_answer)
            total = _log_of_sum(scores)
            best = _best(scores)
            answer, start = ("", None) if best is None else _characters(context, own, best)
            predictions.append(answer)
            starts.append(start)
            probabilities.append(_probability(scores, best, total))
            if gold is not None:
                gold_probabilities.append(_probability(scores, gold[row], total))
                losses.append(_loss(own, logits, gold[row]))
        columns = {
            "prediction": pl.Series(predictions, dtype=pl.String),
            "prediction_start": pl.Series(starts, dtype=pl.Int64),
            "probability": pl.Series(probabilities, dtype=pl.Float64),
        }
        if gold is not None:
            columns["label_probability"] = pl.Series(gold_probabilities, dtype=pl.Float64)
            columns["loss"] = pl.Series(losses, dtype=pl.Float64)
            columns |= self._judged(predictions, rows)
        return pl.DataFrame(columns)

    def _judged(self, predictions: Sequence[str], rows: pl.DataFrame) -> dict[str, pl.Series]:
        lists = rows["answers"].to_list() if "answers" in rows.columns else [None] * rows.height
        right = [answers or [answer] for answers, answer in zip(lists, rows["answer"], strict=True)]
        exact = pl.Series(list(map(exact_match, predictions, right)), dtype=pl.Float64)
        overlap = pl.Series(list(map(f1, predictions, right)), dtype=pl.Float64)
        least = self.qa.error_below_f1
        return {"exact_match": exact, "f1": overlap, "correct": exact == 1 if least is None else overlap >= least}


def refuse_answers(training: pl.DataFrame, select: pl.DataFrame) -> None:
    """``StudentError`` naming a row whose answer does not stand in its context where it should."""
    for name, rows in (("training set", training), ("selecting gold", select)):
        _check(rows, name)


def _check(rows: pl.DataFrame, name: str) -> None:
    for row, (context, answer, start) in enumerate(rows.select("text", "answer", "answer_start").iter_rows()):
        if not (answer or "").strip():
            raise StudentError(f"row {row} of the {name} has no answer")
        if start is None or start < 0 or (context or "")[start : start + len(answer)] != answer:
            raise StudentError(f"row {row} of the {name}: answer {answer!r} is not at character {start} of the context")


def _gold_spans(rows: pl.DataFrame, pieces: Sequence[Sequence[Window]]) -> list[Span | None]:
    """First and last token of each row's answer, counted over the context; None where no window holds both."""
    _check(rows, "rows")
    spans: list[Span | None] = []
    for own, answer, start in zip(pieces, rows["answer"], rows["answer_start"], strict=True):
        # Whitespace has no tokens, or that of the word after it, which is none of the answer's.
        span = token_span(own, start, start + len(answer.rstrip()))
        spans.append(span if span and any(window.holds(span) for window in own) else None)
    return spans


def _within(window: Window, span: Span) -> Span:
    shift = window.first - window.begins
    return span[0] + shift, span[1] + shift


def _scores(own: Sequence[Window], logits: Sequence[Numbers], longest: int) -> Numbers:
    """Score of every run: its first token down, tokens after that across; minus infinity where it may not be."""
    tokens = own[-1].begins + len(own[-1].offsets)
    longest = min(longest, max(len(window.offsets) for window in own))
    scores = np.full((tokens, longest), -np.inf)
    if not longest:
        return scores
    for window, (starts, ends) in zip(own, logits, strict=True):
        count = len(window.offsets)
        place = slice(window.first, window.first + count)
        padded = np.concatenate([ends[place], np.full(longest - 1, -np.inf)])
        here = starts[place, np.newaxis] + np.lib.stride_tricks.sliding_window_view(padded, longest)
        known = scores[window.begins : window.begins + count]
        np.maximum(known, here, out=known)
    return scores


def _best(scores: Numbers) -> Span | None:
    """The run with the highest score; of equals the first, then the shortest."""
    if not scores.size:
        return None
    first, more = divmod(int(scores.argmax()), scores.shape[1])
    return first, first + more


def _log_of_sum(scores: Numbers) -> float:
    if not scores.size:
        return 0.0
    highest = float(scores.max())
    return highest + math.log(float(np.exp(scores - highest).sum()))


def _probability(scores: Numbers, span: Span | None, total: float) -> float:
    if span is None or span[1] - span[0] >= scores.shape[1]:
        return 0.0
    return math.exp(scores[span[0], span[1] - span[0]] - total)


def _loss(own: Sequence[Window], logits: Sequence[Numbers], span: Span | None) -> float:
    if span is None:
        return LOSS_OUT_OF_REACH
    return min(
        sum(_log_of_sum(each) - float(each[place]) for each, place in zip(both, _within(window, span), strict=True)) / 2
        for window, both in zip(own, logits, strict=True)
        if window.holds(span)
    )


def _characters(context: str, own: Sequence[Window], span: Span) -> tuple[str, int]:
    """The span as text, and where in the context it starts."""
    holder = next(window for window in own if window.holds(span))
    first, last = (place - holder.begins for place in span)
    start, end = holder.offsets[first][0], holder.offsets[last][1]
    found = context[start:end]
    return found.strip(), start + len(found) - len(found.lstrip())
