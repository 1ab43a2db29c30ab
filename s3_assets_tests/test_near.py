"""Near duplicates: found all, and found soon."""

import random

import polars as pl
import pytest

from s3_assets.quality import near
from s3_assets.quality.near import NearIndex, Sketch, count_near_duplicates, near_pairs
from s3_assets.quality.words import jaccard


def some_row(rng: random.Random, earlier: list[list[list[str]]], fields: int) -> list[list[str]]:
    """Words of a row, in half of the cases those of an earlier row with some changed."""
    if not earlier or rng.random() < 0.5:
        return [[f"w{int(60 * rng.random() ** 2)}" for _ in range(rng.randint(0, 14))] for _ in range(fields)]
    row = [list(field) for field in rng.choice(earlier)]
    for field in row:
        if field and rng.random() < 0.5:
            field.pop(rng.randrange(len(field)))
        if rng.random() < 0.5:
            field.append(f"w{rng.randrange(60)}")
    return row


@pytest.mark.parametrize("at_least", [0.5, 0.7, 0.8, 1.0])
@pytest.mark.parametrize(("fields", "together"), [(1, False), (2, False), (2, True)])
def test_all_that_comparing_all_finds(at_least, fields, together, monkeypatch):
    monkeypatch.setattr(near, "_LOOKED_AT", 2)
    rng, index = random.Random(0), NearIndex(at_least)
    rows, noted = list[list[list[str]]](), list[tuple[str, str]]()
    pairs = 0
    for _ in range(300):
        row, scope, label = some_row(rng, rows, fields), rng.choice(["", "a", "b"]), rng.choice("pn")
        for wanted in (None, label):
            expected = []
            for number, (other, (its_scope, its_label)) in enumerate(zip(rows, noted, strict=True)):
                by_field = [jaccard(set(one), set(two)) for one, two in zip(row, other, strict=True)]
                overlap = jaccard(set().union(*row), set().union(*other)) if together else min(by_field)
                if its_scope == scope and wanted in (None, its_label) and overlap >= at_least:
                    expected.append((number, overlap, its_label, min(by_field)))
            assert list(index.find(Sketch.of(row, scope, together=together), wanted)) == expected
            pairs += len(expected)
        index.add(Sketch.of(row, scope, together=together), label)
        rows.append(row)
        noted.append((scope, label))
    assert pairs > 5


def test_none_at_the_threshold_is_missed():
    rng, index = random.Random(0), NearIndex(0.8)
    pairs = []
    for number in range(2000):
        common = [f"w{n}" for n in rng.sample(range(3000), 8)]
        pairs.append(([*common, f"a{number}"], [*common, f"b{number}"]))
        assert jaccard(*map(set, pairs[-1])) == 0.8
        index.add(Sketch.of([pairs[-1][0]]))
    assert all(next(index.find(Sketch.of([other])), None) is not None for _, other in pairs)


def test_rows_of_one_template_are_not_all_compared(monkeypatch):
    rng = random.Random(0)
    slots = [f"w{number}" for number in range(3000)]
    # Words of the template are met as words like others first.
    free = [rng.sample(slots, 12) for _ in range(1000)]
    template = slots[:8]
    rows = [*free, *([*template, *rng.sample(slots, 3)] for _ in range(4000))]
    compared, real = [], NearIndex._compared
    monkeypatch.setattr(NearIndex, "_compared", lambda index, *given: compared.append(1) or real(index, *given))
    index = NearIndex(0.8)
    for row in rows:
        sketch = Sketch.of([row])
        if next(index.find(sketch), None) is None:
            index.add(sketch)
    # The rows of the template alone make 8 million pairs.
    assert len(compared) < 40_000


def test_pairs_and_counts_of_a_frame():
    texts = ["a b c d e f g h i", "unlike all others here", "a b c d e f g h j", "a b c d e f g h i"]
    rows = pl.DataFrame({"text": texts})
    assert near_pairs(rows, ["text"], 0.8) == [(0, 2, 0.8), (0, 3, 1.0), (2, 3, 0.8)]
    assert count_near_duplicates(rows, ["text"], 0.8) == 2
