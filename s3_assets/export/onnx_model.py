"""A saved model as an ONNX file, for runtimes without torch.

Belongs here: writing the file, comparing it with the model. Does not belong here: which model (``model_folder.py``).
"""

import contextlib
import importlib.util
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from s3_assets.export.errors import ExportError
from s3_assets.student.device import share_the_processor
from s3_assets.student.model import quiet

# Where runtimes look for it in a folder of transformers.
ONNX_FILE = "onnx/model.onnx"
PACKAGES = ("onnx", "onnxscript", "onnxruntime")

# Largest difference of a logit, relative to the largest logit: of rounding it is a hundredth of this.
MOST_DIFFERENCE = 1e-3

# Of several lengths, so that padding counts, and with a second text, which models of single texts read as well.
_TRIED = (("a text", "and another"), ("a longer text " * 9, "and one that is not as long"), ("", ""))


def refuse_without_packages() -> None:
    """``ExportError`` naming the pip extra, where a package that writes ONNX is missing."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ExportError(
            f"--onnx needs {', '.join(missing)}; install them, in the project's folder, with "
            ".venv/bin/pip install --editable '.[onnx]'"
        )


def write_onnx(folder: Path, *, questions: bool) -> float:
    """Write ``ONNX_FILE`` into the folder of a model; gives the largest difference of an output that was seen.

    Rows and tokens of its inputs may be any number. ``ExportError`` where packages are missing, the model cannot be
    written as ONNX, or what the file says is not what the model says. ``OSError`` where there is no room for it.
    """
    refuse_without_packages()
    share_the_processor()
    import torch
    import transformers

    kind = "AutoModelForQuestionAnswering" if questions else "AutoModelForSequenceClassification"
    with quiet():
        model = getattr(transformers, kind).from_pretrained(folder).eval()
        tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder)
    first, second = zip(*_TRIED, strict=True)
    batch = dict(tokenizer(list(first), list(second), padding=True, truncation=True, return_tensors="pt"))
    outputs = ["start_logits", "end_logits"] if questions else ["logits"]
    file = folder / ONNX_FILE
    file.parent.mkdir()
    any_size = {name: dict.fromkeys((0, 1), torch.export.Dim.DYNAMIC) for name in batch}
    with warnings.catch_warnings(), _silent("torch.onnx"), _failures_told():
        # The exporter's own calls of what torch has deprecated.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (),
            str(file),
            kwargs=batch,
            input_names=list(batch),
            output_names=outputs,
            dynamic_shapes={**any_size},
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    with _failures_told():
        return _difference(file, model, tokenizer, outputs)


def _difference(file: Path, model: Any, tokenizer: Any, outputs: list[str]) -> float:
    import numpy as np
    import onnxruntime
    import torch

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    largest = 0.0
    # Other numbers of rows and tokens than it was written with.
    for first, second in (*_TRIED, ("one", None)):
        batch = dict(tokenizer(first, second, truncation=True, return_tensors="pt"))
        said = session.run(outputs, {name: values.numpy() for name, values in batch.items()})
        with torch.inference_mode():
            wanted = model(**batch)
        for name, values in zip(outputs, said, strict=True):
            own = wanted[name].numpy()
            apart = float(np.abs(values - own).max())
            if not apart <= MOST_DIFFERENCE * max(1.0, float(np.abs(own).max())):
                raise ExportError(f"the ONNX file differs from the model by {apart:.2g} in {name}; leave out --onnx")
            largest = max(largest, apart)
    return largest


@contextlib.contextmanager
def _failures_told() -> Iterator[None]:
    try:
        yield
    except (ExportError, OSError):
        raise
    except Exception as error:
        # The exporter and the runtime share no error, and each runs code of several packages.
        why = next(iter(str(error).strip().splitlines()), "")
        raise ExportError(
            f"this model cannot be written as ONNX ({type(error).__name__}{': ' if why else ''}{why}); leave out --onnx"
        ) from error


@contextlib.contextmanager
def _silent(name: str) -> Iterator[None]:
    """Without what the exporter logs of packages that it does not need."""
    log = logging.getLogger(name)
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)
