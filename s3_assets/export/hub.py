"""An exported folder sent to the Hugging Face hub: the model, and its rows as a data set of the same name.

Belongs here: everything said to the hub about an export. Does not belong here: what is in the folder (``folder.py``),
reading gold from the hub (``tasks/hub.py``).
"""

import os
import re
from pathlib import Path
from typing import Any

from s3_assets.export.errors import ExportError
from s3_assets.export.model_folder import FILES
from s3_assets.export.onnx_model import ONNX_FILE
from s3_assets.export.synthetic_rows import ROWS_FILES

TOKEN_VARIABLE = "HF_TOKEN"  # noqa: S105

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def hub_token(repo: str) -> str:
    """The token that ``repo`` is written with, from the environment alone.

    ``ExportError`` without one, and for a name that the hub cannot have: both are known before any work is done.
    """
    if not _NAME.fullmatch(repo):
        raise ExportError(f"--push {repo}: no name on the hub; write OWNER/NAME")
    token = os.environ.get(TOKEN_VARIABLE, "").strip()
    if not token:
        raise ExportError(
            f"--push needs a token of the hub that may write: set the environment variable {TOKEN_VARIABLE} (it is "
            "read from nowhere else)"
        )
    return token


def push(folder: Path, repo: str, token: str, *, private: bool, dataset: str | None) -> list[str]:
    """Send the model in ``folder``, and the rows in its folder ``dataset`` unless that is None; gives their addresses.

    Both are made where they are not there. Files of an earlier export are deleted that this one does not have; others,
    as a licence, stay. ``ExportError`` where the hub refuses, and where ``private`` is wanted and
    what is there is public: nothing is sent to it then.
    """
    import httpx2
    import huggingface_hub
    from huggingface_hub import errors

    hub = huggingface_hub.HfApi(token=token)
    model, rows = [*FILES, ONNX_FILE], [*ROWS_FILES]
    parts = [("model", folder, [f"{dataset}/**"] if dataset is not None else None, model)]
    parts += [("dataset", folder / dataset, None, rows)] if dataset is not None else []
    try:
        addresses = [_made(hub, repo, kind, private=private) for kind, *_ in parts]
        for kind, place, without, ours in parts:
            hub.upload_folder(
                repo_id=repo,
                folder_path=place,
                repo_type=kind,
                ignore_patterns=without,
                delete_patterns=ours,
                commit_message="Exported by s3-assets",
            )
    except (errors.HfHubHTTPError, errors.HFValidationError, OSError, httpx2.HTTPError) as error:
        # In words of ours: the hub's may hold addresses that were signed.
        raise ExportError(
            f"{folder} is written, but it could not be sent to {repo}: {_why(error)}. Run the command again with "
            "--force when that is mended"
        ) from error
    return addresses


def _made(hub: Any, repo: str, kind: str, *, private: bool) -> str:
    address = str(hub.create_repo(repo, repo_type=kind, private=private, exist_ok=True))
    # What is there already keeps its visibility, whatever was asked for.
    if private and not hub.repo_info(repo, repo_type=kind).private:
        raise ExportError(
            f"{address} is there and public; nothing was sent. Make it private on the hub, choose another name, or say "
            "--public"
        )
    return address


def _why(error: Exception) -> str:
    from huggingface_hub import errors

    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in {401, 403}:
        return f"the token in {TOKEN_VARIABLE} may not write there ({status})"
    if isinstance(error, errors.HfHubHTTPError) and status is not None:
        return f"the hub answered {status}"
    return f"the connection failed ({type(error).__name__})"
