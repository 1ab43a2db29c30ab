"""Remedies for shortcuts: what is taken off texts, which rows are refused, and what stays as it is."""

import pytest

from s3_assets.quality.remedies import LEAST_LEFT, remedy, stripper
from s3_assets.quality.shortcuts import describe, find_shortcuts
from s3_assets.store.identity import example_id
from s3_assets.store.tables import table
from s3_assets.tasks.quality_spec import ShortcutsSpec
from s3_assets_tests.test_shortcuts import FIELDS, LABELS, for_good, frame, lower, pack, sentences


def accepted(texts):
    """Rows as ``generation/filling.py`` accepts them."""
    return [
        {
            "example_id": example_id(text, text2, label),
            "text": text,
            "text2": text2,
            "label": label,
            "sublabel": None,
            "answer": None,
            "answer_start": None,
            "gold_id": None,
            "request_id": "r_1",
            "item": item,
            "repairs": None,
            "confidence": 0.9,
        }
        for item, (text, text2, label) in enumerate(texts.iter_rows())
    ]


def treat(kind, rows, *, gold=None, fields=FIELDS, seed=0):
    gold = sentences(100, 2) if gold is None else gold
    return remedy(ShortcutsSpec(remedy=kind), rows, gold, LABELS, fields, seed)


def found(rows, gold=None, fields=FIELDS):
    kept = frame([(row["text"], row["text2"], row["label"]) for row in rows])
    return find_shortcuts(kept, sentences(100, 2) if gold is None else gold, LABELS, fields, 0.2)


QUOTED = for_good(lambda text: f'"{text}"')


@pytest.fixture
def quoted():
    return accepted(sentences(300, 1, QUOTED))


def test_report_leaves_rows_as_they_are(quoted):
    assert treat("report", quoted) == (quoted, [])
    assert found(quoted).height == 1


@pytest.mark.parametrize("kind", ["strip", "rebalance"])
def test_rows_without_shortcuts_stay_as_they_are(kind):
    rows = accepted(sentences(300, 1))
    assert treat(kind, rows) == (rows, [])
    assert treat(kind, []) == ([], [])


def test_stripped_rows_of_every_label_are_the_texts_without_their_quotes(quoted):
    before = [dict(row) for row in quoted]
    kept, refused = treat("strip", quoted)
    assert quoted == before
    assert refused == []
    assert [row["text"] for row in kept] == sentences(300, 1)["text"].to_list()
    for old, new in zip(quoted, kept, strict=True):
        changed = old["text"].startswith('"')
        assert (new is old) != changed
        assert new["repairs"] == ("shortcut" if changed else None)
        assert new["example_id"] == example_id(new["text"], None, new["label"])
        assert {name: new[name] for name in ("item", "label", "confidence")} == {
            name: old[name] for name in ("item", "label", "confidence")
        }
    assert {row["label"] for row in kept if row["repairs"]} == set(LABELS)
    assert found(kept).is_empty()


def test_repairs_made_before_are_kept(quoted):
    rows = [row | {"repairs": "lead, markdown"} for row in quoted]
    assert {row["repairs"] for row in treat("strip", rows)[0]} == {"lead, markdown", "lead, markdown, shortcut"}


def test_what_comes_to_light_is_taken_off_too():
    rows = accepted(sentences(300, 1, for_good(lambda text: f'"Review: {lower(text)}"')))
    kept, refused = treat("strip", rows)
    assert refused == []
    assert [row["text"] for row in kept] == sentences(300, 1)["text"].to_list()


def test_only_the_fields_written_are_touched(quoted):
    rows = [row | {"text2": text} for row, text in zip(quoted, sentences(300, 3)["text"], strict=True)]
    gold = sentences(100, 2).with_columns(text2=sentences(100, 4)["text"])
    assert treat("strip", rows, gold=gold, fields=("text2",)) == (rows, [])
    assert treat("rebalance", rows, gold=gold, fields=("text2",)) == (rows, [])
    swapped = [row | {"text": row["text2"], "text2": row["text"]} for row in rows]
    kept, _ = treat("strip", swapped, gold=gold, fields=("text2",))
    assert [row["text"] for row in kept] == [row["text"] for row in swapped]
    assert not any(row["text2"].startswith('"') for row in kept)
    assert kept[0]["example_id"] == example_id(kept[0]["text"], kept[0]["text2"], kept[0]["label"])


def test_rows_that_repeat_others_once_stripped_are_refused_as_written(quoted):
    steer = sentences(100, 2)
    copies = [("Twice the same film.", "good"), ('"Twice the same film."', "good"), ('"twice THE same film."', "bad")]
    copies += [(f'"{steer["text"][0]}"', "good")]
    rows = quoted + accepted(frame([(text, None, label) for text, label in copies]))
    kept, refused = treat("strip", rows)
    assert [(row["gate"], row["text"], row["row_id"]) for row in refused] == [
        ("duplicate", rows[301]["text"], rows[301]["example_id"]),
        ("duplicate", rows[302]["text"], rows[302]["example_id"]),
        ("gold_copy", rows[303]["text"], rows[303]["example_id"]),
    ]
    assert len(kept) == 301
    assert kept[300] is rows[300]
    assert "shortcut" in refused[0]["reason"]


def test_length_and_words_are_only_reported():
    for change in (
        lambda text: f"{text[:-1]} and so on it went to the very end.",
        lambda text: f"{text[:-1]}, surely so.",
    ):
        rows = accepted(sentences(300, 1, for_good(change)))
        assert not found(rows).is_empty()
        assert treat("strip", rows) == (rows, [])


@pytest.mark.parametrize("start", ["Not", "No", "Honestly,", "I'm"])
def test_first_words_of_a_sentence_are_only_reported(start):
    # Without "Not" a text of label bad would praise the film.
    rows = accepted(sentences(300, 1, for_good(lambda text: f"{start} {lower(text)}")))
    assert "first_words" in set(found(rows)["rule"])
    assert treat("strip", rows) == (rows, [])


def test_leads_are_taken_off_and_the_words_stay_elsewhere():
    rows = accepted(sentences(300, 1, for_good(lambda text: f"Review: {lower(text)}")))
    rows[0] |= {"text": "Review of the film."}
    kept, refused = treat("strip", rows)
    assert refused == []
    assert kept[0] is rows[0]
    assert [row["text"] for row in kept[1:]] == sentences(300, 1)["text"].to_list()[1:]


def test_nothing_is_taken_off_that_gold_has_more_often():
    # The full stop that texts of label good lack is a mark of the others.
    rows = accepted(sentences(300, 1, for_good(lambda text: text[:-1])))
    assert not found(rows).is_empty()
    assert treat("strip", rows) == (rows, [])


@pytest.mark.parametrize(
    ("rule", "value", "text", "stripped"),
    [
        ("first_character", "quote mark", '"A film."', "A film."),
        ("first_character", "quote mark", '"A film".', "A film."),
        ("first_character", "quote mark", "\u201cA film.\u201d", "A film."),
        ("first_character", "quote mark", "\u201eA film.\u201c", "A film."),
        ("first_character", "quote mark", '"A film', "A film"),
        ("first_character", "quote mark", '""A film.""', "A film."),
        ("first_character", "quote mark", '"Yes," he said, "go."', 'Yes, he said, "go."'),
        ("first_character", "quote mark", '"Her role in "Monk"."', 'Her role in "Monk".'),
        ("first_character", "quote mark", '"Both "One" and "Two" failed."', 'Both "One" and "Two" failed.'),
        ("first_character", "quote mark", "'The dog's bowl.'", "The dog's bowl."),
        ("first_character", "quote mark", 'A "film".', 'A "film".'),
        ("first_character", "quote mark", '"..."', '"..."'),
        ("first_character", "(", "(A film.)", "A film."),
        ("first_character", "punctuation mark", "- (sic) A film.", "sic A film."),
        ("first_character", "*", "**Bold** film", "Bold film"),
        ("first_character", "punctuation mark", "- 5 degrees.", "5 degrees."),
        ("first_character", "punctuation mark", '"-5 degrees."', "-5 degrees."),
        ("first_character", "$", "$5 a ticket.", "$5 a ticket."),
        ("first_words", "answer", "Answer: a film.", "A film."),
        ("first_words", "answer", '"Answer: a film."', '"A film."'),
        ("first_words", "answer", 'Answer:"A film."', '"A film."'),
        ("first_words", "review", "Review - a film.", "A film."),
        ("first_words", "my review", "My review \u2014 a film.", "A film."),
        ("first_words", "\u8bc4\u8bba", "\u8bc4\u8bba\uff1a\u597d", "\u597d"),
        ("first_words", "review", "Review: ...", "Review: ..."),
        ("first_words", "review", "Reviews: a film.", "Reviews: a film."),
        ("first_words", "re view", "Review: a film.", "Review: a film."),
        ("first_words", "review", "Review of a film: good.", "Review of a film: good."),
        ("first_words", "honestly", "Honestly, a film.", "Honestly, a film."),
        ("first_words", "it seems", "It seems the plot...", "It seems the plot..."),
        ("first_words", "no", "No man is eating.", "No man is eating."),
        ("first_words", "not", "Not a moving script.", "Not a moving script."),
        ("first_words", "i", "I'm not sure.", "I'm not sure."),
        ("first_words", "u", "U.S. troops.", "U.S. troops."),
        ("first_words", "anti", "Anti-war film.", "Anti-war film."),
        ("first_words", "short", "Short- and long-term.", "Short- and long-term."),
        ("first_words", "nice", "Nice :) film.", "Nice :) film."),
        ("first_words", "3", "3 - 2 for the guests.", "3 - 2 for the guests."),
        ("first_words", "at 3", "At 3:30 they left.", "At 3:30 they left."),
        ("punctuation", "ends with %", "It rose 5%", "It rose 5%"),
        ("punctuation", "ends with +", "Written in C++", "Written in C++"),
        ("punctuation", "ends with ?", "A film??", "A film"),
        ("punctuation", "ends with !", "Go! A film!", "Go! A film"),
        ("punctuation", "ends with quote mark", 'He said "go."', "He said go."),
        ("punctuation", "ends with quote mark", '"A film."', "A film."),
    ],
)
def test_what_a_rule_takes_off_a_text(rule, value, text, stripped):
    rows = accepted(frame([(text, None, "good")]))
    strip = stripper(rule, value)
    assert (strip(text) if any(one.isalnum() for one in strip(text)) else text) == stripped
    assert rows[0]["text"] == text


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        ("first_character", "digit"),
        ("first_character", "upper case letter"),
        ("first_character", "T"),
        ("length", ">= 12"),
        ("punctuation", ","),
        ("punctuation", "quote mark"),
        ("punctuation", "ends with letter or digit"),
        ("token", "surely"),
    ],
)
def test_rules_of_which_nothing_can_be_taken_off(rule, value):
    assert stripper(rule, value) is None


def test_rebalancing_refuses_rows_until_the_rule_tells_little(quoted):
    some = accepted(sentences(300, 1, for_good(lambda text: f'"{text}"', 0.5, 0.2)))
    kept, refused = treat("rebalance", some)
    assert {row["label"] for row in refused} == {"good"}
    assert all(row["text"].startswith('"') for row in refused)
    assert found(kept).is_empty()
    tells = {
        label: sum(row["text"].startswith('"') for row in kept if row["label"] == label)
        / sum(row["label"] == label for row in kept)
        for label in LABELS
    }
    assert tells["good"] - tells["bad"] == pytest.approx(0.1, abs=0.01)
    assert len(kept) + len(refused) == 300
    assert [row for row in some if row in kept] == kept
    assert set(refused[0]) < {column.name for column in table("rejected").columns}
    rule = found(some).row(0, named=True)
    assert {(row["gate"], row["reason"], row["value"]) for row in refused} == {
        ("shortcut", describe(rule), rule["tells"])
    }


def test_rebalancing_leaves_half_of_a_label(quoted):
    rows = accepted(sentences(300, 1, for_good(lambda text: f'"{text}"', 1, 0)))
    kept, refused = treat("rebalance", rows)
    assert sum(row["label"] == "good" for row in kept) == LEAST_LEFT * 150
    assert {row["label"] for row in refused} == {"good"}
    # What cannot be helped is still reported.
    assert found(kept).height == 1


def test_rebalancing_goes_on_with_other_rules():
    def change(text, label, chance):
        text = f"{text[:-1]}!" if chance * 7 % 1 < (0.5 if label == "bad" else 0.1) else text
        return f'"{text}' if chance < (0.5 if label == "good" else 0.1) else text

    rows = accepted(sentences(400, 1, change))
    assert found(rows)["label"].to_list() in (["good", "bad"], ["bad", "good"])
    kept, refused = treat("rebalance", rows)
    assert found(kept).is_empty()
    assert {row["label"] for row in refused} == set(LABELS)


def test_draws_follow_the_seed(quoted):
    first, again, other = (treat("rebalance", quoted, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert len(first[1]) == len(other[1]) > 0
    assert first[1] != other[1]


@pytest.mark.packs
@pytest.mark.parametrize("file", ["gpt35_extrapolated_1", "gpt35_extrapolated_2"])
def test_the_quote_marks_of_the_papers_rte_rows_are_stripped(file):
    texts, labels, _ = pack("nli_rte", file)
    rows, gold = accepted(texts.select("text", "text2", "label")), pack("nli_rte", "gold_val")[0].head(100)
    kept, refused = remedy(ShortcutsSpec(remedy="strip"), rows, gold, labels, ("text2",), 0)
    assert len(kept) + len(refused) == len(rows)
    assert len(refused) < 5
    assert not any(row["text2"].startswith('"') for row in kept)
    left = find_shortcuts(
        frame([(row["text"], row["text2"], row["label"]) for row in kept]), gold, labels, ("text2",), 0.2
    )
    assert not left["value"].str.contains('quote|"').any()
