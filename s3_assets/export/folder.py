"""The exported folder: a model with its card, and the rows it learned from beside it; whole or not at all.

Belongs here: what goes into the folder, putting it in place. Does not belong here: the model's files
(``model_folder.py``), cards (``cards.py``), the command (``cli/export.py``).
"""

import contextlib
import fnmatch
import json
import re
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from s3_assets.export.cards import CARD, DATASET, TAG, Model, dataset_card, model_card
from s3_assets.export.errors import ExportError
from s3_assets.export.facts import ExportFacts, read_export
from s3_assets.export.model_folder import FILES, write_model
from s3_assets.export.onnx_model import ONNX_FILE, refuse_without_packages, write_onnx
from s3_assets.export.synthetic_rows import ROWS_FILES, DatasetFormat, SyntheticRows, synthetic_rows
from s3_assets.loop.best_student import choose_student
from s3_assets.store.parts import Warehouse
from s3_assets.student.folders import whole_folder
from s3_assets.tasks.load import Task

_TOKENIZER = "tokenizer_config.json"

# Identifiers of licences as the hub has them; which there are, it knows.
_LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]*")


@dataclass(frozen=True)
class Exported:
    """What was written to ``folder``: the student of a round, and the file of the rows it learned from."""

    folder: Path
    facts: ExportFacts
    model: Model
    rows: SyntheticRows
    rows_file: Path

    @property
    def model_bytes(self) -> int:
        """Size of everything but the rows."""
        files = (file for file in self.folder.rglob("*") if file.is_file())
        return sum(file.stat().st_size for file in files if file.relative_to(self.folder).parts[0] != DATASET)


def export_student(
    task: Task,
    warehouse: Warehouse,
    to: Path,
    *,
    round_: int | None = None,
    shape: DatasetFormat = DatasetFormat.parquet,
    onnx: bool = False,
    repo: str | None = None,
    licence: str | None = None,
    force: bool = False,
) -> Exported:
    """Write the task's student of ``round_``, by default the one that held-out gold chooses, to the folder ``to``.

    ``repo`` is the name that cards give to model and rows on the hub, ``licence`` the hub's identifier of one that they
    declare. ``force`` replaces an earlier export. ``ExportError`` where the folder or the student cannot be,
    ``NotReady`` where there is no live student, ``WeightsError`` where a frozen student's encoder cannot be loaded.
    """
    if licence is not None and not _LICENCE.fullmatch(licence):
        raise ExportError(
            f"--license {licence}: no identifier of a licence; write it as the hub does, in small letters, as mit, "
            "apache-2.0 or cc-by-sa-4.0"
        )
    with _refusals_told(to):
        refuse_place(to, force=force)
    if onnx:
        refuse_without_packages()
    chosen = choose_student(task, warehouse, round_)
    facts = read_export(task, warehouse, chosen)
    rows = synthetic_rows(task, facts.seed_set, facts.gold_rows)
    with _refusals_told(to), _in_place(to) as pending:
        found = write_model(chosen.folder, pending, facts.texts)
        apart = (ONNX_FILE, write_onnx(pending, questions=task.spec.kind == "qa")) if onnx else None
        longest = json.loads((pending / _TOKENIZER).read_text(encoding="utf-8"))["model_max_length"]
        model = Model(longest, found, apart)
        (pending / DATASET).mkdir()
        name = rows.write(pending / DATASET, shape)
        (pending / CARD).write_text(model_card(facts, model, repo, licence), encoding="utf-8")
        (pending / DATASET / CARD).write_text(dataset_card(facts, rows, name, licence), encoding="utf-8")
    return Exported(to, facts, model, rows, to / DATASET / name)


def refuse_place(to: Path, *, force: bool) -> None:
    """``ExportError`` where ``to`` is there and may not be replaced.

    That is so without ``force``, where it is no export, and where it holds what no export writes.
    """
    if not to.exists():
        return
    if not force:
        raise ExportError(f"{to}: is there already; choose another folder, or replace an earlier export with --force")
    if to.is_symlink() or not to.is_dir() or (any(to.iterdir()) and not is_export(to)):
        raise ExportError(
            f"{to}: is no folder that this command wrote ({CARD} with the tag {TAG}), so --force does not replace it; "
            "choose another folder"
        )
    if found := foreign(to):
        raise ExportError(
            f"{to}: holds {', '.join(found)}, which this command did not write and --force would delete; move them, or "
            "choose another folder"
        )


def foreign(folder: Path) -> list[str]:
    """What lies in an exported ``folder`` that no export writes, as paths in it."""
    onnx = ONNX_FILE.partition("/")[0]
    ours = {"": (*FILES, CARD), DATASET: (CARD, *ROWS_FILES), onnx: (ONNX_FILE.partition("/")[2],)}
    found = []
    for inside, names in ours.items():
        place = folder / inside
        for one in sorted(place.iterdir()) if place.is_dir() else ():
            own = one.is_file() and any(fnmatch.fnmatch(one.name, name) for name in names)
            if not own and not (inside == "" and one.name in ours and one.is_dir()):
                found.append(one.relative_to(folder).as_posix())
    return found


def is_export(folder: Path) -> bool:
    """Whether ``folder`` has the card that an export has, whatever a person changed in it since."""
    try:
        _, head, _ = (folder / CARD).read_text(encoding="utf-8").split("---\n", 2)
        found = yaml.safe_load(head)
    except (OSError, ValueError, yaml.YAMLError):
        return False
    return isinstance(found, dict) and TAG in (found.get("tags") or [])


@contextlib.contextmanager
def _refusals_told(to: Path) -> Iterator[None]:
    """``ExportError`` for what the disk refuses."""
    try:
        yield
    except OSError as error:
        raise ExportError(
            f"{to}: cannot be written ({error.strerror or error}); choose another folder with --to"
        ) from error


@contextlib.contextmanager
def _in_place(to: Path) -> Iterator[Path]:
    """``whole_folder``, which takes the place of a folder that is there once it is complete."""
    if not to.exists():
        with whole_folder(to) as pending:
            yield pending
        return
    fresh, before = (to.parent / f".{to.name}-{secrets.token_hex(4)}.{what}" for what in ("new", "old"))
    with whole_folder(fresh) as pending:
        yield pending
    to.rename(before)
    try:
        fresh.rename(to)
    except OSError:
        before.rename(to)
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    shutil.rmtree(before)
