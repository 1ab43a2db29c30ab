"""Sentences of the cards: who wrote the rows, how a student was made, what it cannot do.

Belongs here: facts in words. Does not belong here: the facts (``facts.py``), metadata and layout of cards
(``cards.py``).

What is told of the teacher is who it is, never where it answers: an address may hold a key.
"""

import importlib.metadata
from typing import Any

from s3_assets.cli.figures import EMBEDDED
from s3_assets.export.facts import ExportFacts
from s3_assets.export.frozen_encoder import Agreement
from s3_assets.export.synthetic_rows import SyntheticRows
from s3_assets.loop.progress import HEADLINE_DRIFT
from s3_assets.report.blocks import dollars, measured, number, percent, rows_of_gold
from s3_assets.student.weights import can_be_on_hub
from s3_assets.tasks.load import Task

# What a teacher's declared name begins with where real rows are served over a teacher's wire.
SIMULATED = "simulated"

STEERING = "steering gold"


def teacher(task: Task) -> str:
    """Who wrote the rows, in words."""
    spec = task.spec.teacher
    # A path says on whose machine it is.
    shown = spec.name if spec.name and can_be_on_hub(spec.name) else None
    name = f", declared as {shown}" if shown else ""
    by_path = not can_be_on_hub(spec.model)
    if spec.backend == "embedded":
        return "the embedded teacher, a grammar without a model"
    if (spec.name or "").startswith(SIMULATED):
        return f"a simulated teacher ({shown or SIMULATED}), which is no LLM"
    if spec.backend == "transformers":
        local = by_path or task.path(spec.model).is_dir()
        return f"{'a model in a local folder' if local else f'`{spec.model}`'}, run with transformers{name}"
    return f"{'a model named by a path' if by_path else f'`{spec.model}`'} over an OpenAI-compatible endpoint{name}"


def keeps_texts_of(task: Task) -> str | None:
    """Whose first texts the written rows have word for word, in words; None where the teacher wrote all texts."""
    if not task.spec.keeps_context:
        return None
    if task.spec.seed_rows is not None:
        first = "the rows the task brought"
    elif task.spec.contexts is not None:
        first = "the task's file of contexts"
    else:
        return STEERING
    # A row that is extrapolated keeps the first text of the gold row it is written from.
    return f"{first} and, from round 1 on, {STEERING}"


def learned_from(facts: ExportFacts) -> str:
    """Whose rows a student learned from."""
    aimed = "that a teacher wrote, each round of them aimed at what the small model still got wrong"
    own = facts.row["gold_rows"]
    gold = f"; and {number(own)} rows of the task's own labelled examples (steering gold)" if own else ""
    if not facts.brought:
        return f"{number(facts.written)} rows {aimed}{gold}"
    brought = f"{number(facts.brought)} rows that the task brought"
    if not facts.written:
        return f"{brought}; a teacher wrote none of them{gold}"
    return f"{brought} and {number(facts.written)} rows {aimed}{gold}"


def learned_gold(facts: ExportFacts) -> str:
    """Which gold a student was trained on, and what that means for the figures."""
    if not facts.row["gold_rows"]:
        return "none of them"
    held_out = "; held-out figures are of students that were not" if facts.held_out_by_folds else ""
    return f"{number(facts.row['gold_rows'])} of them, none of test gold{held_out}"


def title(rows: SyntheticRows) -> str:
    """What the rows are, in a few words."""
    brought, written = "brought by the task", "written by a model"
    if not rows.brought:
        return f"rows {written}"
    return f"rows {brought} and rows {written}" if rows.written else f"rows {brought}"


def origin(task: Task, rows: SyntheticRows) -> str:
    """Where the rows come from."""
    extrapolated = "rows extrapolated from what a small model got wrong on gold in the rounds before"
    if not rows.brought:
        return f"a seed set, and {extrapolated}. Written by {teacher(task)}."
    brought = f"a seed set of {number(rows.brought)} rows that the task brought"
    if not rows.written:
        return f"{brought}. A teacher wrote none of them."
    return f"{brought}, and {extrapolated}, written by {teacher(task)}."


def warning(task: Task) -> str | None:
    """What must be said first where the teacher is no LLM; None where it is one."""
    if task.spec.teacher.backend == "embedded":
        return EMBEDDED
    if (task.spec.teacher.name or "").startswith(SIMULATED):
        return "Teacher: simulated, real rows served as a teacher's answers. Not an LLM result."
    return None


def scores(facts: ExportFacts) -> list[dict[str, Any]]:
    """A row for each kind of gold that judged the round: name, rows, share, interval and F1 as text."""
    figures = facts.figures
    given = (("test", figures.test, figures.test_f1), ("held-out", figures.select, figures.select_f1))
    found = []
    for name, score, f1 in given:
        if score is not None:
            low, high = score.interval()
            interval = f"{percent(low)} to {percent(high)}"
            found.append(
                {
                    "name": name,
                    "rows": score.rows,
                    "share": percent(score.share),
                    "interval": interval,
                    "f1": percent(f1),
                }
            )
    return found


def held_out_decides(facts: ExportFacts, frozen: bool) -> str:
    """What held-out gold decides beside the end of the loop."""
    if facts.figures.select is None:
        return ""
    if facts.held_out_by_folds:
        without = "it and the rows" if facts.row["gold_rows"] else "the rows"
        return (
            " and which round is taken; here it is steering gold, each row judged by a student that was trained "
            f"without {without} written from it"
        )
    return f", which round is taken, and which {'strength of the penalty' if frozen else 'epoch'} of a round is kept"


def made(facts: ExportFacts) -> list[tuple[str, str]]:
    """Who asked whom for what, as names and values."""
    spec, asked = facts.task.spec, facts.asked
    verified = [] if spec.verifying.by == "nobody" else [("second opinion on labels", spec.verifying.by)]
    cost = []
    if asked is not None:
        tokens = asked.prompt_tokens + asked.completion_tokens
        words = f"{number(asked.rows_requested)} rows asked for, {number(asked.calls)} calls, {number(tokens)} tokens"
        cost = [("teacher's work", words if asked.cost == 0 else f"{words}, US dollars: {dollars(asked.cost)}")]
    return [
        ("teacher", teacher(facts.task)),
        *cost,
        *verified,
        ("strategy", f"{spec.strategy}: {spec.how.summary}" if spec.how.summary else spec.strategy),
        ("rounds", f"{len(facts.rounds)}, this is round {facts.chosen.round}"),
        ("rows of gold", rows_of_gold(facts.gold)),
        ("seed", str(spec.seed)),
    ]


def trained(facts: ExportFacts, found: Agreement | None) -> list[tuple[str, str]]:
    """What the student is, as names and values."""
    row = facts.row
    name = facts.base_model(found)
    base = f"`{name}`" if name else "a checkpoint in a local folder"
    how = f"epoch {row['best_epoch']} of {row['epochs']} kept"
    if found is not None:
        tried = f"strength {row['best_epoch']} of {row['epochs']} kept"
        how = f"kept as it is, with a logistic regression on its vectors; {tried}"
    elif facts.contrastive:
        how = f"trained by comparing rows, with a logistic regression on its vectors; {how}"
    seconds = "" if row["train_seconds"] is None else f", {row['train_seconds']:.0f} s on {row['device']}"
    # None in parts of before students were calibrated, 1 where one was not.
    divided = row.get("temperature") or 1.0
    return [
        ("student", f"{base}, {how}{seconds}"),
        *([] if divided == 1 else [("calibration", f"logits divided by {divided:.2f}, in the weights")]),
    ]


def lineage(facts: ExportFacts) -> list[tuple[str, str]]:
    """Identities by which the student can be found again."""
    row = facts.row
    return [
        ("model", row["model_id"]),
        ("rows trained on (content hash)", row["training_fingerprint"]),
        ("everything it follows from (input fingerprint)", facts.input_fingerprint),
        ("the student's weights (SHA-256)", row["weights_digest"]),
        ("s3_assets", importlib.metadata.version("s3-assets")),
    ]


def model_limits(facts: ExportFacts, found: Agreement | None) -> list[str]:
    """What a model cannot do, and what is not known of it."""
    test, qa, said = facts.figures.test, facts.task.spec.kind == "qa", []
    if facts.written:
        said.append(
            "It learned from rows that a teacher wrote, and may have learned the teacher's errors and habits with them."
        )
    if test is None:
        said.append("There is no test gold: how well it does on rows that decided nothing is not known.")
    else:
        low, high = test.interval()
        said.append(
            f"Test gold are {number(test.rows)} rows; the interval is {percent(high - low)} points wide, and gold of "
            "another origin may give another figure."
        )
    headline = [one for one in facts.drift.to_dicts() if one["metric"] == HEADLINE_DRIFT]
    for one in headline:
        floor = "" if one["floor"] is None else f"; sampling alone explains {measured(one['floor'])}"
        said.append(
            "The words of its rows are this far from those of steering gold: "
            f"{HEADLINE_DRIFT} {measured(one['value'])}{floor}."
        )
    if qa:
        said.append("It answers every question with a span of the context, also where the context does not answer it.")
    else:
        said.append("It gives one of its labels to every text, also to one that none of them fits.")
    if found is not None or facts.contrastive:
        compared = ""
        if found is not None:
            compared = (
                f" Asked about {number(found.texts)} texts of gold, it predicts what the student predicts for "
                f"{number(found.same)}; probabilities differ by {found.largest:.1g} at most."
            )
        said.append(
            "The student is a regression on the mean of its encoder's vectors. Here it is a classifier of transformers "
            f"with one layer more, which computes that mean.{compared} The layer's weights are made, not trained: "
            "train from the checkpoint instead, and do not quantize them to integers."
        )
    return said


def dataset_limits(facts: ExportFacts, rows: SyntheticRows) -> list[str]:
    """What is wrong with the rows, and whose texts are among them."""
    spec = facts.task.spec
    what = "an answer" if spec.kind == "qa" else "a label"
    whose = "the rows that the teacher wrote" if rows.brought and rows.written else "the rows"
    said = [
        f"Nobody checked {whose} one by one: some may have {what} that is wrong, or be unlike what people write.",
        "No row of gold is in it, neither test gold nor any other"
        + (f"; {number(rows.left_out)} rows that repeat one were left out." if rows.left_out else "."),
    ]
    if (kept := keeps_texts_of(facts.task)) is not None:
        first = "contexts" if spec.kind == "qa" else "first texts"
        said.append(
            f"**The {first} are not the teacher's: they are those of {kept}, word for word.** Whoever has these rows "
            "has those texts; think of their licence, and of what they tell."
        )
    if rows.brought:
        said.append(
            f"{number(rows.brought)} rows were brought by the task itself (origin user), not written by the teacher; "
            "who wrote and labelled them is not known here."
        )
    return said
