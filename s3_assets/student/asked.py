"""What a student says of a person's own texts, piece by piece, and how often that is what the person says.

Belongs here: columns of the answer, asking where there is a text, counting. Does not belong here: reading the texts
(``tasks/own_texts.py``), which student (``loop/best_student.py``), writing answers (``store/whole_file.py``).
"""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from s3_assets.student.calibration import logs_of
from s3_assets.student.ensemble import EnsembleStudent
from s3_assets.student.features import Embed, Features
from s3_assets.student.frozen import FrozenStudent
from s3_assets.student.kinds import AnyStudent
from s3_assets.student.label_head import label_columns
from s3_assets.student.squad import exact_match, f1
from s3_assets.tasks.answers import given_answers
from s3_assets.tasks.load import Task, TaskError
from s3_assets.tasks.own_texts import OwnTexts
from s3_assets.tasks.spec import ANSWER

PREDICTION, PROBABILITY, START = "prediction", "probability", "prediction_start"

# Rows without a text that are named; the count of all is always given.
MOST_NAMED = 5


@dataclass
class Agreement:
    """How often the student says what the file says: rows counted, those right, for questions the sum of their F1.

    ``unknown`` counts rows whose label the task does not have, ``missing`` those without a label or an answer.
    """

    rows: int = 0
    right: int = 0
    f1: float = 0.0
    unknown: int = 0
    missing: int = 0

    def count_label(self, prediction: str, label: str | None, *, known: bool) -> None:
        """Count a row, its label null where it has none."""
        if known:
            self.rows += 1
            self.right += prediction == label
        elif label is None:
            self.missing += 1
        else:
            self.unknown += 1

    def count_answer(self, prediction: str, right: Sequence[str]) -> None:
        """Count a row by the answers that are right, as SQuAD compares them."""
        if right:
            self.rows += 1
            self.right += int(exact_match(prediction, right))
            self.f1 += f1(prediction, right)
        else:
            self.missing += 1


@dataclass
class Asking:
    """A student that is asked about ``texts``; what was counted is complete when all ``answered`` are read.

    ``empty`` are the first places, from 1, of rows that lack a text, ``without_text`` is how many do.
    """

    task: Task
    student: AnyStudent
    texts: OwnTexts
    rows: int = 0
    without_text: int = 0
    empty: list[int] = field(default_factory=list)
    agreement: Agreement = field(default_factory=Agreement)

    def answered(self) -> Iterator[pl.DataFrame]:
        """The pieces in their order, columns of ``answer_names`` added; null in rows that lack a text.

        ``TaskError`` after the last where no row had a text.
        """
        student = embedding_once(self.student)
        for piece in self.texts.pieces:
            rows = self.texts.texts(piece)
            there = rows.select(pl.all_horizontal(pl.col(self.task.spec.text_fields).is_not_null())).to_series()
            said = _in_place(answers(student, rows.filter(there)), there)
            lacking = [self.rows + place + 1 for place in (~there).arg_true()]
            self.empty = [*self.empty, *lacking][:MOST_NAMED]
            self.without_text += len(lacking)
            self.rows += piece.height
            self._compare(piece, said)
            if START in said.columns:
                said = said.with_columns(pl.col(START) + self._cut(piece))
            yield piece.hstack(said)
        if self.rows == self.without_text:
            raise TaskError(f"{self.texts.place}: no row has a text")

    def _cut(self, piece: pl.DataFrame) -> pl.Series:
        """Characters before the first of each text, which places in the person's own text count."""
        text = pl.col(self.texts.columns["text"]).cast(pl.String)
        return piece.select(text.str.len_chars() - text.str.strip_chars_start().str.len_chars()).to_series()

    def _compare(self, piece: pl.DataFrame, said: pl.DataFrame) -> None:
        spec, columns = self.task.spec, self.texts.columns
        if ANSWER in columns:
            for prediction, value in zip(said[PREDICTION], piece[columns[ANSWER]].to_list(), strict=True):
                if prediction is not None:
                    self.agreement.count_answer(prediction, [text for text, _ in given_answers(value)])
        elif "label" in columns:
            written = pl.col(columns["label"]).cast(pl.String).str.strip_chars().replace("", None)
            labels = piece.select(written.replace(spec.gold.label_names)).to_series()
            for prediction, label in zip(said[PREDICTION], labels, strict=True):
                if prediction is not None:
                    self.agreement.count_label(prediction, label, known=label in spec.labels)


def answer_names(task: Task) -> list[str]:
    """Columns that ``Asking`` adds."""
    more = [START] if task.spec.kind == "qa" else [_of_label(label) for label in task.spec.labels]
    return [PREDICTION, PROBABILITY, *more]


def refuse_names(task: Task, texts: OwnTexts) -> None:
    """``TaskError`` where the texts have a column of a name that is added."""
    twice = [name for name in answer_names(task) if name in texts.names]
    if twice:
        raise TaskError(
            f"{texts.place}: has the column {', '.join(map(repr, twice))} already, which predictions are written to; "
            "rename it or leave it out"
        )


def answers(student: AnyStudent, rows: pl.DataFrame) -> pl.DataFrame:
    """What ``student`` says of ``rows`` (text, text2), in their order.

    * prediction, probability: the label and its probability, 0 to 1; for questions the answer, as the student gives it
    * probability_LABEL for each label; for questions prediction_start, where the answer starts in the context, in
      characters, null for an empty answer
    """
    if student.labels == (ANSWER,):
        return student.predict(rows).select(PREDICTION, PROBABILITY, START)
    found = student.probabilities(rows)
    said = label_columns(logs_of(found), found, student.labels, rows)
    each = {_of_label(label): found[:, place] for place, label in enumerate(student.labels)}
    return said.with_columns(pl.Series(name, values, pl.Float64) for name, values in each.items())


def embedding_once(student: AnyStudent) -> AnyStudent:
    """``student``, its frozen members embedding texts once for all of them."""
    if not isinstance(student, EnsembleStudent):
        return student
    shared: dict[tuple[str, int, str | None], Embed] = {}
    members: list[AnyStudent] = []
    for member in student.members:
        if isinstance(member, FrozenStudent):
            encoder = (member.weights, member.max_length, member.encoder_digest)
            embed = shared.setdefault(encoder, _kept(member.embed))
            members.append(replace(member, embed=embed))
        else:
            members.append(member)
    return EnsembleStudent(members)


def _kept(embed: Embed) -> Embed:
    last = functools.lru_cache(maxsize=1)(embed)

    def again(texts: Sequence[str]) -> Features:
        return last(tuple(texts))

    return again


def _of_label(label: str) -> str:
    return f"{PROBABILITY}_{label}"


def _in_place(said: pl.DataFrame, there: pl.Series) -> pl.DataFrame:
    """Rows of ``said`` at the places where ``there`` is true, nulls at the others."""
    if there.all():
        return said
    place = pl.Series("place", there.arg_true(), pl.Int64)
    every = pl.DataFrame({"place": pl.int_range(there.len(), dtype=pl.Int64, eager=True)})
    return every.join(said.with_columns(place), on="place", how="left", maintain_order="left").drop("place")
