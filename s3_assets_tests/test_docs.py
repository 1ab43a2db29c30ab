"""What README and docs tell people to type exists: make targets, commands and options, scripts, queries, links."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from s3_assets.cli.app import app
from s3_assets.cli.sql import run_sql
from s3_assets.store.catalog import build_catalog
from s3_assets.store.parts import Warehouse
from s3_assets_tests.fakes import REPOSITORY

README = REPOSITORY / "README.md"
DOCUMENTS = [README, REPOSITORY / "CONTEXT.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]


def blocks(language: str, document: Path = README) -> list[str]:
    """Fenced blocks of one language, indented ones too."""
    return re.findall(rf"^ *```{language}\n(.*?)^ *```$", document.read_text(), re.DOTALL | re.MULTILINE)


def command_lines() -> list[list[str]]:
    """Words of every line of the console blocks, environment settings left out."""
    shown = [block for document in DOCUMENTS for block in blocks("console", document)]
    lines = [shlex.split(line, comments=True) for block in shown for line in block.splitlines()]
    return [[word for word in line if not re.match(r"[A-Z0-9_]+=", word)] for line in lines if line]


def commands_of(program: str) -> list[list[str]]:
    found = [line[1:] for line in command_lines() if Path(line[0]).name == program]
    assert found, f"README shows no {program} command"
    return found


def recipes() -> list[str]:
    shown = [block for document in DOCUMENTS for block in blocks("sql", document)]
    return [query for block in shown for query in block.split(";") if query.strip()]


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    for words in commands_of("make"):
        assert set(words) <= targets, words


def test_commands_and_their_options_exist():
    group = typer.main.get_command(app)
    for name, *words in commands_of("s3-assets"):
        command = group.commands[name]  # type: ignore[attr-defined]
        # Parses without running: unknown options and missing arguments raise.
        command.make_context(name, list(words))


def test_every_command_is_shown():
    group = typer.main.get_command(app)
    text = README.read_text()
    for name in group.commands:  # type: ignore[attr-defined]
        assert f"s3-assets {name}" in text or f"make {name}" in text, f"README does not show {name}"


def test_scripts_exist():
    for script, *_ in commands_of("python"):
        assert (REPOSITORY / script).is_file(), script


@pytest.fixture(scope="module")
def empty(tmp_path_factory) -> Warehouse:
    warehouse = Warehouse(tmp_path_factory.mktemp("empty") / "warehouse")
    build_catalog(warehouse)
    return warehouse


@pytest.mark.parametrize("query", recipes())
def test_recipes_run_on_an_empty_warehouse(query, empty):
    assert run_sql(empty, query, "csv") == 0


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_links_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
        if not target.startswith("http"):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_readme_lists_every_folder_of_the_package():
    text = README.read_text()
    for folder in (REPOSITORY / "s3_assets").iterdir():
        if folder.is_dir() and (folder / "__init__.py").exists():
            assert f"{folder.name}/" in text, f"README does not say what {folder.name}/ holds"
