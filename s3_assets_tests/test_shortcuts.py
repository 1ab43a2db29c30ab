"""Rules that tell the label of synthetic rows better than of gold: each kind found, and silence where there is none."""

import itertools
import random

import numpy as np
import polars as pl
import pytest
from scipy.stats import binom

from s3_assets.quality.chance import _rates_alike, p_values
from s3_assets.quality.shortcuts import ALPHA, MOST_PER_FIELD, describe, find_shortcuts, holders
from s3_assets.store.columns import ROUND_KEYS
from s3_assets.store.tables import table
from s3_assets_tests.simulated_teacher import packs_folder

LABELS, FIELDS = ("good", "bad"), ("text",)
VOCABULARY = ["the", "a", "film", "plot", "actor", "scene", "story", "music", "ending", "camera"]
VOCABULARY += ["was", "is", "has", "with", "and", "of", "very", "quite", "rather", "slowly"]


def frame(rows):
    return pl.DataFrame(rows, schema={"text": pl.String, "text2": pl.String, "label": pl.String}, orient="row")


def sentences(count, seed, change=lambda text, label, chance: text, labels=LABELS):
    """Sentences of 4 to 11 words that say nothing of their label but for ``change``; ``chance`` is between 0 and 1."""
    rng, rows = random.Random(seed), []
    for number in range(count):
        label = labels[number % len(labels)]
        text = " ".join(rng.choices(VOCABULARY, k=rng.randint(4, 11))).capitalize() + "."
        rows.append((change(text, label, rng.random()), None, label))
    return frame(rows)


def find(change, *, count=300, gold=100, labels=LABELS, excess=0.2):
    return find_shortcuts(
        sentences(count, 1, change, labels), sentences(gold, 2, labels=labels), labels, FIELDS, excess
    )


def for_good(change, often=0.8, seldom=0.2):
    """``change`` of most texts of label good and of few others."""
    return lambda text, label, chance: change(text) if chance < (often if label == "good" else seldom) else text


def lower(text):
    return text[0].lower() + text[1:]


def in_the_middle(what):
    return lambda text: text.replace(" ", f" {what} ", 1)


@pytest.mark.parametrize(
    ("change", "rule", "value"),
    [
        (lambda text: f'"{text}"', "first_character", "quote mark"),
        (lambda text: f"\u201c{text}\u201d" if len(text) % 2 else f'"{text}"', "first_character", "quote mark"),
        (lambda text: f"({text})", "first_character", "("),
        (lambda text: f"{len(text) % 10} {lower(text)}", "first_character", "digit"),
        (lower, "first_character", "lower case letter"),
        (lambda text: f"Honestly, {lower(text)}", "first_words", "honestly"),
        (lambda text: f"It seems {lower(text)}", "first_words", "it seems"),
        (lambda text: f"{text[:-1]} and so on it went until the very end.", "length", ">= "),
        (lambda text: f"{text[:-1]}!", "punctuation", "ends with !"),
        (lambda text: text[:-1], "punctuation", "ends with letter or digit"),
        (in_the_middle("-"), "punctuation", "-"),
        (in_the_middle('"so called"'), "punctuation", "quote mark"),
        (in_the_middle("surely"), "token", "surely"),
    ],
)
def test_each_kind_of_rule_is_found_once(change, rule, value):
    found = find(for_good(change))
    same = found.filter(pl.col("value").str.starts_with(value), rule=rule, label="good")
    assert same.height == 1, found
    # Of rules that hold for the same rows one is told.
    held = holders(sentences(300, 1, for_good(change)), found)
    assert all(set(one) != set(other) for one, other in itertools.combinations(held, 2))
    row = same.row(0, named=True)
    assert row["share"] == pytest.approx(0.8, abs=0.1)
    assert row["share_others"] == pytest.approx(0.2, abs=0.1)
    assert row["tells"] == row["share"] - row["share_others"]
    assert row["p_value"] <= ALPHA


def test_shares_by_hand_and_columns_of_the_table():
    marks = {"good": 45 * ['"'] + 5 * [""], "bad": 10 * ['"'] + 40 * [""]}
    rows = frame([(f"{mark}word {n}", None, label) for label in LABELS for n, mark in enumerate(marks[label])])
    gold = frame([(f"word {n}", None, LABELS[n % 2]) for n in range(99)] + [('"word', None, "bad")])
    found = find_shortcuts(rows, gold, LABELS, FIELDS, 0.2)
    assert dict(found.schema) == {n: t for n, t in table("shortcuts").schema.items() if n not in ROUND_KEYS}
    (row,) = found.drop("p_value").rows()
    assert row == ("text", "first_character", "quote mark", "good", 55, 0.9, 0.2, pytest.approx(0.7), 0, 0.02, -0.02)


def test_the_strongest_comes_first_and_fields_are_told_apart():
    rows = sentences(300, 1, for_good(lambda text: f'"{text}"', 0.7, 0.2))
    rows = rows.with_columns(text2=sentences(300, 3, for_good(lambda text: f"{text[:-1]}?", 0.9, 0.1))["text"])
    gold = sentences(100, 2).with_columns(text2=sentences(100, 4)["text"])
    found = find_shortcuts(rows, gold, LABELS, ("text", "text2"), 0.2)
    assert [row[:3] for row in found.rows()] == [
        ("text2", "punctuation", "ends with ?"),
        ("text", "first_character", "quote mark"),
    ]
    assert find_shortcuts(rows, gold, LABELS, ("text",), 0.2).height == 1
    assert find_shortcuts(rows.reverse(), gold.reverse(), LABELS, ("text", "text2"), 0.2).equals(found)


def test_a_rule_of_one_of_three_labels_is_found_in_both_directions():
    labels = ("good", "bad", "neither")
    longer = find(for_good(lambda text: f"{text[:-1]} and so on it went until the very end."), labels=labels)
    assert ("length", "good", ">=") in {(row[1], row[3], row[2][:2]) for row in longer.rows()}
    shorter = find(for_good(lambda text: text[:12]), labels=labels)
    assert ("length", "good", "<=") in {(row[1], row[3], row[2][:2]) for row in shorter.rows()}


def test_labels_in_other_proportions_are_no_shortcut():
    labels, holds = ("one", "two", "three"), {"one": 0.9, "two": 0.9, "three": 0.1}

    def drawn(counts, seed):
        rng = random.Random(seed)
        return frame([("Yes." if rng.random() < holds[label] else "No.", None, label)
                      for label, count in zip(labels, counts, strict=True) for _ in range(count)])  # fmt: skip

    # Against all others alike, the rule tells label one 0.4 in these rows and 0.1 in this gold.
    assert find_shortcuts(drawn((200, 200, 200), 1), drawn((60, 110, 10), 2), labels, FIELDS, 0.2).is_empty()


@pytest.mark.parametrize("size", [25, 50, 150])
def test_silent_on_gold_itself_and_on_rows_like_it(size):
    quoted = for_good(lambda text: f'"{text}"')
    for change in (quoted, lambda text, label, chance: text):
        rows, gold = sentences(300, 1, change), sentences(size, 2, change)
        assert find_shortcuts(gold, gold, LABELS, FIELDS, 0.2).is_empty()
        assert find_shortcuts(rows, gold, LABELS, FIELDS, 0.2).is_empty()


def test_a_mark_does_not_make_a_rule_of_the_letters_of_others():
    found = find(for_good(lambda text: f'"{text}"', 1, 0))
    assert [row[1:4] for row in found.rows()] == [("first_character", "quote mark", "good")]


def test_silent_where_all_labels_have_it():
    assert find(lambda text, label, chance: f'"{text}"').is_empty()


def test_silent_below_the_excess_asked_for():
    assert find(for_good(lambda text: f'"{text}"', 0.6, 0.3), gold=2000, excess=0.4).is_empty()
    assert not find(for_good(lambda text: f'"{text}"', 0.6, 0.3), gold=2000, excess=0.2).is_empty()


def test_silent_where_gold_is_too_small_to_tell():
    quoted = for_good(lambda text: f'"{text}"')
    assert find(quoted, gold=6).is_empty()
    assert not find(quoted, gold=30).is_empty()


def test_gold_that_tells_the_other_way_is_a_shortcut():
    rows = sentences(300, 1, for_good(lambda text: f'"{text}"', 0.7, 0.4))
    gold = sentences(150, 2, for_good(lambda text: f'"{text}"', 0.3, 0.6))
    (row,) = find_shortcuts(rows, gold, LABELS, FIELDS, 0.2).rows(named=True)
    assert (row["label"], row["value"]) == ("good", "quote mark")
    assert row["gold_tells"] < -0.1


def test_nothing_to_compare_is_no_shortcut():
    rows, gold = sentences(60, 1), sentences(60, 2)
    schema = find_shortcuts(rows, gold, LABELS, FIELDS, 0.2).schema
    for some, other, labels in (
        (rows.clear(), gold, LABELS),
        (rows, gold.clear(), LABELS),
        (rows.filter(label="good"), gold, LABELS),
        (rows, gold, ("good",)),
        (rows.with_columns(label=pl.lit("answer")), gold.with_columns(label=pl.lit("answer")), ("answer",)),
        (rows.with_columns(text=pl.lit(None, pl.String)), gold, LABELS),
        (rows.with_columns(text=pl.lit("...")), gold.with_columns(text=pl.lit("")), LABELS),
    ):
        found = find_shortcuts(some, other, labels, FIELDS, 0.2)
        assert found.is_empty()
        assert found.schema == schema


def test_the_report_is_bounded():
    # Sixty words, each in half of the rows of label good and in no other.
    rng = random.Random(5)
    own = [f"word{number}" for number in range(60)]
    rows = frame(
        [
            (" ".join(["a", *(rng.sample(own, 30) if n % 2 else [])]), None, "good" if n % 2 else "bad")
            for n in range(400)
        ]
    )
    found = find_shortcuts(rows, frame([("a", None, LABELS[n % 2]) for n in range(200)]), LABELS, FIELDS, 0.2)
    assert found.height == MOST_PER_FIELD


def test_holders_are_the_rows_that_a_rule_holds_for():
    texts = ['"One two', "Two three four.", "three: \u201cfour\u201d?", None, "4 five", "***"]
    rules = [
        ("first_character", "quote mark", [0]),
        ("first_character", "upper case letter", [0, 1]),
        ("first_character", "T", [1]),
        ("first_character", '"', [0]),
        ("first_character", "punctuation mark", [0, 5]),
        ("first_character", "*", [5]),
        ("first_character", "digit", [4]),
        ("first_words", "two three", [1]),
        ("length", ">= 3", [1]),
        ("length", "<= 2", [0, 2, 3, 4, 5]),
        ("punctuation", "quote mark", [0, 2]),
        ("punctuation", "ends with letter or digit", [0, 4]),
        ("punctuation", "ends with ?", [2]),
        ("token", "four", [1, 2]),
    ]
    found = pl.DataFrame([("text", *rule[:2]) for rule in rules], schema=["field", "rule", "value"], orient="row")
    assert holders(pl.DataFrame({"text": texts}), found) == [rule[2] for rule in rules]
    assert holders(pl.DataFrame({"text": texts}), found.clear()) == []


@pytest.mark.parametrize(
    ("rule", "value", "words"),
    [
        ("first_character", "quote mark", "begins with a quote mark"),
        ("first_character", "upper case letter", "begins with an upper case letter"),
        ("first_character", "(", 'begins with "("'),
        ("first_words", "given the", 'begins with "given the"'),
        ("length", ">= 17", "has 17 or more words"),
        ("length", "<= 5", "has 5 or fewer words"),
        ("punctuation", ",", 'has "," in it'),
        ("punctuation", '"', "has '\"' in it"),
        ("punctuation", "ends with ?", 'ends with "?"'),
        ("token", "not", 'has the word "not"'),
    ],
)
def test_a_rule_in_words(rule, value, words):
    row = {"field": "text2", "rule": rule, "value": value, "label": "bad", "share": 0.95, "share_others": 0.42,
           "gold_share": 0.0, "gold_share_others": 0.012}  # fmt: skip
    assert describe(row) == f"text2 {words}: 95% of bad, 42% of the others (gold 0% and 1%)"


SIGNS = np.array([[1.0, -1.0, -1.0, 1.0]])


def test_rates_that_tell_alike_are_the_most_likely_ones():
    counts, sizes = np.array([[90, 20, 1, 2]]), np.array([[100, 100, 12, 13]])
    rates = _rates_alike(counts, sizes, SIGNS)
    assert (rates * SIGNS).sum() == pytest.approx(0, abs=1e-9)

    def likelihood(rates):
        return binom.logpmf(counts, sizes, rates).sum()

    rng = np.random.default_rng(0)
    for step in rng.normal(0, 0.02, (200, 4)):
        # Any other rates that tell alike.
        other = rates + step - (step @ SIGNS[0]) / 4 * SIGNS
        if ((other > 0) & (other < 1)).all():
            assert likelihood(other) <= likelihood(rates) + 1e-9


def test_p_values_are_sums_over_all_counts():
    counts, sizes = (
        np.array([[9, 2, 1, 2], [8, 0, 0, 0], [6, 2, 0, 3]]),
        np.array([[10, 8, 5, 6], [8, 8, 4, 4], [8, 8, 3, 3]]),
    )
    signs = np.repeat(SIGNS, 3, axis=0)
    rates = _rates_alike(counts, sizes, signs)
    for line, p_value in enumerate(p_values(counts, sizes, signs)):
        at_least = (counts[line] / sizes[line]) @ SIGNS[0]
        exact = sum(
            binom.pmf(drawn, sizes[line], rates[line]).prod()
            for drawn in itertools.product(*(range(size + 1) for size in sizes[line]))
            if (np.array(drawn) / sizes[line]) @ SIGNS[0] >= at_least - 2.5 / 400
        )
        assert p_value == pytest.approx(exact, rel=0.05)


@pytest.mark.parametrize("rates", [(0.5, 0.5, 0.5, 0.5), (0.95, 0.4, 0.6, 0.05), (0.05, 0.02, 0.05, 0.02)])
def test_p_values_are_small_as_seldom_as_they_say(rates):
    sizes = np.tile([200, 150, 12, 20], (1500, 1))
    counts = np.random.default_rng(1).binomial(sizes, rates)
    signs = np.repeat(SIGNS, len(counts), axis=0)
    more = (signs * counts / sizes).sum(axis=1) > 0
    found = p_values(counts[more], sizes[more], signs[more])
    assert (found <= 0.05).sum() / len(counts) < 0.06
    assert (found <= 0.01).sum() / len(counts) < 0.015


def pack(name, file):
    rows = pl.read_parquet(packs_folder() / name / f"{file}.parquet")
    fields = [name for name in ("text", "text2") if name in rows.columns]
    return rows, sorted(rows["label"].unique()), fields


@pytest.mark.packs
@pytest.mark.parametrize("file", ["gpt35_extrapolated_1", "gpt35_extrapolated_2"])
@pytest.mark.parametrize("size", [100, 150])
def test_the_quote_mark_and_the_length_of_the_papers_rte_rows_are_found(file, size):
    rows, labels, fields = pack("nli_rte", file)
    found = find_shortcuts(rows, pack("nli_rte", "gold_val")[0].head(size), labels, fields, 0.2)
    first = found.row(0, named=True)
    assert (first["field"], first["rule"], first["value"]) == ("text2", "first_character", "quote mark")
    assert first["label"] == "not_entailment"
    assert first["share"] > 0.94
    assert 0.38 < first["share_others"] < 0.46
    assert found.filter(field="text2", rule="length", label="entailment").height == 1
    # Nothing is told twice: no rule about the quote mark at the end or within.
    assert found["value"].str.contains('quote|"').sum() == 1
    assert found.height <= 6


@pytest.mark.packs
@pytest.mark.parametrize("name", ["nli_rte", "nli_sick", "sentiment_mr", "topic_clinc10"])
def test_silent_on_real_gold(name):
    gold, labels, fields = pack(name, "gold_val")
    test = pack(name, "gold_test")[0]
    reach = pack(name, "pool")[0].filter(origin="reach")
    for rows, steer in ((gold, gold), (test, gold), (gold, test), (reach, gold.head(100)), (reach, gold.head(50))):
        assert find_shortcuts(rows, steer, labels, fields, 0.2).is_empty()
    for seed in range(3):
        mixed = gold.sample(fraction=1, shuffle=True, seed=seed)
        assert find_shortcuts(mixed.head(150), mixed.tail(150), labels, fields, 0.2).is_empty()
