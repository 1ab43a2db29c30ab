"""Second opinions on labels: who is asked, what that says of a row, what becomes of it.

Belongs here: label questions, the order of work for each ``verify.by``. Does not belong here: probabilities and the
threshold (``confidence.py``), how it is noted (``verdicts.py``), the ensemble of students (``quality/ensemble.py``).
"""

import dataclasses
import functools
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import polars as pl

from s3_assets.generation.answers import read_answer
from s3_assets.generation.confidence import MOST_CHOSEN, accuracy, after_students, choose_threshold, posterior
from s3_assets.generation.filling import Verify, Written, refused_row, rejected_answer
from s3_assets.generation.verdicts import (
    DROPPED,
    RELABELLED,
    SYNTHETIC,
    Judged,
    calibrating_gold,
    gold_to_judge,
    in_words,
    votes_known,
)
from s3_assets.prompting.contract import LABEL, label_schema, messages
from s3_assets.store.identity import example_id
from s3_assets.store.parts import RoundKey, Warehouse
from s3_assets.tasks.load import Task
from s3_assets.teacher.answer import Answer
from s3_assets.teacher.request import TeacherRequest
from s3_assets.teacher.session import TeacherSession, teacher_session

if TYPE_CHECKING:
    from s3_assets.quality.ensemble import Opinion, Students

log = logging.getLogger(__name__)

DOUBTED = "label_doubted"

# With ``by: both`` the teacher is asked about rows that the students trust less than this share of gold.
TRUSTED_SHARE = 0.8


def verifier(
    task: Task,
    judge: TeacherSession | None,
    gold: pl.DataFrame,
    seen: pl.DataFrame | None,
    written: Written,
    gold_verdicts: pl.DataFrame | None = None,
    students: "Students | None" = None,
) -> Verify | None:
    """What a step calls with the rows that passed its gates, None where ``verify.by`` is nobody.

    It gives back the rows that are kept, with their ``confidence``, relabelled ones with their new label and id. Into
    ``written`` go a verdict on each row, first one on each gold row that calibrates, and as rejected the rows dropped
    and faulty answers. It may be called again with further rows; what gold says is settled by the first call.

    ``gold`` are all gold rows as the strategy uses them: selecting gold calibrates, or steering gold where no row
    selects; test gold is never looked at. ``seen`` are rows the students are also trained on. ``gold_verdicts`` are
    verdicts of an earlier step whose votes on gold are taken over if they are about the same rows. ``students``
    replaces the ensemble. Raises what ``judge`` raises, and ``WeightsError``.
    """
    by = task.spec.verifying.by
    if by == "nobody":
        return None
    if judge is None and by != "students":
        raise ValueError(f"task {task.name}: verify.by {by} asks a teacher, and none was given")
    of_gold = gold.filter(pl.col("split").is_in(["steer", "select"]))
    if students is None and by in {"students", "both"}:
        students = _ensemble(task, of_gold, seen)
    known = votes_known(gold_verdicts, gold_to_judge(of_gold), task.spec.verifying.questions)
    return _Verifier(task, judge, gold_to_judge(of_gold), written, known, students)


def _ensemble(task: Task, gold: pl.DataFrame, seen: pl.DataFrame | None) -> "Students":
    # numpy, 0.2 s; torch and scikit-learn, 4 s, when it is asked.
    if (gold["split"] == "select").any():
        from s3_assets.quality.ensemble import students_of

        return students_of(task, gold, seen)
    from s3_assets.generation.held_out import students_held_out

    return students_held_out(task, calibrating_gold(gold), seen)


@contextmanager
def judging(
    task: Task, warehouse: Warehouse, key: RoundKey, asset: str, run_id: str | None, session: TeacherSession
) -> Iterator[TeacherSession | None]:
    """Who is asked for labels in a step: its own ``session``, one with ``verify.teacher``, or nobody (None)."""
    spec = task.spec.verifying
    if spec.by not in {"teacher", "both"}:
        yield None
    elif spec.teacher is None:
        yield session
    else:
        other = dataclasses.replace(task, spec=task.spec.model_copy(update={"teacher": spec.teacher}))
        with teacher_session(other, warehouse, key, asset, run_id, beside=session) as judge:
            yield judge


class _Verifier:
    """Verifies the rows of one step, call by call."""

    def __init__(
        self,
        task: Task,
        judge: TeacherSession | None,
        of_gold: list[Judged],
        written: Written,
        known: Mapping[str, Mapping[str, Any]] | None,
        students: "Students | None",
    ) -> None:
        self._task, self._judge, self._written, self._students = task, judge, written, students
        self._spec, self._labels = task.spec.verifying, list(task.spec.labels)
        self._gold, self._known = of_gold, known
        self._earlier: list[Mapping[str, Any]] = []
        self._settled = False
        # Of the judge: its accuracy, and the confidence below which rows are doubted. Of the students alone: theirs.
        self._right, self._threshold, self._level = 0.0, 0.0, 0.0

    def __call__(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if not rows:
            return []
        judged = [Judged(SYNTHETIC, row["example_id"], row, row["gold_id"]) for row in rows]
        if self._students is not None:
            of_rows, of_gold = self._students(self._earlier, rows)
            for one, opinion in zip(judged, of_rows, strict=True):
                one.opinion = opinion
            if not self._settled:
                for one, opinion in zip(self._gold, of_gold, strict=True):
                    one.opinion = opinion
        if not self._settled:
            self._settle()
            self._settled = True
        self._ask([one for one in judged if self._is_asked(one)])
        kept = []
        for row, one in zip(rows, judged, strict=True):
            self._decide(one)
            self._written.verdicts.append(one.verdict())
            if one.outcome == DROPPED:
                self._written.rejected.append(refused_row(row, DOUBTED, self._reason(one), one.confidence))
            else:
                kept.append(_as_kept(row, one))
        self._earlier += kept
        questions = sum(len(one.requests) for one in judged)
        log.info(
            "labels of %d rows verified: %d questions, %d rows dropped", len(rows), questions, len(rows) - len(kept)
        )
        return kept

    def _settle(self) -> None:
        """What gold says: how good the judge is, and the thresholds."""
        gold, spec = self._gold, self._spec
        if not gold:
            log.warning(
                "task %s has no gold to calibrate on: without a verify.threshold no label is doubted", self._task.name
            )
        if self._students is not None:
            trusted = [self._by_students(one.opinion)[0] for one in gold if one.opinion is not None]
            if spec.by == "both":
                self._level = choose_threshold(trusted, TRUSTED_SHARE, most=1.0)
            else:
                chosen = choose_threshold(trusted, spec.keep_right)
                self._level = chosen if spec.threshold is None else spec.threshold
        if self._judge is not None and spec.by != "students":
            if self._known is not None:
                for one in gold:
                    one.votes, one.requests = (list(self._known[one.row_id][name]) for name in ("votes", "requests"))
            else:
                self._ask(gold)
            self._right = accuracy([one.label for one in gold], [one.votes for one in gold], len(self._labels))
            # On all of that gold, also where by: both asks about some rows only: that loses fewer right rows.
            confidences = [self._posterior(one)[one.label] for one in gold if one.votes]
            chosen = choose_threshold(confidences, spec.keep_right)
            self._threshold = chosen if spec.threshold is None else spec.threshold
            if gold and self._right <= 1 / len(self._labels):
                log.warning("asked for labels of gold, the teacher does no better than by guessing")
        for one in gold:
            self._decide(one)
        if self._known is None:
            self._written.verdicts.extend(one.verdict() for one in gold)
        elif self._students is not None:
            # What they were asked in an earlier step is counted there.
            self._written.verdicts.extend({**one.verdict(), "requests": []} for one in gold)

    def _is_asked(self, one: Judged) -> bool:
        """Whether the teacher is asked about a row, and its votes decide."""
        if self._spec.by != "both":
            return self._spec.by == "teacher"
        return one.opinion is None or self._by_students(one.opinion)[0] < self._level

    def _ask(self, rows: Sequence[Judged]) -> None:
        """Votes on ``rows``: one each, then another on those without a vote for their own label, and so on."""
        for sample in range(self._spec.questions):
            open_ = [one for one in rows if one.label not in one.votes]
            if not open_ or self._judge is None:
                return
            take = functools.partial(self._take, iter(open_))
            self._judge.stream((self._question(one, sample) for one in open_), read_answer, take)

    def _take(self, turns: Iterator[Judged], answer: Answer) -> None:
        """One answer, about the row whose turn it is. An unusable one is no vote."""
        one = next(turns)
        one.requests.append(answer.request_id)
        self._written.rejected.extend(rejected_answer(answer, fault) for fault in answer.faults)
        if answer.content is not None:
            one.votes.append(answer.content)

    def _question(self, one: Judged, sample: int) -> TeacherRequest:
        """Blind: without the row's label. Its sample counts only repeats, so that arms and seeds share answers."""
        facts = {"labels": self._labels, "example": {name: one.row[name] for name in self._task.spec.text_fields}}
        asked = {name: declared.means for name, declared in self._task.spec.labels.items()}
        return TeacherRequest(
            kind=LABEL,
            messages=messages(self._task, "label", facts, asked),
            schema=label_schema(tuple(self._labels)),
            sample=sample,
            slot=one.row_id,
            label=one.label,
            gold_id=one.cause,
        )

    def _posterior(self, one: Judged) -> dict[str, float]:
        return posterior(one.label, one.votes, self._labels, self._right)

    def _by_students(self, opinion: "Opinion") -> tuple[float, float]:
        return after_students(opinion.probability, opinion.of_label, len(self._labels))

    def _decide(self, one: Judged) -> None:
        """Confidence and outcome. Rows of which nobody said anything are kept, without a confidence."""
        other: tuple[str, float] | None = None
        if self._is_asked(one):
            one.threshold = self._threshold
            if one.votes:
                found = self._posterior(one)
                one.confidence = found[one.label]
                other = (one.votes[0], found[one.votes[0]]) if len(set(one.votes)) == 1 else None
        else:
            one.threshold = self._level
            if one.opinion is not None:
                one.confidence, trust = self._by_students(one.opinion)
                other = one.opinion.label, trust
        if one.confidence is None or one.confidence >= one.threshold:
            return
        one.outcome = DROPPED
        # However low the threshold, a new label must be more likely right than not.
        if self._spec.doubted == "relabel" and other is not None and other[0] != one.label:
            label, trust = other
            if trust >= max(one.threshold, MOST_CHOSEN):
                one.outcome, one.new_label, one.new_confidence = RELABELLED, label, trust

    def _reason(self, one: Judged) -> str:
        if self._is_asked(one):
            said = f"asked blind, the teacher said {in_words(one.votes)}"
        elif one.opinion is not None:
            of_label, own = one.opinion.of_label, one.opinion.probability
            said = f"students give {one.opinion.label} {of_label:.2f} and {one.label} {own:.2f}"
        else:
            said = "nobody was asked"
        return f"{said}; confidence {one.confidence:.2f} is below {one.threshold:.2f}"


def _as_kept(row: Mapping[str, Any], one: Judged) -> dict[str, Any]:
    if one.new_label is None:
        return {**row, "confidence": one.confidence}
    # A finer label belongs to the label it is finer than.
    new = {"label": one.new_label, "sublabel": None, "confidence": one.new_confidence}
    return {**row, **new, "example_id": example_id(row["text"], row["text2"], one.new_label)}
