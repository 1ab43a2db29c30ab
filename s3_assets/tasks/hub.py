"""Files of rows on the Hugging Face hub: their names, local copies of them, and bringing them.

Belongs here: everything that is said to the hub for gold, contexts and seed rows. Does not belong here: reading files
(``files.py``), student weights (``student/weights.py``).
"""

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from s3_assets.tasks.load import TaskError

SCHEME = "hf://"

# Kinds of file that stand in for one on the hub, in the order they are looked for.
COPY_SUFFIXES = (".parquet", ".jsonl", ".csv")

# Longest wait for the hub's first sign of life, per address family, in seconds. huggingface_hub itself tries a hub
# that cannot be reached six times, which takes 23 s.
PATIENCE_SECONDS = 3.0

_NAME = re.compile(
    r"hf://datasets/(?P<repo>[^/@]+/[^/@]+)(?:@(?P<revision>refs/(?:convert/\w+|pr/\d+)|[^/@]+))?/(?P<path>[^@]+)"
)


@dataclass(frozen=True)
class HubFile:
    """A file of a data set on the hub, as ``hf://datasets/OWNER/NAME[@REVISION]/PATH`` names it."""

    url: str
    repo: str
    revision: str | None
    path: str


def hub_file(named: str, named_by: str) -> HubFile | None:
    """The file on the hub that ``named`` means, None for a path. ``TaskError`` for a name the hub cannot have."""
    if not named.startswith(SCHEME):
        return None
    found = _NAME.fullmatch(named)
    if found is None:
        raise TaskError(
            f"{named}: no name of a file on the hub; {named_by} names it; "
            "write hf://datasets/OWNER/NAME/PATH, or hf://datasets/OWNER/NAME@REVISION/PATH"
        )
    revision = found["revision"]
    return HubFile(named, found["repo"], None if revision is None else unquote(revision), found["path"])


def local_copy(folder: Path, key: str) -> Path | None:
    """The file in a task's folder that stands in for the one ``key`` names on the hub: ``KEY.parquet|jsonl|csv``."""
    copies = (folder / f"{key}{suffix}" for suffix in COPY_SUFFIXES)
    return next((copy for copy in copies if copy.is_file()), None)


def bring(file: HubFile, folder: Path, key: str, named_by: str, columns: Sequence[str]) -> Path:
    """Path of the file in the hub's cache, brought from the hub when it is not there yet.

    ``TaskError`` says why it cannot be had and which file in ``folder``, with which ``columns``, does instead.
    """
    # 0.3 s with what it loads at the first call.
    import httpx2
    import huggingface_hub
    from huggingface_hub import constants, errors

    def download(only_cached: bool) -> Path:
        return Path(
            huggingface_hub.hf_hub_download(
                file.repo,
                file.path,
                repo_type="dataset",
                revision=file.revision,
                local_files_only=only_cached,
                tqdm_class=_silent(),
            )
        )

    def unavailable(why: str) -> TaskError:
        first, *others = (f"{key}{suffix}" for suffix in COPY_SUFFIXES)
        return TaskError(
            f"{file.url}: {why}; {named_by} names it. Or provide it yourself as {folder.resolve() / first} "
            f"(or {', '.join(others)}) with the columns {', '.join(columns)}"
        )

    try:
        with contextlib.suppress(errors.LocalEntryNotFoundError):
            return download(only_cached=True)
        if constants.is_offline_mode():
            raise unavailable("not in the hub's cache, and HF_HUB_OFFLINE is set")
        if not _reachable(constants.ENDPOINT):
            raise unavailable(f"not in the hub's cache, and {constants.ENDPOINT} cannot be reached")
        return download(only_cached=False)
    except (errors.EntryNotFoundError, errors.HFValidationError, OSError, httpx2.HTTPError) as error:
        raise unavailable(_why(error)) from error


def _why(error: Exception) -> str:
    """What went wrong in words of ours: the hub's may hold addresses that were signed."""
    from huggingface_hub import errors

    for kind, why in (
        (errors.LocalEntryNotFoundError, "the connection to the hub failed"),
        (errors.EntryNotFoundError, "the data set has no such file"),
        (errors.RevisionNotFoundError, "the data set has no such revision"),
        (errors.GatedRepoError, "the terms of the data set must be accepted on the hub first"),
        (errors.RepositoryNotFoundError, "no such data set, or none that is open to you"),
    ):
        if isinstance(error, kind):
            return why
    return f"cannot be brought from the hub ({type(error).__name__})"


def _reachable(endpoint: str) -> bool:
    """Whether something answers at the hub's address; left to ``huggingface_hub`` where a proxy is in between."""
    import socket
    from urllib.request import getproxies

    url = urlsplit(endpoint)
    if {url.scheme, "all"} & getproxies().keys():
        return True
    port = url.port or (80 if url.scheme == "http" else 443)
    try:
        found = socket.getaddrinfo(url.hostname, port, type=socket.SOCK_STREAM)
    except OSError:
        return False
    for family, address in {family: address for family, _, _, _, address in reversed(found)}.items():
        with socket.socket(family, socket.SOCK_STREAM) as connection:
            connection.settimeout(PATIENCE_SECONDS)
            try:
                connection.connect(address)
            except OSError:
                continue
            return True
    return False


def _silent() -> type[Any]:
    """A progress bar that shows nothing."""
    from huggingface_hub.utils.tqdm import tqdm

    class Silent(tqdm):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **{**options, "disable": True})  # type: ignore[no-untyped-call]

    return Silent
