"""The steps of the loop as plain functions: read live parts, do the work, write a part.

Belongs here: the order of work within one step. Does not belong here: what depends on what (``fingerprints.py``),
reusing, checking and publishing (``publish.py``), Dagster (``assets/``), prompts, training and drift themselves.
"""

from collections.abc import Mapping

import polars as pl

from s3_assets.drift.names import GOLD_STEER
from s3_assets.generation.contexts import read_contexts
from s3_assets.generation.diagnosis import diagnosed
from s3_assets.generation.extrapolate import write_extrapolated_set
from s3_assets.generation.seed import write_seed_set
from s3_assets.generation.sublabels import count_sublabels
from s3_assets.loop.checks import Check, check_rows, check_training_set
from s3_assets.loop.fingerprints import (
    DRIFT,
    ERROR_SET,
    EXTRAPOLATED_SET,
    GOLD,
    SEED_SET,
    TRAINED_MODEL,
    gold_learned,
    loop_key,
)
from s3_assets.loop.publish import Inputs, Made, Numbers, StepResult, publish
from s3_assets.loop.quality_checks import (
    beats_majority,
    few_near_duplicates,
    labels_agreed,
    labels_balanced,
    lengths_like_gold,
    most_rows_accepted,
    no_shortcuts,
    splits_apart,
)
from s3_assets.loop.reviews import read_reviewed_gold, read_reviews
from s3_assets.loop.sources import read_basis, write_sources
from s3_assets.loop.training import train_round
from s3_assets.loop.uses import gold_in_use
from s3_assets.loop.writing import (
    against_shortcuts,
    counts,
    frame_of,
    note_shortcuts,
    own_rows,
    second_opinions,
    writing,
)
from s3_assets.quality.gates import open_gates
from s3_assets.selection.choose import choose
from s3_assets.store.parts import RoundKey, Warehouse
from s3_assets.store.tables import table
from s3_assets.tasks.gold_spec import SPLITS
from s3_assets.tasks.load import Task
from s3_assets.teacher.session import teacher_session


def make_gold(task: Task, warehouse: Warehouse, force: bool = False) -> StepResult:
    """Read, check and split the person's labelled examples, as decided in reviews."""

    def make(_: Inputs) -> Made:
        rows, reviewed = read_reviewed_gold(task, warehouse)
        counts = dict(rows["split"].value_counts().iter_rows())
        return rows, {f"{split}_rows": counts.get(split, 0) for split in SPLITS} | reviewed

    def warn(rows: pl.DataFrame, _: Inputs) -> list[Check]:
        return [splits_apart(gold_in_use(task, rows), task.spec.text_fields)]

    return publish(task, warehouse, GOLD, 0, make, warn=warn, force=force)


def make_seed_set(
    task: Task, warehouse: Warehouse, round_: int, force: bool = False, run_id: str | None = None
) -> StepResult:
    """Round 0: what the teacher writes. Later: the last seed set plus the last extrapolated set, exactly.

    Rows about which a person decided are left out or relabelled, from the round of the decision on. ``run_id`` is what
    the budget of a run is counted by.
    """
    key = loop_key(task, round_)

    def write(inputs: Inputs) -> Made:
        gold = _gold(task, inputs)
        gates = open_gates(task, gold)
        numbers: Numbers = {}
        with writing(warehouse, SEED_SET, key) as written:
            if task.spec.seed_rows is not None:
                origin = "user"
                own_rows(task, gates, written)
            else:
                origin = "seed"
                contexts, steer = read_contexts(task, gold), gold.filter(pl.col("split") == "steer")
                with (
                    teacher_session(task, warehouse, key, SEED_SET, run_id) as session,
                    second_opinions(task, warehouse, key, SEED_SET, run_id, session, gold, None, written) as verify,
                ):
                    sublabels = count_sublabels(task, session, steer, written)
                    write_seed_set(task, session, contexts, gates, written, sublabels, verify, steer)
                numbers = session.tally.numbers()
            against_shortcuts(task, written, gold)
        rows = frame_of(SEED_SET, written.accepted, {**key.columns(), "origin": origin, "first_round": 0})
        return rows, numbers | counts(rows, written)

    def extend(inputs: Inputs) -> Made:
        before = inputs[SEED_SET].read().with_columns(pl.lit(round_, pl.Int64).alias("round"))
        added = inputs[EXTRAPOLATED_SET].read()
        marked = added.with_columns(
            pl.lit(round_, pl.Int64).alias("round"),
            pl.lit("extrapolated").alias("origin"),
            pl.lit(round_, pl.Int64).alias("first_round"),
        )
        rows = pl.concat([before, marked.select(before.columns)])
        return rows, {"rows": rows.height, "rows_added": added.height}

    def make(inputs: Inputs) -> Made:
        rows, numbers = write(inputs) if round_ == 0 else extend(inputs)
        rows, reviewed = read_reviews(task, warehouse).apply_to_seed_set(rows, round_)
        shortcuts = note_shortcuts(task, warehouse, key, rows, _gold(task, inputs))
        return rows, {**numbers, **reviewed, "rows": rows.height, "shortcuts": shortcuts.height}

    def check(rows: pl.DataFrame, inputs: Inputs) -> list[Check]:
        return check_training_set(
            rows,
            _gold(task, inputs),
            list(task.spec.labels),
            task.spec.text_fields,
            task.spec.fields_written,
        )

    def warn(rows: pl.DataFrame, inputs: Inputs) -> list[Check]:
        labels, steer = list(task.spec.labels), _gold(task, inputs).filter(pl.col("split") == "steer")
        prior = steer["label"] if task.spec.how.prior == "gold" else None
        shortcuts = _live(warehouse, "shortcuts", key.columns())
        # Later rounds put together rows that were judged before.
        judged = rows.height if round_ == 0 else 0
        of_rows = _row_warnings(task, warehouse, SEED_SET, key, rows, steer, judged)
        return [*of_rows, labels_balanced(rows, labels, prior), no_shortcuts(shortcuts)]

    return publish(task, warehouse, SEED_SET, round_, make, check, warn=warn, force=force)


def make_trained_model(task: Task, warehouse: Warehouse, round_: int, force: bool = False) -> StepResult:
    """Train the student from its checkpoint on the round's seed set, then predict the gold rows it was not trained on.

    With cross-fitting students of folds are trained beside it and judge steering gold. Where gold is crossed, all of
    them learn steering gold too, each but what it judges. Arms that add gold train their last student on steering and
    selecting gold too, those of gold alone on nothing else.
    """
    key = loop_key(task, round_)

    def make(inputs: Inputs) -> Made:
        gold = _gold(task, inputs)
        seed_set = inputs[SEED_SET].read() if SEED_SET in inputs else None
        trained = train_round(
            task, warehouse, key, seed_set, gold, learned=gold_learned(task, round_), shared=not force
        )
        # Before the model's own part: whoever sees the model live must find its predictions.
        warehouse.write("predictions", key.columns(), trained.predictions)
        row = trained.row.row(0, named=True)
        scores = (f"{split}_{score}" for split in SPLITS for score in ("accuracy", "f1"))
        shown = ("training_rows", "gold_rows", "epochs", "best_epoch", "train_seconds", *scores)
        return trained.row, {name: row[name] for name in shown if row[name] is not None}

    def version(row: pl.DataFrame) -> str:
        # Training time and folder differ between identical trainings; the weights do not.
        return f"{row['model_id'][0]}:{row['weights_digest'][0]}"

    def warn(_: pl.DataFrame, __: Inputs) -> list[Check]:
        return [beats_majority(live_predictions(warehouse, key), task.spec.kind)]

    return publish(task, warehouse, TRAINED_MODEL, round_, make, version=version, warn=warn, force=force)


def make_error_set(task: Task, warehouse: Warehouse, round_: int, force: bool = False) -> StepResult:
    """The steering gold that the round's student gets wrong."""
    key = loop_key(task, round_)

    def make(inputs: Inputs) -> Made:
        model_id = inputs[TRAINED_MODEL].read()["model_id"][0]
        predictions = live_predictions(warehouse, key).filter(pl.col("split") == "steer")
        if set(predictions["model_id"].unique()) != {model_id}:
            raise RuntimeError(
                f"predictions of round {round_} of task {task.name} are not those of its model {model_id}; "
                "materialize trained_model of the round again with force: true"
            )
        texts = _gold(task, inputs).select("gold_id", "text", "text2", "label", "sublabel", "answer", "answer_start")
        wrong = predictions.drop("label").filter(~pl.col("correct")).join(texts, on="gold_id")
        rows = wrong.select(list(table(ERROR_SET).schema)).sort("gold_id")
        share = rows.height / predictions.height
        return rows, {"errors": rows.height, "steer_rows": predictions.height, "error_share": share}

    return publish(task, warehouse, ERROR_SET, round_, make, force=force)


def make_extrapolated_set(
    task: Task, warehouse: Warehouse, round_: int, force: bool = False, run_id: str | None = None
) -> StepResult:
    """New examples for the next round's seed set, from the steering gold that the strategy chooses: the round's errors.

    What was chosen is the round's part of table ``sources``. ``run_id``: see ``make_seed_set``.
    """
    key = loop_key(task, round_)

    def make(inputs: Inputs) -> Made:
        gold = _gold(task, inputs)
        errors = inputs[ERROR_SET].read() if ERROR_SET in inputs else None
        seen = inputs[SEED_SET].read()
        basis = read_basis(task, warehouse, key, gold, errors, seen)
        choice, sources = choose(task, basis, round_), basis.rows()
        gates = open_gates(task, gold, seen)
        with writing(warehouse, EXTRAPOLATED_SET, key) as written:
            with (
                teacher_session(task, warehouse, key, EXTRAPOLATED_SET, run_id) as session,
                second_opinions(task, warehouse, key, EXTRAPOLATED_SET, run_id, session, gold, seen, written) as verify,
            ):
                choice = diagnosed(task, session, choice, sources, round_, written)
                # Before the step's own part: whoever sees that live must find what it was written from.
                write_sources(warehouse, key, choice)
                write_extrapolated_set(task, session, sources, round_, gates, written, verify, choice)
            against_shortcuts(task, written, gold)
        # A round without errors has a student too, where the choice rests on its doubts.
        judged = inputs[TRAINED_MODEL].read() if TRAINED_MODEL in inputs else errors
        model_id = judged["model_id"][0] if judged is not None and judged.height else None
        rows = frame_of(EXTRAPOLATED_SET, written.accepted, {**key.columns(), "model_id": model_id})
        return rows, {**session.tally.numbers(), **choice.numbers(), **counts(rows, written)}

    def check(rows: pl.DataFrame, inputs: Inputs) -> list[Check]:
        return check_rows(
            rows,
            _gold(task, inputs),
            list(task.spec.labels),
            task.spec.text_fields,
            task.spec.fields_written,
        )

    def warn(rows: pl.DataFrame, inputs: Inputs) -> list[Check]:
        steer = _gold(task, inputs).filter(pl.col("split") == "steer")
        return _row_warnings(task, warehouse, EXTRAPOLATED_SET, key, rows, steer, rows.height)

    return publish(task, warehouse, EXTRAPOLATED_SET, round_, make, check, warn=warn, force=force)


def make_drift(task: Task, warehouse: Warehouse, round_: int, force: bool = False) -> StepResult:
    """Distance of the round's seed set from steering gold, and of the rows it added from those of earlier rounds."""
    key = loop_key(task, round_)

    def make(inputs: Inputs) -> Made:
        from s3_assets.drift.measures import measure_drift  # numpy and scipy, about 1 s
        from s3_assets.drift.vectors import row_vectors

        spec = task.spec
        steer = _gold(task, inputs).filter(pl.col("split") == "steer")
        # A context that rows take from gold as it stands is no distance from gold.
        fields = spec.fields_written
        embedded = (lambda rows: row_vectors(warehouse, task.name, rows, fields)) if spec.drift.embeddings else None
        measured = measure_drift(inputs[SEED_SET].read(), steer, round_, list(spec.labels), fields, spec.seed, embedded)
        schema = table(DRIFT).schema
        leading = (pl.lit(value, schema[name]).alias(name) for name, value in key.columns().items())
        rows = measured.with_columns(leading).select(list(schema))
        shown = rows.filter(pl.col("label").is_null(), pl.col("reference") == GOLD_STEER)
        return rows, dict(shown.select("metric", "value").iter_rows())

    return publish(task, warehouse, DRIFT, round_, make, force=force)


def live_predictions(warehouse: Warehouse, key: RoundKey) -> pl.DataFrame:
    """Predictions of a round; empty when there are none."""
    return _live(warehouse, "predictions", key.columns())


def _gold(task: Task, inputs: Inputs) -> pl.DataFrame:
    """The step's gold, with the uses that the task's strategy puts it to."""
    return gold_in_use(task, inputs[GOLD].read())


def _live(warehouse: Warehouse, name: str, keys: Mapping[str, str | int]) -> pl.DataFrame:
    part = warehouse.live(name, keys)
    return part.read() if part is not None else pl.DataFrame(schema=table(name).schema)


def _row_warnings(
    task: Task, warehouse: Warehouse, asset: str, key: RoundKey, rows: pl.DataFrame, steer: pl.DataFrame, judged: int
) -> list[Check]:
    """Checks of rows, of which ``judged`` passed the gates in this step; what those refused is stored by now."""
    keys = {**key.columns(), "asset": asset}
    return [
        most_rows_accepted(judged, _live(warehouse, "rejected", keys)),
        lengths_like_gold(rows, steer, task.spec.fields_written),
        few_near_duplicates(rows, task.spec.text_fields),
        labels_agreed(_live(warehouse, "verdicts", keys)),
    ]
