"""Trees of ``s3-assets lineage``: the chain of a row, of a gold row, of a request, of a student.

Belongs here: what each kind of id shows, as lines of a tree. Does not belong here: finding the id (``lineage.py``).
"""

import re
import sys
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

if TYPE_CHECKING:
    import duckdb

Row = dict[str, Any]

MOST_ERRORS = 20
# Where nothing is shown on a screen each line stays whole, for grep.
_UNBOUNDED = 1_000_000_000
_BREAKS = re.compile(r"[\t-\r\x85\u2028\u2029]+")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_BY_TASK = "brought by the task itself"
# Given to lineage_of, so that files of other loops are not opened.
IN_LOOP = "in_task := $task, in_arm := $arm, in_seed := $seed"
_IN_LOOP = "task = $task AND arm = $arm AND seed = $seed"


def print_trees(con: "duckdb.DuckDBPyConnection", kind: str, found: str, task: str | None) -> None:
    """One tree for each arm and seed that has the id."""
    asker = Asker(con, found)
    loops = asker.loops(kind, task)
    width = None if sys.stdout.isatty() else _UNBOUNDED
    console = Console(file=sys.stdout, highlight=False, width=width)
    for loop in loops:
        tree = Tree(_plain(f"{loop['task']}, arm {loop['arm']}, seed {loop['seed']}", "bold"))
        {"row": _row, "rejected": _refused, "gold": _gold, "request": _request, "model": _model}[kind](
            asker, tree, loop
        )
        console.print(tree)
    if not loops:
        for row in asker.ask("SELECT * FROM gold WHERE gold_id = $id AND coalesce(task = $task, true)", {"task": task}):
            console.print(_plain(f"{row['task']}: gold {found} ({row['split']}), {row['label']}: {_texts(row)}"))
            console.print("no student was asked about it yet")


class Asker:
    """Queries about one id, their rows as dictionaries."""

    def __init__(self, con: "duckdb.DuckDBPyConnection", found: str) -> None:
        self._con, self.id = con, found

    def ask(self, query: str, given: Row) -> list[Row]:
        """Rows of ``query``, in which $id, $task, $arm and $seed stand for what is asked about."""
        named = {name: value for name, value in {**given, "id": self.id}.items() if f"${name}" in query}
        rows = self._con.execute(query, named)
        names = [column[0] for column in rows.description or []]
        return [dict(zip(names, row, strict=True)) for row in rows.fetchall()]

    def loops(self, kind: str, task: str | None) -> list[Row]:
        """Task, arm and seed of each loop that has the id."""
        places = {
            "row": ("seed_set WHERE example_id = $id", "extrapolated_set WHERE example_id = $id"),
            "rejected": ("rejected WHERE row_id = $id",),
            "gold": ("predictions WHERE gold_id = $id", "teacher_uses WHERE gold_id = $id"),
            "request": ("teacher_uses WHERE request_id = $id",),
            "model": ("trained_model WHERE model_id = $id",),
        }[kind]
        each = " UNION ".join(f"SELECT task, arm, seed FROM {place}" for place in places)
        return self.ask(f"SELECT * FROM ({each}) WHERE coalesce(task = $task, true) ORDER BY ALL", {"task": task})


def _row(asker: Asker, tree: Tree, loop: Row) -> None:
    rows = asker.ask(f"SELECT * FROM lineage WHERE example_id = $id AND {_IN_LOOP} ORDER BY round", loop)
    if not rows:
        _steps(asker, tree, loop)
        return
    relabelled = asker.ask(
        "SELECT DISTINCT round, effect_id FROM lineage_edges WHERE cause_id = $id AND relation = 'relabelled' "
        f"AND effect_kind = 'row' AND {_IN_LOOP} ORDER BY ALL",
        loop,
    )
    # A text that was excluded and written again has a chain for each time.
    for row, later in zip_longest(rows, rows[1:]):
        became = [
            one["effect_id"]
            for one in relabelled
            if row["round"] <= one["round"] and (later is None or one["round"] < later["round"])
        ]
        _chain(asker, tree, loop, row, became)


def _chain(asker: Asker, at: Tree, loop: Row, row: Row, became: list[str]) -> None:
    if row["gold_id"] is not None:
        gold = {"text": row["gold_text"], "text2": row["gold_text2"]}
        at = _add(at, f"gold {row['gold_id']}, {row['gold_label']}: {_texts(gold)}")
    if row["error_round"] is not None:
        at = _add(
            at,
            f"missed by {row['wrong_model_id']} of round {row['error_round']}, which said {row['wrong_prediction']} "
            f"(p={_number(row['wrong_probability'])})",
        )
    at = _add(at, _BY_TASK if row["request_id"] is None else _asked(asker, row, loop))
    at = _add(at, f"row {row['example_id']}, {row['label']}: {_texts(row)}")
    _judged(at, row)
    for one in became:
        _add(at, f"relabelled, now {one}")
    sets = ", ".join(str(round_) for round_ in row["seed_sets"])
    at = _add(at, f"in the seed sets of rounds {sets}; students {', '.join(row['models'] or ()) or 'not trained yet'}")
    if row["gold_id"] is not None:
        _add(at, f"its gold row is right by the first of them: {_yes(row['gold_right_after'])}")
        _add(at, f"and by the newest student of the arm: {_yes(row['gold_right_now'])}")


def _judged(at: Tree, row: Row) -> None:
    """Gates, second opinion and review of a row."""
    gates = f"passed the gates, repairs: {row['repairs'] or 'none'}"
    if row["refused_beside"]:
        gates += f"; {row['refused_beside']} other rows of the request were refused"
    _add(at, gates)
    if row["verdict"] is not None:
        _add(at, f"second opinion: {row['verdict']}, confidence {_number(row['confidence'])}")
    if row["review"] is not None:
        _add(at, f"review: {row['review']}" + (f" ({row['review_why']})" if row["review_why"] else ""))


def _asked(asker: Asker, row: Row, loop: Row) -> str:
    (spent,) = asker.ask(
        "SELECT sum(prompt_tokens + completion_tokens) AS tokens, "
        "CASE WHEN bool_and(cost IS NOT NULL OR response IS NULL) THEN sum(cost) END AS cost "
        "FROM teacher_calls WHERE request_id = $request",
        {**loop, "request": row["request_id"]},
    )
    paid = "from the ledger" if row["from_ledger"] else "paid by this arm"
    when = "" if row["asked_at"] is None else f", {row['asked_at']:%Y-%m-%d %H:%M:%S} UTC"
    return (
        f"request {row['request_id']}: {row['teacher_model']}{when}, {spent['tokens'] or 0} tokens, "
        f"{_dollars(spent['cost'])}, {paid}"
    )


def _refused(asker: Asker, tree: Tree, loop: Row) -> None:
    for row in asker.ask(f"SELECT * FROM rejected WHERE row_id = $id AND {_IN_LOOP} ORDER BY round", loop):
        at = tree
        if row["gold_id"] is not None:
            at = _add(at, f"gold {row['gold_id']}")
        by = _BY_TASK if row["request_id"] is None else f"request {row['request_id']}"
        at = _add(at, f"{by} in round {row['round']}")
        at = _add(at, f"refused {_named(row['row_id'], row)}")
        _add(at, f"by gate {row['gate']}: {row['reason']}")


def _gold(asker: Asker, tree: Tree, loop: Row) -> None:
    fate = asker.ask(f"SELECT * FROM error_fate WHERE gold_id = $id AND {_IN_LOOP}", loop)
    texts = asker.ask("SELECT * FROM gold WHERE gold_id = $id AND task = $task", loop)
    says = {
        row["round"]: row for row in asker.ask(f"SELECT * FROM predictions WHERE gold_id = $id AND {_IN_LOOP}", loop)
    }
    for row in texts:
        said = f"; {fate[0]['fate'].replace('_', ' ')}" if fate else ""
        # The strategy may have gold steer that the table has for selecting: predictions have its use.
        used = next(iter(says.values()), row)["split"]
        tree = _add(tree, f"gold {row['gold_id']} ({used}), {row['label']}: {_texts(row)}{said}")
    made = asker.ask(
        "SELECT round, 'accepted' AS gate, example_id AS id, label, text, text2, NULL AS reason FROM extrapolated_set "
        f"WHERE gold_id = $id AND {_IN_LOOP} UNION ALL "
        "SELECT round, gate, row_id, label, coalesce(text, raw), text2, reason FROM rejected "
        f"WHERE gold_id = $id AND {_IN_LOOP} ORDER BY round, gate <> 'accepted', gate, id",
        loop,
    )
    for round_ in sorted({*says, *(row["round"] for row in made)}):
        one = says.get(round_)
        said = "no student asked" if one is None else f"says {one['prediction']} (p={_number(one['probability'])}), "
        said += "" if one is None else ("right" if one["correct"] else "wrong")
        at = _add(tree, f"round {round_}: {said}")
        for row in (row for row in made if row["round"] == round_):
            _add(at, _outcome(row))


def _request(asker: Asker, tree: Tree, loop: Row) -> None:
    uses = asker.ask(f"SELECT * FROM request_spend WHERE request_id = $id AND {_IN_LOOP}", loop)
    for use in uses:
        paid = f"{use['prompt_tokens'] + use['completion_tokens']} tokens, {_dollars(use['cost'])}"
        what = f"{use['rows_requested']} examples" if use["kind"] == "examples" else use["kind"]
        of = "" if use["gold_id"] is None else f" for gold {use['gold_id']}"
        at = _add(
            tree,
            f"request {asker.id}: {what}{of}, {use['asset']} of round {use['round']}, {use['model']}, "
            + (paid if use["paid"] else "from the ledger"),
        )
        for call in asker.ask("SELECT * FROM teacher_calls WHERE request_id = $id ORDER BY attempt", {}):
            _add(at, f"attempt {call['attempt']}, {call['outcome']}: {call['response'] or call['cause'] or ''}")
        made = asker.ask(
            "SELECT 'accepted' AS gate, example_id AS id, label, text, text2, NULL AS reason FROM extrapolated_set "
            f"WHERE request_id = $id AND {_IN_LOOP} UNION "
            "SELECT 'accepted', example_id, label, text, text2, NULL FROM seed_set "
            f"WHERE request_id = $id AND {_IN_LOOP} "
            "UNION ALL SELECT gate, row_id, label, coalesce(text, raw), text2, reason FROM rejected "
            f"WHERE request_id = $id AND {_IN_LOOP} ORDER BY gate <> 'accepted', gate, id",
            loop,
        )
        for row in made:
            _add(at, _outcome(row))


def _model(asker: Asker, tree: Tree, loop: Row) -> None:
    (model,) = asker.ask(f"SELECT * FROM trained_model WHERE model_id = $id AND {_IN_LOOP}", loop)
    within = {**loop, "round": model["round"]}
    at = _add(tree, f"student {model['model_id']} of round {model['round']}, from {model['weights']}")
    trained = _add(at, f"trained on {model['training_rows']} rows")
    rows = asker.ask(
        f"SELECT origin, first_round, count(*) AS rows FROM seed_set WHERE {_IN_LOOP} AND round = $round "
        "GROUP BY ALL ORDER BY first_round, origin",
        within,
    )
    for row in rows:
        _add(trained, f"{row['rows']} {row['origin']}, first in round {row['first_round']}")
    if model["gold_rows"]:
        _add(trained, f"{model['gold_rows']} of gold")
    errors = asker.ask(
        "SELECT p.*, g.text, g.text2 FROM predictions p LEFT JOIN gold g USING (task, gold_id) "
        f"WHERE model_id = $id AND NOT correct AND p.split <> 'test' AND {_IN_LOOP} "
        "ORDER BY p.split <> 'steer', p.split, loss DESC, gold_id",
        loop,
    )
    # Whoever reads texts of test gold and mends the task by them has no test any more.
    (test,) = asker.ask(
        "SELECT count(*) AS rows FROM predictions "
        f"WHERE model_id = $id AND NOT correct AND split = 'test' AND {_IN_LOOP}",
        loop,
    )
    _add(at, f"wrong on {test['rows']} rows of test gold")
    wrong = _add(at, f"wrong on {len(errors)} rows of other gold")
    for row in errors[:MOST_ERRORS]:
        _add(
            wrong,
            f"{row['gold_id']} ({row['split']}), {row['label']}, says {row['prediction']} "
            f"(p={_number(row['probability'])}): {_texts(row)}",
        )
    if len(errors) > MOST_ERRORS:
        _add(wrong, f"... and {len(errors) - MOST_ERRORS} more: s3-assets sql, view predictions")


def _steps(asker: Asker, tree: Tree, loop: Row) -> None:
    """Every step as it is: of a row in no seed set yet, or under an id that a person's relabelling gave it."""
    found = asker.ask(f"FROM lineage_of($id, {IN_LOOP})", loop)
    back = sorted((step for step in found if step["direction"] == "back"), key=lambda step: -step["depth"])
    ahead = [step for step in found if step["direction"] != "back"]
    for step in (*back, *sorted(ahead, key=lambda step: step["depth"])):
        tree = _add(tree, f"{step['kind']} {step['id']}: {step['what']}")


def _outcome(row: Row) -> str:
    told = _named(row["id"], row)
    return f"accepted {told}" if row["gate"] == "accepted" else f"refused by {row['gate']}, {row['reason']}: {told}"


def _named(id_: str | None, row: Row) -> str:
    """Id, label and texts of a row, without those it lacks: what is no row has neither id nor label."""
    known = ", ".join(part for part in (id_, row["label"]) if part is not None)
    return f"{known}: {_texts(row)}" if known else _texts(row)


def _add(at: Tree, line: str) -> Tree:
    return at.add(_plain(line))


def _plain(line: str, style: str = "") -> Text:
    """One line as it is, brackets no markup; what would steer a terminal is shown as U+FFFD."""
    return Text(_CONTROLS.sub("\N{REPLACEMENT CHARACTER}", _BREAKS.sub(" ", line)), style)


def _texts(row: Row) -> str:
    return " | ".join(row[name] for name in ("text", "text2") if row[name] is not None)


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:.2f}"


def _dollars(cost: float | None) -> str:
    return "cost not known" if cost is None else f"${cost:.6f}".rstrip("0").rstrip(".")


def _yes(value: bool | None) -> str:
    return "not known" if value is None else "yes" if value else "no"
