"""What tests of gates share: gold of pairs in drawn words, and which gate refused a row.

Belongs here: helpers of the modules ``test_gates_*.py``. Does not belong here: tests.
"""

import random

from s3_assets.quality.words import words

PAIR = {
    "kind": "pair",
    "fields": {"text": "premise", "text2": "hypothesis", "label": "verdict"},
    "labels": {"entailment": "text2 follows from text", "not_entailment": "it does not"},
}
NOUNS = words(
    """apple bridge candle doctor engine farmer garden harbour island jacket kitchen ladder market needle orchard pencil
    quarry river saddle teacher umbrella valley window yard zebra anchor barrel carpet desk elbow feather goat hammer
    ink journal kettle lantern mirror nest oven parcel quilt ribbon stove tunnel uncle village wheel yacht zipper"""
)


def drawn(number: int, count: int) -> str:
    """Words in an order that no other number has."""
    return " ".join(random.Random(number).sample(NOUNS, count))


def pair_gold() -> str:
    rows = [f"the {drawn(n, 16)},some {drawn(n + 100, 6)},{('entailment', 'not_entailment')[n % 2]}" for n in range(80)]
    return "premise,hypothesis,verdict\n" + "\n".join(rows) + "\n"


def gate_of(judged) -> str | None:
    return None if judged.refusal is None else judged.refusal.gate
