"""The model card and the data set card of an export: metadata that the hub reads, and facts as a page.

Belongs here: metadata, rendering. Does not belong here: the facts (``facts.py``, ``synthetic_rows.py``), sentences
(``card_words.py``), the cards' layout (``templates/``).
"""

import importlib.resources
import json
from dataclasses import dataclass
from typing import Any

import polars as pl

from s3_assets.drift.names import TEXT_METRICS, VECTOR_METRICS
from s3_assets.export import card_words as words
from s3_assets.export.facts import ExportFacts
from s3_assets.export.frozen_encoder import Agreement
from s3_assets.export.synthetic_rows import USER, SyntheticRows, without_gold
from s3_assets.loop.progress import Score
from s3_assets.report.blocks import NOTHING, measured, number, percent

CARD = "README.md"

# Folder of the rows in the model's folder.
DATASET = "dataset"

# In the metadata of both cards; an exported folder is known by it.
TAG = "s3-assets"

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))

# Shown in the example of how to use a model; longer ones are no help.
_LONGEST_EXAMPLE = 200


@dataclass(frozen=True)
class Model:
    """What was written of a model: texts are cut after ``longest`` tokens.

    ``agreement`` is how near the model of a frozen student is to it, None for a fine-tuned one. ``onnx`` is the path of
    its ONNX file in the folder and how far that is from the model, None without one.
    """

    longest: int
    agreement: Agreement | None = None
    onnx: tuple[str, float] | None = None


def model_card(facts: ExportFacts, model: Model, repo: str | None = None, licence: str | None = None) -> str:
    """The card of a model. ``repo`` is the name that it and its rows have on the hub; None: rows are beside it.

    ``licence`` is the hub's identifier of one; None: the card says that it has none.
    """
    task, found = facts.task, model.agreement
    frozen, base = found is not None, facts.base_model(found)
    return _metadata(_model_data(facts, base, repo, licence)) + _rendered(
        "model_card.md",
        task=task,
        why=facts.chosen.why,
        learned_from=words.learned_from(facts),
        learned_gold=words.learned_gold(facts),
        warning=words.warning(task),
        example=_example(facts),
        longest=model.longest,
        onnx=model.onnx,
        scores=words.scores(facts),
        said_of_held_out=words.held_out_decides(facts, frozen),
        labels=facts.label_scores,
        labels_of=facts.labels_of,
        made=[*words.made(facts), *words.trained(facts, found)],
        rounds=facts.rounds,
        repo=repo,
        dataset=DATASET,
        kept=words.keeps_texts_of(task),
        limits=words.model_limits(facts, found),
        lineage=words.lineage(facts),
        base_model=base,
        licence=licence,
    )


def dataset_card(facts: ExportFacts, rows: SyntheticRows, file: str, licence: str | None = None) -> str:
    """The card of the data set that holds ``rows`` in its ``file``. ``licence`` as of ``model_card``."""
    qa = facts.task.spec.kind == "qa"
    labels: dict[str, dict[int, int]] = {}
    by_round: dict[int, int] = {}
    for label, round_, count in rows.sizes.iter_rows():
        labels.setdefault(label, {})[round_] = count
        by_round[round_] = by_round.get(round_, 0) + count
    drift = {one["metric"]: one for one in facts.drift.to_dicts()}
    return _metadata(_dataset_data(facts, rows, file, licence)) + _rendered(
        "dataset_card.md",
        task=facts.task,
        rows=rows,
        round=facts.chosen.round,
        warning=words.warning(facts.task),
        title=words.title(rows),
        origin=words.origin(facts.task, rows),
        labels={} if qa else {name: labels[name] for name in facts.task.spec.labels if name in labels},
        rounds=sorted(by_round),
        by_round=dict(sorted(by_round.items())),
        made=words.made(facts),
        refusals=facts.refusals,
        drift=[_measure(drift[metric]) for metric in (*TEXT_METRICS, *VECTOR_METRICS) if metric in drift],
        limits=words.dataset_limits(facts, rows),
        licence=licence,
    )


def _metadata(data: Any) -> str:
    return f"---\n{data.to_yaml()}\n---\n\n"


def _model_data(facts: ExportFacts, base: str | None, repo: str | None, licence: str | None) -> Any:
    from huggingface_hub import EvalResult, ModelCardData  # 0.3 s

    task, test = facts.task, facts.figures.test
    qa = task.spec.kind == "qa"
    kind = "question-answering" if qa else "text-classification"
    results = []
    if test is not None:
        reached = {"exact_match" if qa else "accuracy": test.share, **({"f1": facts.figures.test_f1} if qa else {})}
        results = [
            EvalResult(
                task_type=kind,
                dataset_type=task.name,
                dataset_name=f"{task.name}, test gold ({test.rows} rows, not published)",
                dataset_split="test",
                metric_type=metric,
                metric_value=round(value, 4),
            )
            for metric, value in reached.items()
            if value is not None
        ]
    return ModelCardData(
        pipeline_tag=kind,
        library_name="transformers",
        base_model=base,
        license=licence,
        datasets=None if repo is None else [repo],
        metrics=["exact_match", "f1"] if qa else ["accuracy"],
        tags=[TAG, *(["synthetic-data"] if facts.written else [])],
        model_name=task.name if results else None,
        eval_results=results or None,
    )


def _dataset_data(facts: ExportFacts, rows: SyntheticRows, file: str, licence: str | None) -> Any:
    from huggingface_hub import DatasetCardData

    size = next((name for most, name in _SIZES if rows.rows.height < most), "n>1M")
    # Of rows that the task brought nobody says here who wrote them, a person or a model.
    creators = [*(["machine-generated"] if rows.written else []), *(["other"] if rows.brought else [])]
    return DatasetCardData(
        pretty_name=f"{facts.task.name}: {words.title(rows)}",
        license=licence,
        task_categories=["question-answering" if facts.task.spec.kind == "qa" else "text-classification"],
        size_categories=[size],
        annotations_creators=creators,
        # A list of its own: YAML would write a reference to the first.
        language_creators=[*creators],
        tags=[TAG, *(["synthetic"] if rows.written else [])],
        configs=[{"config_name": "default", "data_files": [{"split": "train", "path": file}]}],
    )


def _rendered(name: str, **facts: Any) -> str:
    import jinja2

    source = importlib.resources.files("s3_assets.export") / "templates" / name
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters |= {"cell": _cell, "literal": _literal}
    environment.globals |= {"number": number, "percent": percent, "share": _share}
    return environment.from_string(source.read_text(encoding="utf-8")).render(facts)


def _cell(value: object) -> str:
    """A value as it may stand in a cell of a table: on one line, nothing of it markup of tables or HTML."""
    return " ".join(str(value).split()).replace("|", "\\|").replace("<", "&lt;")


def _literal(text: str) -> str:
    """A text as Python writes it."""
    return json.dumps(text, ensure_ascii=False)


def _example(facts: ExportFacts) -> dict[str, str]:
    """Texts to try the model with, written by the teacher where it wrote them: never those of gold."""
    stand_in = {"text": "The bridge was built in 1909.", "text2": "When was the bridge built?"}
    rows = without_gold(facts.seed_set, facts.gold_rows).filter(pl.col("origin") != USER)
    for row in rows.select("text", "text2").iter_rows(named=True) if not facts.task.spec.keeps_context else ():
        if all(len(text or "") <= _LONGEST_EXAMPLE for text in row.values()):
            return {name: text or "" for name, text in row.items()}
    return stand_in


def _share(score: Score | None) -> str:
    return NOTHING if score is None else percent(score.share)


def _measure(row: dict[str, Any]) -> dict[str, str]:
    low, high = row["ci_low"], row["ci_high"]
    interval = NOTHING if low is None or high is None else f"{measured(low)} to {measured(high)}"
    return {
        "metric": row["metric"],
        "value": measured(row["value"]),
        "interval": interval,
        "floor": measured(row["floor"]),
    }
