"""What tests of verified labels share: gold and rows whose texts name their labels, scripted votes, students' opinions.

Belongs here: helpers of the modules ``test_verify*.py``. Does not belong here: tests.
"""

import json
from collections import Counter

import polars as pl

from s3_assets.generation.filling import Written
from s3_assets.generation.verify import verifier
from s3_assets.quality.ensemble import Opinion
from s3_assets.store.identity import example_id
from s3_assets.store.parts import RoundKey, Warehouse
from s3_assets.store.tables import table
from s3_assets.teacher.session import teacher_session
from s3_assets_tests.fakes import facts, scripted_teacher, write_task

KEY = RoundKey("small", "s3_shown", 0, 0)
LABELS = ("positive", "negative")
POISON = "poison"


def gold_rows(select=30, steer=4, test=4):
    """Gold whose text names its label; test gold must not be looked at."""
    splits = ["select"] * select + ["steer"] * steer + ["test"] * test
    rows = [
        {
            "gold_id": f"g_{n}",
            "split": split,
            "text": POISON if split == "test" else f"{LABELS[n % 2]} gold {n}",
            "text2": None,
            "label": POISON if split == "test" else LABELS[n % 2],
        }
        for n, split in enumerate(splits)
    ]
    return pl.DataFrame(rows, schema=dict.fromkeys(("gold_id", "split", "text", "text2", "label"), pl.String))


def row(text, label, **more):
    """A row as it passed the gates, written from gold row g_0."""
    return {
        "example_id": example_id(text, None, label),
        "text": text,
        "text2": None,
        "label": label,
        "sublabel": None,
        "answer": None,
        "answer_start": None,
        "gold_id": "g_0",
        "request_id": "r_0",
        "item": 0,
        "repairs": None,
        "confidence": None,
        **more,
    }


def said(**answers):
    """A script that gives a text's first word as its label; ``answers`` are its votes on texts that hold a word."""
    asked = Counter()

    def script(body, number):
        text = facts(body)["example"]["text"]
        votes = next((votes for word, votes in answers.items() if word in text), [text.split()[0]])
        vote = votes[min(asked[text], len(votes) - 1)]
        asked[text] += 1
        return 200, "no JSON" if vote is None else json.dumps({"label": vote})

    return script


class Students:
    """Give what ``of`` says of a text, else that the row is right; keeps what it was asked."""

    def __init__(self, gold, of=()):
        self._gold, self._of, self.asked = gold.filter(pl.col("split") == "select"), dict(of), []

    def __call__(self, earlier, rows):
        self.asked.append(([one["text"] for one in earlier], [one["text"] for one in rows]))
        return [self._opinion(one) for one in rows], [self._opinion(one) for one in self._gold.to_dicts()]

    def _opinion(self, one):
        return self._of.get(one["text"], Opinion(0.9, one["label"], 0.9))


def verify(tmp_path, script, *calls, gold=None, students=None, known=None, attempts=1, **spec):
    """Rows kept by call, what was written, and the label questions the teacher got."""
    gold = gold_rows() if gold is None else gold
    with scripted_teacher(script) as teacher:
        wanted = {"by": "teacher", **spec}
        task = write_task(tmp_path, teacher={"base_url": teacher.url, "attempts": attempts}, verify=wanted)
        with teacher_session(task, Warehouse(tmp_path / "warehouse"), KEY, "seed_set") as session:
            judge = None if wanted["by"] == "students" else session
            do = verifier(task, judge, gold, None, written := Written(), known, students)
            kept = [do(rows) for rows in calls]
    return kept, written, teacher.bodies


def as_stored(verdicts):
    columns = {name: dtype for name, dtype in table("verdicts").schema.items() if name in verdicts[0]}
    return pl.DataFrame(verdicts, schema=columns)


def synthetic(written):
    return [verdict for verdict in written.verdicts if verdict["kind"] == "synthetic"]
