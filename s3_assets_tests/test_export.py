"""The exported folder: it loads with transformers alone, says what the student says, and is whole or not there."""

import hashlib
import importlib.util
import json
import shutil
import tomllib
from dataclasses import replace

import polars as pl
import pytest
import yaml

from s3_assets.cli.export import export
from s3_assets.export import folder as export_folder
from s3_assets.export import onnx_model
from s3_assets.export.errors import ExportError
from s3_assets.export.folder import export_student, is_export
from s3_assets.export.onnx_model import PACKAGES
from s3_assets.export.synthetic_rows import DatasetFormat, synthetic_rows
from s3_assets.loop.best_student import choose_student
from s3_assets.loop.fingerprints import loop_key
from s3_assets.student.load import load_student
from s3_assets.student.model import quiet
from s3_assets_tests.exported import COLOURS, SECRET, everything, pair_loop, qa_loop, shown_code, single_loop
from s3_assets_tests.fakes import REPOSITORY


@pytest.fixture(scope="module")
def single(tmp_path_factory, tiny_student):
    return single_loop(tmp_path_factory.mktemp("single"), tiny_student, rounds=2)


@pytest.fixture(scope="module")
def pair(tmp_path_factory, tiny_student):
    return pair_loop(tmp_path_factory.mktemp("pair"), tiny_student)


@pytest.fixture(scope="module")
def questions(tmp_path_factory, tiny_student):
    return qa_loop(tmp_path_factory.mktemp("qa"), tiny_student)


def run(code, folder, monkeypatch):
    """What the code of a card leaves, run in its folder."""
    monkeypatch.chdir(folder)
    left = {}
    with quiet():
        exec(compile(code, "README.md", "exec"), left)
    return left


@pytest.mark.usefixtures("float32")
def test_a_single_task_loads_as_a_pipeline(single, tmp_path, monkeypatch):
    task, warehouse = single
    done = export_student(task, warehouse, tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    classify = run(shown_code(card), tmp_path / "out", monkeypatch)["classify"]
    gold = warehouse.live("gold", {"task": task.name}).read()
    # Longer than what the student reads, too.
    texts = [*gold["text"][:20], "a film " * 300]
    rows = pl.DataFrame({"text": texts, "text2": None}, schema={"text": pl.String, "text2": pl.String})
    wanted = load_student(choose_student(task, warehouse).folder).predict(rows)
    found = [classify(text, truncation=True)[0] for text in texts]
    assert [one["label"] for one in found] == wanted["prediction"].to_list()
    assert [one["score"] for one in found] == pytest.approx(wanted["probability"].to_list(), abs=1e-5)
    assert {one["label"] for one in classify(texts[0], top_k=None)} == set(task.spec.labels)
    assert done.model_bytes > 100_000


@pytest.mark.usefixtures("float32")
def test_a_pair_task_loads_as_a_pipeline(pair, tmp_path, monkeypatch):
    task, warehouse = pair
    export_student(task, warehouse, tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    classify = run(shown_code(card), tmp_path / "out", monkeypatch)["classify"]
    rows = warehouse.live("gold", {"task": task.name}).read().select("text", "text2").head(12)
    wanted = load_student(choose_student(task, warehouse).folder).predict(rows)
    pairs = [{"text": text, "text_pair": text2} for text, text2 in rows.iter_rows()]
    found = [classify(one, truncation=True) for one in pairs]
    assert [one["label"] for one in found] == wanted["prediction"].to_list()
    assert [one["score"] for one in found] == pytest.approx(wanted["probability"].to_list(), abs=1e-5)


def test_questions_are_answered_by_the_code_of_the_card(questions, tmp_path, monkeypatch):
    task, warehouse = questions
    export_student(task, warehouse, tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    answer = run(shown_code(card), tmp_path / "out", monkeypatch)["answer"]
    rows = warehouse.live("gold", {"task": task.name}).read().select("text", "text2").head(10)
    # Several windows.
    rows = pl.concat([rows, rows.with_columns(pl.concat_str([pl.col("text")] * 5, separator=" "))])
    # A question that leaves no room for the context.
    rows = pl.concat([rows, rows.tail(2).with_columns(pl.concat_str([pl.col("text2")] * 60, separator=" "))])
    wanted = load_student(choose_student(task, warehouse).folder).predict(rows)
    assert [answer(text2, text)[0] for text, text2 in rows.iter_rows()] == wanted["prediction"].to_list()
    assert answer("Which colour?", "") == ("", float("-inf"))


def test_files_are_those_of_the_student_and_no_others(single, tmp_path):
    task, warehouse = single
    chosen = choose_student(task, warehouse)
    (chosen.folder / "ours.json").write_text("{}")
    export_student(task, warehouse, tmp_path / "out")
    (chosen.folder / "ours.json").unlink()
    kept = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert {file.name for file in (tmp_path / "out").iterdir()} == {*kept, "README.md", "dataset"}
    digest = hashlib.sha256((tmp_path / "out" / "model.safetensors").read_bytes()).hexdigest()
    assert digest == chosen.row["weights_digest"]
    # Nothing tells where it was made.
    assert str(tmp_path.parent) not in everything(tmp_path / "out")


def test_the_rows_are_a_data_set_without_gold(single, tmp_path):
    task, warehouse = single
    done = export_student(task, warehouse, tmp_path / "out", round_=1)
    rows = pl.read_parquet(tmp_path / "out" / "dataset" / "train.parquet")
    assert rows.columns == ["review", "verdict", "example_id", "origin", "first_round", "gold_id"]
    seed_set = warehouse.live("seed_set", loop_key(task, 1).columns()).read()
    assert rows["review"].to_list() == seed_set["text"].to_list()
    assert rows["verdict"].to_list() == seed_set["label"].to_list()
    assert set(rows["origin"]) == {"seed", "extrapolated"}
    gold = warehouse.live("gold", {"task": task.name}).read()
    assert not set(rows["review"]) & set(gold["text"])
    assert done.rows.sizes["rows"].sum() == rows.height


def declared_with(task, fields):
    return replace(task, spec=task.spec.model_copy(update={"fields": fields}))


def test_a_row_that_repeats_gold_is_left_out_and_names_do_not_clash(single):
    task, warehouse = single
    seed_set = warehouse.live("seed_set", loop_key(task, 0).columns()).read()
    gold = warehouse.live("gold", {"task": task.name}).read()
    copied = seed_set.with_columns(
        text=pl.when(pl.int_range(pl.len()) == 3).then(pl.lit(gold["text"][0])).otherwise("text")
    )
    fields = task.spec.fields.model_copy(update={"text": "origin"})
    found = synthetic_rows(declared_with(task, fields), copied, gold)
    assert (found.left_out, found.rows.height) == (1, seed_set.height - 1)
    assert found.rows.columns[:4] == ["origin", "verdict", "example_id", "s3_origin"]


def test_rows_as_jsonl(questions, tmp_path):
    task, warehouse = questions
    export_student(task, warehouse, tmp_path / "out", shape=DatasetFormat.jsonl)
    lines = (tmp_path / "out" / "dataset" / "train.jsonl").read_text().splitlines()
    first = json.loads(lines[0])
    assert list(first)[:4] == ["context", "question", "reply", "answer_start"]
    start = first["answer_start"]
    assert first["context"][start : start + len(first["reply"])] == first["reply"]
    assert first["reply"] in COLOURS


def test_secrets_of_the_teacher_are_nowhere(pair, questions, tmp_path):
    for place, (task, warehouse) in enumerate((pair, questions)):
        assert SECRET in task.spec.teacher.base_url
        export_student(task, warehouse, tmp_path / str(place), shape=DatasetFormat.jsonl)
        told = everything(tmp_path / str(place))
        assert SECRET not in told
        assert "127.0.0.1" not in told
        assert "writer-1" in told


def test_a_folder_that_is_there_stays_unless_it_is_an_export(single, tmp_path):
    task, warehouse = single
    own = tmp_path / "own"
    own.mkdir()
    (own / "README.md").write_text("---\ntags: [mine]\n---\n")
    with pytest.raises(ExportError, match="is there already"):
        export_student(task, warehouse, own)
    with pytest.raises(ExportError, match="no folder that this command wrote"):
        export_student(task, warehouse, own, force=True)
    assert [file.name for file in own.iterdir()] == ["README.md"]
    export_student(task, warehouse, tmp_path / "out")
    with pytest.raises(ExportError, match="--force"):
        export_student(task, warehouse, tmp_path / "out")
    # A licence that a person added makes it no other folder.
    card = tmp_path / "out" / "README.md"
    card.write_text(card.read_text().replace("---\n", "---\nlicense: mit\n", 1))
    assert is_export(tmp_path / "out")
    export_student(task, warehouse, tmp_path / "out", shape=DatasetFormat.jsonl, force=True)
    assert not (tmp_path / "out" / "dataset" / "train.parquet").exists()
    assert sorted(place.name for place in tmp_path.iterdir()) == ["out", "own"]


def test_force_deletes_nothing_that_no_export_writes(single, tmp_path):
    task, warehouse = single
    out = tmp_path / "out"
    export_student(task, warehouse, out)
    (out / "onnx").mkdir()
    for place in ("onnx/model.onnx", "LICENSE", "dataset/notes.txt", "onnx/model_int8.onnx"):
        (out / place).write_text("mine")
    for place in (".git", "checkpoints", "own.model"):
        (out / place).mkdir()
    with pytest.raises(ExportError, match="which this command did not write") as raised:
        export_student(task, warehouse, out, force=True)
    named = ".git, LICENSE, checkpoints, own.model, dataset/notes.txt, onnx/model_int8.onnx,"
    assert f"holds {named} which" in str(raised.value)
    assert (out / "LICENSE").read_text() == "mine"


@pytest.mark.parametrize("there", [False, True])
def test_an_export_that_fails_leaves_what_was(single, tmp_path, monkeypatch, there):
    task, warehouse = single
    if there:
        export_student(task, warehouse, tmp_path / "out")
        before = (tmp_path / "out" / "README.md").read_text()

    def fails(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export_folder, "dataset_card", fails)
    with pytest.raises(ExportError, match=r"out: cannot be written \(No space left on device\)"):
        export_student(task, warehouse, tmp_path / "out", force=True)
    assert [place.name for place in tmp_path.iterdir()] == (["out"] if there else [])
    if there:
        assert (tmp_path / "out" / "README.md").read_text() == before


def test_what_cannot_be_read_is_not_said_to_be_unwritable(home, tmp_path, monkeypatch, small_task):
    def fails(*_):
        raise OSError(5, "Input/output error", "/store/part.parquet")

    monkeypatch.setattr(export_folder, "choose_student", fails)
    with pytest.raises(OSError, match=r"part\.parquet"):
        export(small_task.name, tmp_path / "out")


def test_several_students_are_no_single_model(single, tmp_path):
    task, warehouse = single
    member = choose_student(task, warehouse).folder / "member_1"
    member.mkdir()
    try:
        with pytest.raises(ExportError, match="distil: true"):
            export_student(task, warehouse, tmp_path / "out")
    finally:
        shutil.rmtree(member)
    assert not (tmp_path / "out").exists()


def test_the_command_says_what_it_wrote(command, tiny_student, tmp_path):
    task, _ = single_loop(tmp_path / "tasks", tiny_student)
    shutil.move(tmp_path / "tasks" / "warehouse", tmp_path / "warehouse")
    code, said, _ = command("export", task.name, "--to", str(tmp_path / "out"))
    assert code == 0
    assert "best on selecting gold" in said
    assert "dataset/train.parquet: 24 rows it learned from" in said
    assert f'pipeline("text-classification", "{tmp_path / "out"}")' in said
    assert "No licence" in said
    code, said, _ = command("export", task.name, "--to", str(tmp_path / "licensed"), "--license", "apache-2.0")
    assert code == 0
    assert "No licence" not in said
    for place in ("README.md", "dataset/README.md"):
        assert "\nlicense: apache-2.0\n" in (tmp_path / "licensed" / place).read_text()
    code, _, error = command("export", task.name, "--to", str(tmp_path / "more"), "--license", "MIT License")
    assert code == 2
    assert "write it as the hub does" in error
    code, said, error = command("export", task.name, "--to", str(tmp_path / "out"))
    assert (code, said) == (2, "")
    assert "--force" in error
    code, _, error = command("export", task.name, "--to", str(tmp_path / "more"), "--round", "2")
    assert code == 2
    assert "round 2" in error
    (tmp_path / "file").touch()
    code, _, error = command("export", task.name, "--to", str(tmp_path / "file" / "out"))
    assert code == 2
    assert "cannot be written" in error


def test_onnx_names_what_is_missing(single, tmp_path, monkeypatch):
    task, warehouse = single
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ExportError, match=r"pip install --editable '\.\[onnx\]'"):
        export_student(task, warehouse, tmp_path / "out", onnx=True)
    declared = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]["onnx"]
    assert {word.partition(">")[0] for word in declared} == set(PACKAGES)


@pytest.mark.parametrize("failure", [NotImplementedError("no such\noperator"), RuntimeError()])
def test_what_the_exporter_stumbles_over_is_told(single, tmp_path, monkeypatch, failure):
    task, warehouse = single
    export_student(task, warehouse, tmp_path / "out")

    def fails(*_, **__):
        raise failure

    monkeypatch.setattr(onnx_model, "refuse_without_packages", lambda: None)
    monkeypatch.setattr("torch.onnx.export", fails)
    why = ": no such" if str(failure) else ""
    said = rf"cannot be written as ONNX \({type(failure).__name__}{why}\); leave out --onnx"
    with pytest.raises(ExportError, match=said):
        onnx_model.write_onnx(tmp_path / "out", questions=False)


@pytest.mark.onnx
@pytest.mark.parametrize("kind", ["single", "questions"])
def test_onnx_says_what_the_model_says(kind, request, tmp_path):
    import onnxruntime as runtime

    task, warehouse = request.getfixturevalue(kind)
    done = export_student(task, warehouse, tmp_path / "out", onnx=True)
    file, apart = done.model.onnx
    assert apart < 1e-4
    session = runtime.InferenceSession(str(tmp_path / "out" / file))
    assert {one.name for one in session.get_inputs()} == {"input_ids", "attention_mask", "token_type_ids"}
    assert f"`{file}`" in (tmp_path / "out" / "README.md").read_text()


def test_metadata_of_both_cards_can_be_read(single, tmp_path):
    task, warehouse = single
    export_student(task, warehouse, tmp_path / "out")
    for place in ("README.md", "dataset/README.md"):
        _, head, _ = (tmp_path / "out" / place).read_text().split("---\n", 2)
        assert "s3-assets" in yaml.safe_load(head)["tags"]
