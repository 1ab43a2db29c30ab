"""Exact match and F1 per answer, compared with torchmetrics' SQuAD metric."""

import random

import pytest

from s3_assets.student.squad import exact_match, f1, normalise_answer

CASES = [
    ("Paris", ["Paris"]),
    ("paris.", ["Paris"]),
    ("the city of Paris", ["Paris", "city of paris"]),
    ("", ["Paris"]),
    ("Paris", [""]),
    ("", [""]),
    ("the", ["a"]),
    ("an", ["Anna"]),
    ("...", ["the"]),
    ("  a \t the\nend ", ["The end!"]),
    ("the the cat", ["a cat cat"]),
    ("cat cat cat dog", ["cat dog dog", "cat cat"]),
    ("U.S.", ["US", "United States"]),
    ("well-known", ["well known", "wellknown"]),
    ("theatre", ["a tre", "theatre"]),
    ("Straße in Köln", ["straße in köln"]),
    ("STRASSE", ["straße"]),
    ("“quoted”", ["quoted"]),
    ("don\u2019t", ["don't"]),
    ("naïve café", ["naive cafe", "naïve cafe"]),
    ("東京 の 塔", ["東京 の", "塔"]),
    ("İstanbul", ["istanbul"]),
    ("12,000 km", ["12000 km"]),
    ("£5 million", ["5 million", "five million pounds"]),
    ("new\u00a0york", ["new york"]),
    ("x_the_y the", ["xthey"]),
]


def many() -> list[tuple[str, list[str]]]:
    """The cases, and random ones of the same words, which overlap in part."""
    rng = random.Random(0)
    words = ["the", "The", "a", "an", "cat", "Cat,", "dog", "dog.", "(red)", "Köln", "don't", "-", "…", "12", "1.2"]

    def some() -> str:
        return " ".join(rng.choices(words, k=rng.randrange(6)))

    return CASES + [(some(), [some() for _ in range(rng.randint(1, 4))]) for _ in range(400)]


def reference(cases: list[tuple[str, list[str]]]) -> tuple[float, float]:
    """Means of exact match and F1, 0 to 1."""
    said = [{"prediction_text": prediction, "id": str(place)} for place, (prediction, _) in enumerate(cases)]
    gold = [
        {"answers": {"text": answers, "answer_start": [0] * len(answers)}, "id": str(place)}
        for place, (_, answers) in enumerate(cases)
    ]
    from torchmetrics.functional.text import squad  # 2 s, in every process that collects

    found = squad(said, gold)
    return found["exact_match"].item() / 100, found["f1"].item() / 100


def test_each_row_is_as_in_torchmetrics():
    cases = many()
    ours = [(exact_match(*case), f1(*case)) for case in cases]
    for case, own in zip(cases, ours, strict=True):
        assert own == pytest.approx(reference([case]), abs=1e-6), case
    assert len(set(ours)) > 10


def test_means_are_as_in_torchmetrics():
    cases = many()
    means = [sum(measure(*case) for case in cases) / len(cases) for measure in (exact_match, f1)]
    assert means == pytest.approx(reference(cases), abs=1e-5)


def test_values_by_hand():
    assert f1("the red cat", ["a big cat", "dog"]) == pytest.approx(0.5)
    assert f1("cat cat", ["cat"]) == pytest.approx(2 / 3)
    assert (exact_match("The Cat!", ["dog", "cat"]), f1("The Cat!", ["dog", "cat"])) == (1.0, 1.0)
    assert (exact_match("", ["cat"]), f1("", ["cat"])) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("answer", "normal"),
    [
        ("The  Cat's\thouse.", "cats house"),
        ("an a the", ""),
        ("theatre anna", "theatre anna"),
        ("The-End", "theend"),
        ("“The” end", "“ ” end"),
    ],
)
def test_normalised_answers(answer, normal):
    assert normalise_answer(answer) == normal


@pytest.mark.parametrize("measure", [exact_match, f1])
def test_without_gold_answers_there_is_nothing_to_say(measure):
    with pytest.raises(ValueError, match="no gold answers"):
        measure("cat", [])
