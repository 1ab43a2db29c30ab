"""Finding task folders and reading their ``task.yaml``.

Belongs here: YAML to ``TaskSpec`` with errors that name file, line and key. Does not belong here: what keys mean
(``spec.py``), reading gold (``gold.py``).
"""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from s3_assets.tasks.spec import TaskSpec
from s3_assets.tasks.strategy import Strategy

TASK_FILE = "task.yaml"

# How pydantic marks a problem with the name of an entry rather than with what it holds.
_OF_A_NAME = "[key]"


class TaskError(ValueError):
    """A task cannot be used as declared. The message names the file, the place, what is wrong and what to do."""


@dataclass(frozen=True)
class Task:
    """A declared task and the folder its relative paths start from.

    ``keeps_weights`` is False for arms of experiments, whose students are measured and not used.
    """

    spec: TaskSpec
    folder: Path
    keeps_weights: bool = True

    @property
    def name(self) -> str:
        """Name of the task, also the name of its folder."""
        return self.spec.name

    def path(self, relative: str) -> Path:
        """A path written in the YAML, as an absolute path."""
        return (self.folder / Path(relative).expanduser()).resolve()


def find_tasks(folders: Iterable[Path]) -> dict[str, Path]:
    """Task folders by name. A name found in two places is a ``TaskError``; so is a listed folder that is absent."""
    found: dict[str, Path] = {}
    for folder in folders:
        if not folder.is_dir():
            raise TaskError(f"{folder}: no such folder; it is listed as a folder of tasks (S3_ASSETS_TASKS)")
        for file in sorted(folder.glob(f"*/{TASK_FILE}")):
            name = file.parent.name
            if name in found and found[name] != file.parent:
                raise TaskError(f"task {name!r} is declared twice: {found[name]} and {file.parent}; rename one")
            found[name] = file.parent
    return found


def get_task(name: str, folders: Iterable[Path]) -> Task:
    """The task called ``name``; ``TaskError`` listing the known names otherwise."""
    found = find_tasks(folders)
    if name not in found:
        near = difflib.get_close_matches(name, found, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        known = ", ".join(sorted(found)) or "none"
        raise TaskError(f"no task called {name!r}.{hint} Known tasks: {known}. `s3-assets new-task {name}` makes one.")
    return load_task(found[name])


def load_task(folder: Path) -> Task:
    """Read and validate ``task.yaml`` in ``folder``; ``TaskError`` with every problem found."""
    file = folder / TASK_FILE
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise TaskError(f"{file}: not UTF-8 (byte {error.start}); save the file as UTF-8") from error
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise TaskError(f"{file}: not valid YAML: {error}") from error
    if root is None or not isinstance(content, dict):
        raise TaskError(f"{file}: must hold keys such as name, labels and gold; it holds {type(content).__name__}")
    repeated = list(_repeated_keys(root))
    if repeated:
        raise TaskError("\n".join(f"{file}:{line}: {key}: given twice; keep one" for key, line in repeated))
    try:
        spec = TaskSpec.model_validate(content)
    except ValidationError as error:
        raise TaskError("\n".join(_explain(problem, root, file) for problem in error.errors())) from error
    if spec.name != folder.name:
        raise TaskError(f"{file}: name is {spec.name!r} but its folder is {folder.name!r}; make them the same")
    return Task(spec, folder)


def _explain(problem: Any, root: yaml.Node, file: Path) -> str:
    location = [str(part) for part in problem["loc"] if part != _OF_A_NAME]
    key = ".".join(location) or "the task"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        allowed = _keys_allowed(location[:-1])
        near = difflib.get_close_matches(location[-1], allowed, n=1)
        message = f"unknown key{f', did you mean {near[0]}?' if near else '.'} Allowed: {', '.join(allowed)}"
    elif problem["type"] == "missing":
        message = "is required"
    elif "input" in problem and not isinstance(problem["input"], dict):
        message = f"{message} (it is {problem['input']!r})"
    return f"{file}:{_line(root, location)}: {key}: {message}"


def _keys_allowed(section: list[str]) -> list[str]:
    """Keys of a section; of an own strategy also the one that names where it starts from."""
    model: type[BaseModel] = TaskSpec
    entries: Any = None
    for part in section:
        if entries is not None:
            found, entries = entries, None
        else:
            field = model.model_fields.get(part)
            found = None if field is None else _plain(field.annotation)
            if get_origin(found) is dict:
                entries = _plain(get_args(found)[1])
                continue
        if not isinstance(found, type) or not issubclass(found, BaseModel):
            return []
        model = found
    return [*(["base"] if model is Strategy else []), *model.model_fields]


def _plain(annotation: Any) -> Any:
    """The type in ``Annotated[type, ...]`` or ``type | None``."""
    return get_args(annotation)[0] if get_origin(annotation) in {Annotated, UnionType} else annotation


def _line(root: yaml.Node, location: list[str]) -> int:
    """Line of the deepest key of ``location`` that is written in the file, from 1."""
    node, line = root, root.start_mark.line + 1
    for part in location:
        if not isinstance(node, yaml.MappingNode):
            break
        match = next(((key, value) for key, value in node.value if key.value == part), None)
        if match is None:
            break
        line, node = match[0].start_mark.line + 1, match[1]
    return line


def _repeated_keys(node: yaml.Node) -> Iterable[tuple[str, int]]:
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if key.value in seen:
                yield key.value, key.start_mark.line + 1
            seen.add(key.value)
            yield from _repeated_keys(value)
