"""What is taken off a teacher's text, and what is left because it is the text's own."""

import polars as pl
import pytest

from s3_assets.quality.repairs import repairs_of, without_quotes
from s3_assets_tests.fakes import write_task

PLAIN = pl.DataFrame({"text": [f"Gold text number {n}, plain." for n in range(20)]})


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ('"A fine film."', "A fine film."),
        ("\u201cA fine film.\u201d", "A fine film."),
        ("\u00abUn bon film.\u00bb", "Un bon film."),
        ("'A fine film.'", "A fine film."),
        ('"He said "no" to me."', 'He said "no" to me.'),
        ('"" the sum " is a film"', '" the sum " is a film'),
        ('"A fine film.', "A fine film."),
        ('A fine film."', "A fine film."),
        ('"One" and "two"', '"One" and "two"'),
        ("'Tis the season, and we're in it'", "Tis the season, and we're in it"),
        ("'Tis the season", "'Tis the season"),
        ("the boys' club, the girls'", "the boys' club, the girls'"),
        ('It is called "Home".', 'It is called "Home".'),
        ('""', '""'),
        ('"', '"'),
        ("", ""),
    ],
)
def test_only_quotes_around_the_whole_text_go(text, bare):
    assert without_quotes(text) == bare


@pytest.mark.parametrize(
    ("text", "bare", "made"),
    [
        ("Review: A fine film.", "A fine film.", ("lead",)),
        ('Review: "A fine film."', "A fine film.", ("lead", "quotes")),
        ('"Review: A fine film."', "A fine film.", ("quotes", "lead")),
        ("**Review 3:** A fine film.", "A fine film.", ("lead",)),
        ("Positive review: A fine film.", "A fine film.", ("lead",)),
        ("positive: A fine film.", "A fine film.", ("lead",)),
        ("1. A fine film.", "A fine film.", ("markdown",)),
        ("- A **fine** film.", "A fine film.", ("markdown",)),
        ("**A fine film.**", "A fine film.", ("markdown",)),
        ("## A fine film.", "A fine film.", ("markdown",)),
        ("A  fine\u00a0film.", "A fine film.", ("spaces",)),
        ("A fine\u200b film.", "A fine film.", ("spaces",)),
        (" A fine film. ", "A fine film.", ()),
        ("A fine film: funny.", "A fine film: funny.", ()),
        ("Verdict: skip it.", "skip it.", ("lead",)),
        ("3 films in 2 hours", "3 films in 2 hours", ()),
        ("5 * 3 is 15 and 2 * 2 is 4", "5 * 3 is 15 and 2 * 2 is 4", ()),
        ("snake_case __init__ stays", "snake_case init stays", ("markdown",)),
        ("Review:", "Review:", ()),
        ("***", "***", ()),
    ],
)
def test_leads_and_markdown_go(tmp_path, text, bare, made):
    repairs = repairs_of(write_task(tmp_path), PLAIN)
    assert repairs.apply("text", text) == (bare, made)


def test_what_gold_looks_like_is_left(tmp_path):
    quoted = pl.DataFrame({"text": [f'"Gold text {n}"' for n in range(10)] + ["- a list"] * 10})
    repairs = repairs_of(write_task(tmp_path), quoted)
    assert repairs.apply("text", '"A fine film."') == ('"A fine film."', ())
    assert repairs.apply("text", "- fine") == ("- fine", ())
    assert repairs.apply("text", "Review: fine") == ("fine", ("lead",))


def test_a_task_may_leave_texts_as_written(tmp_path):
    repairs = repairs_of(write_task(tmp_path, gates={"repair": False}), PLAIN)
    assert repairs.apply("text", ' "A fine film." ') == ('"A fine film."', ())
