"""A small warehouse told by hand: three rounds of film reviews, for recipes whose results stand in the docs.

Belongs here: its rows. Everything is fixed, ids too, so that queries give the same everywhere. Does not belong here:
queries and what they should give (``docs/sql.md``, ``test_recipes.py``).
"""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from s3_assets.drift.vectors import ENCODER
from s3_assets.store.drift_tables import DIMENSIONS
from s3_assets.store.identity import example_id, gold_id, text_id
from s3_assets.store.parts import RoundKey, Warehouse
from s3_assets.store.tables import table

KEY = RoundKey("film_reviews", "default", 0, 0)
BEGAN = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
POSITIVE, NEGATIVE = "positive", "negative"
MODELS = ("m_0a", "m_1b", "m_2c")
TEACHER = {"teacher_id": "api.example/v1", "model": "gpt-example"}

# Text, label, use, and whether the students of rounds 0, 1 and 2 get it right.
GOLD = (
    ("Not one dull minute, and I had expected many.", POSITIVE, "steer", (False, False, True)),
    ("I wanted to love it.", NEGATIVE, "steer", (False, False, False)),
    ("Hardly a joke falls flat.", POSITIVE, "steer", (False, True, True)),
    ("The trailer was better.", NEGATIVE, "steer", (True, False, True)),
    ("A lovely cast with nothing to do.", NEGATIVE, "steer", (False, True, False)),
    ("Warm, funny and over too soon.", POSITIVE, "steer", (True, True, True)),
    ("Two hours of my life that I want back.", NEGATIVE, "steer", (True, True, True)),
    ("It could have been a mess. It is superb.", POSITIVE, "steer", (True, True, False)),
    ("A quiet film that stays with you.", POSITIVE, "select", (True, True, True)),
    ("Loud, long and empty.", NEGATIVE, "select", (False, True, True)),
    ("We laughed all the way home.", POSITIVE, "select", (True, True, False)),
    ("The popcorn had more flavour.", NEGATIVE, "select", (False, False, True)),
    ("I would see it again tomorrow.", POSITIVE, "test", (True, True, True)),
    ("Nobody in it seems awake.", NEGATIVE, "test", (True, True, True)),
    ("No film has any right to be this charming.", POSITIVE, "test", (False, False, True)),
    ("The book deserved a better fate.", NEGATIVE, "test", (False, True, True)),
)

# What was written: round (None for the seed), the gold row it was written from (its place above), label, texts with the
# gate that refused each.
Written = tuple[int | None, int | None, str, tuple[tuple[str, str | None], ...]]
WRITTEN: tuple[Written, ...] = (
    (None, None, POSITIVE, (("A great film with great acting!", None), ("I loved every scene!", None))),
    (None, None, POSITIVE, (("Wonderful music and a happy ending!", None), ("As an AI I cannot watch.", "refusal"))),
    (None, None, NEGATIVE, (("A terrible script and bad acting.", None), ("I was bored from the start.", None))),
    (None, None, NEGATIVE, (("The worst film of the year.", None), ("Bad.", "length"))),
    (0, 0, POSITIVE, (("Not a single weak scene, which surprised me.", None), ("Never boring.", None))),
    (0, 0, POSITIVE, (("Not one dull minute, and I expected many.", "echo"),)),
    (0, 1, NEGATIVE, (("I hoped for so much more.", None), ("I wanted to love it so.", "echo"))),
    (0, 1, NEGATIVE, (("A negative review: I wanted more.", "label_words"),)),
    (0, 2, POSITIVE, (("Barely a line is wasted.", None), ("Scarcely a scene drags.", None))),
    (0, 4, NEGATIVE, (("A fine cast, wasted.", None), ("Good actors and no script.", None))),
    (1, 0, POSITIVE, (("Not a moment too long, to my surprise.", None), ("I never once looked at my watch.", None))),
    (1, 1, NEGATIVE, (("I tried to like it.", None), ("I hoped for so much more!", "near_duplicate"))),
    (1, 3, NEGATIVE, (("The poster was more exciting.", None), ("The reviews were funnier.", None))),
    (1, 3, NEGATIVE, (("It could have been superb. It is a mess.", None),)),
)

# Metric, its values in rounds 0, 1 and 2, floor.
DRIFT = (
    ("vocabulary_js", (0.71, 0.58, 0.52), 0.49),
    ("mmd2", (0.062, 0.031, 0.018), 0.004),
    ("coverage", (0.38, 0.63, 0.75), 0.88),
    ("c2st_auc", (0.94, 0.83, 0.77), 0.52),
)

Rows = list[dict[str, Any]]


def write_example(warehouse: Warehouse) -> None:
    """Fill ``warehouse``."""
    gold = [
        {"gold_id": gold_id(text, None), "split": split, "text": text, "label": label, "source": "gold.csv"}
        | {"source_row": place}
        for place, (text, label, split, _) in enumerate(GOLD, 1)
    ]
    _put(warehouse, "gold", {"task": KEY.task}, gold)
    requests = _requests(gold)
    _put(warehouse, "teacher_calls", {}, [call for call, _ in requests])
    accepted = _accepted(warehouse, requests)
    for round_ in range(3):
        _put_round(warehouse, round_, gold, accepted)
    _put_leaderboard(warehouse)
    _put_vectors(warehouse, [row["text"] for row in gold if row["split"] == "steer"] + [r["text"] for r in accepted])


def _requests(gold: Rows) -> list[tuple[dict[str, Any], Rows]]:
    """Every attempt, and the rows of its answer."""
    found: list[tuple[dict[str, Any], Rows]] = []
    for number, (round_, cause, label, texts) in enumerate(WRITTEN):
        asset = "seed_set" if round_ is None else "extrapolated_set"
        request, source = f"q_{number:02d}", None if cause is None else gold[cause]["gold_id"]
        answer = json.dumps({"examples": [{"text": text} for text, _ in texts]})
        call = KEY.at(round_ or 0).columns() | TEACHER
        call |= {"request_id": request, "sample": 0, "attempt": 0, "kind": "examples", "asset": asset}
        call |= {"request": f"Write {len(texts)} reviews of the label {label}.", "response": answer}
        call |= {"outcome": "answered", "prompt_tokens": 300, "completion_tokens": 20 * len(texts)}
        call |= {"cost": 0.0003 + 0.0001 * len(texts), "asked_at": BEGAN + timedelta(minutes=20 * number)}
        rows: Rows = [
            {"text": text, "label": label, "gold_id": source, "request_id": request, "item": item, "gate": gate}
            for item, (text, gate) in enumerate(texts)
        ]
        found.append((call, rows))
    # One attempt that no answer came to, and one answer that was no JSON: both were asked again.
    lost = {"response": None, "outcome": "failed", "cause": "no answer within 60 s", "prompt_tokens": None}
    lost |= {"completion_tokens": None, "cost": None}
    torn = {"response": "Sure! Here are", "completion_tokens": 4, "cost": 0.0003}
    for place, change in ((6, lost), (11, torn)):
        first, _ = found[place]
        found.append((first | change, []))
        first["attempt"] = 1
        first["asked_at"] += timedelta(minutes=1)
    return found


def _accepted(warehouse: Warehouse, requests: list[tuple[dict[str, Any], Rows]]) -> Rows:
    """Write what became of the answers; the accepted rows, with the round whose seed set first has them."""
    accepted: Rows = []
    for step in (("seed_set", 0), ("extrapolated_set", 0), ("extrapolated_set", 1)):
        asset, round_ = step
        asked = [(call, rows) for call, rows in requests if (call["asset"], call["round"]) == step]
        made, refused, uses = list[dict[str, Any]](), list[dict[str, Any]](), list[dict[str, Any]]()
        for call, rows in asked:
            if not rows:
                if call["response"]:
                    fault = {"stage": "response", "gate": "not_json", "reason": "the answer is no JSON"}
                    refused.append(fault | {"request_id": call["request_id"], "raw": call["response"]})
                continue
            source, count = rows[0]["gold_id"], len(rows)
            uses.append(
                {"asset": asset, "gold_id": source, "request_id": call["request_id"], "kind": "examples"}
                | {"rows_requested": count, "from_ledger": False, "used_at": call["asked_at"]}
            )
            for row in rows:
                own = {name: value for name, value in row.items() if name != "gate"}
                identity = example_id(row["text"], None, row["label"])
                if row["gate"]:
                    reason = {"stage": "row", "gate": row["gate"], "reason": f"refused by {row['gate']}"}
                    refused.append(own | reason | {"row_id": identity, "asset": asset})
                else:
                    made.append(own | {"example_id": identity})
        key = KEY.at(round_).columns()
        _put(warehouse, "teacher_uses", key, uses)
        _put(warehouse, "rejected", {**key, "asset": asset}, refused)
        if asset == "extrapolated_set":
            _put(warehouse, asset, key, [row | {"model_id": MODELS[round_]} for row in made])
            _put(warehouse, "verdicts", {**key, "asset": asset}, [_verdict(row) for row in made])
        first, origin = (0, "seed") if asset == "seed_set" else (round_ + 1, "extrapolated")
        accepted += [row | {"first_round": first, "origin": origin} for row in made]
    return accepted


def _verdict(row: dict[str, Any]) -> dict[str, Any]:
    """Small students doubt one row."""
    agreed = row["text"] != "Never boring."
    return {
        "kind": "synthetic",
        "row_id": row["example_id"],
        "label": row["label"],
        "votes": [],
        "requests": [],
        "students_label": row["label"] if agreed else NEGATIVE,
        "students_probability": 0.9 if agreed else 0.3,
        "confidence": 0.93 if agreed else 0.41,
        "threshold": 0.4,
        "outcome": "kept",
        "request_id": row["request_id"],
        "item": row["item"],
    }


def _put_round(warehouse: Warehouse, round_: int, gold: Rows, accepted: Rows) -> None:
    key, model = KEY.at(round_).columns(), MODELS[round_]
    rows = [row for row in accepted if row["first_round"] <= round_]
    _put(warehouse, "seed_set", key, rows)
    predictions: Rows = []
    for row, (_, label, split, right) in zip(gold, GOLD, strict=True):
        correct = right[round_]
        predicted = label if correct else {POSITIVE: NEGATIVE, NEGATIVE: POSITIVE}[label]
        own = 0.9 if correct else 0.2 + 0.05 * round_
        predictions.append(
            {"model_id": model, "gold_id": row["gold_id"], "split": split, "label": label, "prediction": predicted}
            | {"correct": correct, "probability": own if correct else 1 - own, "label_probability": own}
            | {"loss": round(-float(np.log(own)), 3), "doubt": 1 - own if split == "steer" else None}
        )
    _put(warehouse, "predictions", key, predictions)
    texts = {row["gold_id"]: row["text"] for row in gold}
    names = table("error_set").schema
    errors = [row for row in predictions if row["split"] == "steer" and not row["correct"]]
    kept = [{name: value for name, value in row.items() if name in names} for row in errors]
    _put(warehouse, "error_set", key, [row | {"text": texts[row["gold_id"]]} for row in kept])
    shares = {
        f"{split}_accuracy": float(np.mean([row["correct"] for row in predictions if row["split"] == split]))
        for split in ("steer", "select", "test")
    }
    trained = {"model_id": model, "weights": "minilm", "training_rows": len(rows), "gold_rows": 0, "epochs": 3}
    _put(warehouse, "trained_model", key, [trained | shares | {"train_seconds": 20.0, "device": "cpu/float32"}])
    drift = [
        {"reference": "gold_steer", "label": label, "metric": metric, "value": values[round_] + more, "floor": floor}
        | {"ci_low": values[round_] - 0.02, "ci_high": values[round_] + 0.02, "n_ref": 8, "n_syn": len(rows)}
        for metric, values, floor in DRIFT
        for label, more in ((None, 0), (POSITIVE, 0.01), (NEGATIVE, 0.05))
    ]
    _put(warehouse, "drift", key, drift)
    mark = {"field": "text", "rule": "token", "value": "!", "label": POSITIVE, "rows": 3, "p_value": 0.01}
    shares = {"share": 0.8 - 0.2 * round_, "share_others": 0.0, "tells": 0.8 - 0.2 * round_}
    gold_shares = {"gold_share": 0.0, "gold_share_others": 0.0, "gold_tells": 0.0}
    _put(warehouse, "shortcuts", key, [mark | shares | gold_shares] if round_ < 2 else [])


def _put_leaderboard(warehouse: Warehouse) -> None:
    arms = (("default", 0.81, 0.05, 0.03), ("goldgen", 0.76, 0.0, -0.02), ("gold_only", 0.7, -0.06, None))
    rows = [
        {"arm": arm, "place": place, "seeds": 3, "metric": "accuracy", "test_rows": 4, "score_mean": score}
        | {"score_sd": 0.02, "vs_goldgen": difference or None, "teacher_budget": 0.0 if arm == "gold_only" else 27.0}
        | {"vs_goldgen_low": low}
        for place, (arm, score, difference, low) in enumerate(arms, 1)
    ]
    _put(warehouse, "leaderboard", {"task": KEY.task}, rows)


def _put_vectors(warehouse: Warehouse, texts: list[str]) -> None:
    """The sum of a fixed vector per word: texts with the same words are near each other."""
    rows = [{"text_id": text_id(text), "encoder": ENCODER, "embedding": _vector(text)} for text in dict.fromkeys(texts)]
    _put(warehouse, "embeddings", {"task": KEY.task}, rows)


def _vector(text: str) -> list[float]:
    found = np.zeros(DIMENSIONS, np.float32)
    for word in text.lower().replace(".", "").replace(",", "").replace("!", "").split():
        drawn = np.random.default_rng(int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big"))
        found += drawn.standard_normal(DIMENSIONS).astype(np.float32)
    return [float(value) for value in found / np.linalg.norm(found)]


def _put(warehouse: Warehouse, name: str, keys: dict[str, str | int], rows: Rows) -> None:
    schema = table(name).schema
    complete = [dict.fromkeys(schema) | {k: v for k, v in keys.items() if k in schema} | row for row in rows]
    warehouse.write(name, keys, pl.DataFrame(complete, schema=schema))
