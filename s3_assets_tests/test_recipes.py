"""The recipes of ``docs/sql.md`` give what the page says they give."""

import pytest

from s3_assets_tests.recipes import PAGE, example_session, recipes, shown

RECIPES = recipes(PAGE.read_text())


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    with example_session(tmp_path_factory.mktemp("example") / "warehouse") as con:
        yield con


def test_there_are_twenty():
    assert [recipe.number for recipe in RECIPES] == list(range(1, 21))
    assert PAGE.read_text().count("```sql") == 20


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: f"{recipe.number}")
def test_a_recipe_gives_the_result_beside_it(recipe, example):
    assert recipe.result.count("\n") > 2, "no row is shown"
    # One thread and many give rows in the same order only where the query says it.
    for threads in (1, 4):
        example.execute(f"SET threads = {threads}")
        assert shown(example, recipe.query) == recipe.result, "python -m s3_assets_tests.recipes writes results anew"
