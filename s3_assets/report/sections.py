"""The sections of the report: their sentences, pictures and tables.

Belongs here: what is said of the figures. Does not belong here: the sections on drift
(``drift_sections.py``), reading figures (``facts.py``, ``map.py``), drawing, the page around them (``page.py``).
"""

import polars as pl

from s3_assets.report.blocks import NOTHING, Block, DataTable, Picture, dollars, number, percent
from s3_assets.report.drawing import svg
from s3_assets.report.facts import Facts, RoundFacts
from s3_assets.report.map import MOST_POINTS, Map
from s3_assets.report.map_picture import map_svg
from s3_assets.report.pictures import (
    SPLIT_NAMES,
    accuracy_figure,
    cost_figure,
    f1_of,
    funnel_figure,
    score_of,
    totals,
)
from s3_assets.tasks.load import Task

# Rows of earlier rounds may be among them, so this is no piece of a bar.
EXCLUDED_COLUMN = "excluded by review"


def measure_of(facts: Facts) -> str:
    """Name of the score that is drawn."""
    return "exact match" if facts.task.spec.kind == "qa" else "accuracy"


def accuracy(facts: Facts) -> Block:
    """Score and errors of every round."""
    measure = measure_of(facts)
    says = (
        f"{measure.capitalize()} of each round's student. Steering gold is what the teacher writes from, "
        f"{_used(facts.task)}; {_held_out(facts)}test gold is reported and feeds nothing. Lines are 95% Wilson "
        "intervals over gold rows, of one training seed: another seed moves the figures as well."
    )
    heading = f"{measure.capitalize()} by round"
    figure = accuracy_figure(facts.rounds, measure, facts.splits)
    if figure is None:
        return Block("accuracy", heading, says, left_out="No round has a student yet.")
    notes = [f"There is no {SPLIT_NAMES[split]}." for split in facts.splits if not facts.gold[split]]
    if facts.task.spec.kind == "qa":
        notes.append("Marks without a fill are the mean F1 of answers, which has no interval here.")
    picture = Picture(svg(figure, "accuracy-picture", heading, _spoken(facts)))
    return Block("accuracy", heading, says, [picture], [_scores_table(facts)], notes)


def map_block(facts: Facts, found: Map | str) -> Block:
    """The map, or why there is none."""
    says = (
        "Steering gold and the rows that each round added, by what their texts mean to the encoder that drift goes by. "
        "Gold that does not steer is not on it."
    )
    if isinstance(found, str):
        return Block("map", "Map of texts", says, left_out=found)
    gold = [point for point in found.points if point.round is None]
    errors = sum(point.error for point in gold)
    wrong = "" if found.last_round is None else f", of which {errors} are errors of round {found.last_round},"
    description = (
        f"{len(gold)} rows of steering gold{wrong} and "
        f"{len(found.points) - len(gold)} rows that rounds added, as points."
    )
    of_rows = f"{len(found.points):,} of {found.rows:,} rows are shown, the same share of gold and of every round. "
    notes = [
        (of_rows if found.rows > MOST_POINTS else "")
        + "The axes are the first two principal components of 384-dimensional vectors and hold "
        f"{found.explained:.0%} of their variance: points far apart are different, points close together may be "
        "different too. Distances here are a hint, drift above is measured on whole vectors."
    ]
    picture = Picture(map_svg(found, "Map of texts", description))
    counted = pl.DataFrame({"round": [point.round for point in found.points], "label": [p.label for p in found.points]})
    labels = list(facts.task.spec.labels) if facts.task.spec.kind != "qa" else []
    rounds = sorted({point.round for point in found.points if point.round is not None})
    rows = []
    for name, mine in (("steering gold", None), *((f"added by round {round_}", round_) for round_ in rounds)):
        of_group = counted.filter(pl.col("round").eq_missing(pl.lit(mine, pl.Int64)))
        per_label = [number(of_group.filter(pl.col("label") == label).height) for label in labels]
        rows.append([name, number(of_group.height), *per_label])
    table = DataTable("Points on the map", ("rows", "all", *labels), rows)
    return Block("map", "Map of texts", says, [picture], [table], notes)


def funnel(facts: Facts) -> Block:
    """Rows asked for, refused and accepted."""
    source = "the errors of the round before" if _by_errors(facts.task) else "rows of steering gold"
    says = (
        "What became of the rows asked for. The rows of round 0 are the seed; those of a later round were written from "
        f"{source}. The line is the number asked for. What is missing to it did not come, or was left out of the seed "
        "set after the gates, as rows are that a person's review excludes."
    )
    gates = sorted({gate for one in facts.rounds for gate in one.rejections.gates})
    faults = sorted({fault for one in facts.rounds for fault in one.rejections.faults})
    columns = ("round", "asked for", "refused or accepted", *(f"refused: {gate}" for gate in gates), "accepted")
    reviewed = any(one.excluded for one in facts.rounds)
    if reviewed:
        columns = (*columns, EXCLUDED_COLUMN)
    rows = [
        [
            str(one.round),
            number(one.rows_requested),
            number(one.accepted + one.refused),
            *(number(one.rejections.gates.get(gate, 0)) for gate in gates),
            number(one.accepted),
            *([number(one.excluded)] if reviewed else []),
            *(number(one.rejections.faults.get(fault, 0)) for fault in faults),
        ]
        for one in facts.rounds
    ]
    spoken = "; ".join(
        f"round {row[0]}: {one.accepted} accepted of {row[1]} asked for"
        for row, one in zip(rows, facts.rounds, strict=True)
    )
    picture = Picture(svg(funnel_figure(facts.rounds), "funnel-picture", "Rows asked for and accepted", spoken))
    table = DataTable(
        "Rows by round" + ("; of answers that could not be used, the number" if faults else ""),
        (*columns, *(f"answers: {fault}" for fault in faults)),
        rows,
    )
    return Block("funnel", "Rows asked for and accepted", says, [picture], [table])


def cost(facts: Facts) -> Block:
    """Calls, tokens and dollars, and what they bought."""
    costs = [one.cost for one in facts.rounds]
    priced = None not in costs and any(costs)
    split = "test" if any(one.figures.test for one in facts.rounds) else "select"
    says = (
        "What the teacher was asked for, and the score it bought. The teacher budget counts rows and label questions, "
        "whether paid for or answered from the ledger."
    )
    notes = []
    silent = [str(one.round) for one in facts.rounds if one.asked is None]
    if silent:
        notes.append(
            f"What was asked for round {', '.join(silent)} and what it cost is not known: no part says when asking "
            "began."
        )
    if any(one.asked is not None and one.cost is None for one in facts.rounds):
        notes.append("Dollars are not known: some calls have no price. Declare teacher.price in the task's YAML.")
    elif not silent and not priced:
        notes.append("No call cost anything, so points are given for the rows asked for.")
    figure = cost_figure(facts.rounds, measure_of(facts), dollars=priced)
    heading = "Cost"
    columns = ["round", "rows", "label questions", "calls", "tokens", "dollars", f"{SPLIT_NAMES[split]} %"]
    columns += ["points gained", "dollars a point" if priced else "points per 100 asked"]
    table = DataTable(
        "Cost by round, and points gained over the round before", columns, _cost_rows(facts, split, priced)
    )
    if figure is None:
        return Block("cost", heading, says, [], [table], notes)
    words = "Score by dollars spent so far" if priced else "Score by rows and label questions asked so far"
    spent = totals([one.cost if priced else one.budget for one in facts.rounds]) or []
    scores = [score_of(one.figures, split) for one in facts.rounds]
    spoken = "; ".join(
        f"round {one.round}: {percent(score.share if score else None)} percent after {took:,.4g}"
        for one, score, took in zip(facts.rounds, scores, spent, strict=True)
    )
    return Block("cost", heading, says, [Picture(svg(figure, "cost-picture", words, spoken))], [table], notes)


def _by_errors(task: Task) -> bool:
    """Whether rows are written from errors alone."""
    how = task.spec.how
    return how.extrapolates == "errors" and how.by != "doubt" and not how.explore


def _used(task: Task) -> str:
    how = task.spec.how
    if how.extrapolates != "errors":
        return "any of it"
    rows = "rows as the student doubts their labels" if how.by == "doubt" else "the rows that the student gets wrong"
    return f"{rows}, and any of it" if how.explore else rows


def _held_out(facts: Facts) -> str:
    """What judges the rounds, in words."""
    if facts.gold["select"]:
        return "held-out gold, which selects, chooses the epoch and stops the loop; "
    how = facts.task.spec.how
    if how.cross_fit:
        without = (
            "what they judge and the rows written from it" if how.gold == "crossed" else "the rows written from it"
        )
        return f"it is judged by students of folds, trained without {without}, and so held out it stops the loop; "
    return "no gold is held out from it; "


def _cost_rows(facts: Facts, split: str, priced: bool) -> list[list[str]]:
    rows: list[list[str]] = []
    before: float | None = None
    for one in facts.rounds:
        score, took = score_of(one.figures, split), one.asked
        share = None if score is None else score.share
        gain = None if share is None or before is None else 100 * (share - before)
        rows.append(
            [
                str(one.round),
                number(one.rows_requested),
                number(None if took is None else took.label_questions),
                number(None if took is None else took.calls),
                number(None if took is None else took.prompt_tokens + took.completion_tokens),
                NOTHING if took is None else dollars(one.cost),
                percent(share),
                NOTHING if gain is None else f"{gain:+.1f}",
                _price(one, gain, priced),
            ]
        )
        before = share
    return rows


def _price(one: RoundFacts, gain: float | None, priced: bool) -> str:
    if gain is None or one.asked is None:
        return NOTHING
    if not priced:
        return f"{100 * gain / one.budget:+.2f}" if one.budget else NOTHING
    # A point lost has no price.
    return dollars(one.cost / gain) if gain > 0 and one.cost is not None else "no gain"


def _scores_table(facts: Facts) -> DataTable:
    columns = ["round", "errors"]
    answered = facts.task.spec.kind == "qa"
    for split in facts.splits:
        name = SPLIT_NAMES[split]
        if facts.gold[split]:
            columns += [f"{name}, right", f"{name}, %", f"{name}, 95%", *([f"{name}, F1 %"] if answered else [])]
    rows = []
    for one in facts.rounds:
        cells = [str(one.round), number(one.figures.errors)]
        for split in facts.splits:
            if facts.gold[split]:
                score = score_of(one.figures, split)
                low, high = score.interval() if score else (None, None)
                cells += [
                    f"{score.right} of {score.rows}" if score else NOTHING,
                    percent(score.share if score else None),
                    f"{percent(low)} to {percent(high)}" if score else NOTHING,
                    *([percent(f1_of(one, split))] if answered else []),
                ]
        rows.append(cells)
    return DataTable("Scores by round; errors are those on steering gold", columns, rows)


def _spoken(facts: Facts) -> str:
    said = []
    for one in facts.rounds:
        scores = [(SPLIT_NAMES[split], score_of(one.figures, split)) for split in facts.splits]
        figures = ", ".join(f"{name} {percent(score.share)} percent" for name, score in scores if score)
        said.append(f"round {one.round}: {figures or 'no student'}")
    return "; ".join(said)
