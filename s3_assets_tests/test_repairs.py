"""What is taken off a teacher's text, and what is left because it is the text's own."""

import time

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
        ('The screen is 27"', 'The screen is 27"'),
        ("He is 6'2\"", "He is 6'2\""),
        ('"The screen is 27 inches', "The screen is 27 inches"),
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
        ("snake_case __init__ stays", "snake_case __init__ stays", ()),
        ("__init__ calls __new__", "__init__ calls __new__", ()),
        ("A __very fine__ film.", "A very fine film.", ("markdown",)),
        ("**A** film and **another**", "A film and another", ("markdown",)),
        ("2**3 and 2**4", "2**3 and 2**4", ()),
        ("f(a)**2 + g(b)**2", "f(a)**2 + g(b)**2", ()),
        ("- 5 degrees outside", "- 5 degrees outside", ()),
        ("* * * a fine film", "* * * a fine film", ()),
        ("3. Oktober ist Feiertag", "3. Oktober ist Feiertag", ()),
        ("3. oktober er en fridag", "3. oktober er en fridag", ()),
        ("2) A fine film.", "A fine film.", ("markdown",)),
        ("# 1 in the charts", "# 1 in the charts", ()),
        ("Message: in a bottle washed ashore", "Message: in a bottle washed ashore", ()),
        ("Title: the word is all there is of it", "Title: the word is all there is of it", ()),
        ("Hypothesis: A fine film.", "A fine film.", ("lead",)),
        ("Review:", "Review:", ()),
        ("***", "***", ()),
    ],
)
def test_leads_and_markdown_go(tmp_path, text, bare, made):
    repairs = repairs_of(write_task(tmp_path), PLAIN)
    assert repairs.apply("text", text) == (bare, made)


def test_a_tasks_own_columns_are_leads(tmp_path):
    gold = "title,verdict\nA fine film,positive\nA dull film,negative\n"
    task = write_task(tmp_path, gold, gates={}, fields={"text": "title", "label": "verdict"})
    assert repairs_of(task, PLAIN).apply("text", "Title: A fine film") == ("A fine film", ("lead",))


def test_long_texts_take_no_time(tmp_path):
    repairs = repairs_of(write_task(tmp_path), PLAIN)
    began = time.process_time()
    for piece in ("**a ", "__a b ", "* ", "_", "*", "Review ", "``", "1. ", "\u00a0 ", '"a ', "'a "):
        repairs.apply("text", piece * 10_000)
    assert time.process_time() - began < 5


def test_what_gold_looks_like_is_left(tmp_path):
    quoted = pl.DataFrame({"text": [f'"Gold text {n}"' for n in range(10)] + ["- a list"] * 10})
    repairs = repairs_of(write_task(tmp_path), quoted)
    assert repairs.apply("text", '"A fine film."') == ('"A fine film."', ())
    assert repairs.apply("text", "- fine") == ("- fine", ())
    assert repairs.apply("text", "Review: fine") == ("fine", ("lead",))


def test_a_task_may_leave_texts_as_written(tmp_path):
    repairs = repairs_of(write_task(tmp_path, gates={"repair": False}), PLAIN)
    assert repairs.apply("text", ' "A fine film." ') == ('"A fine film."', ())
