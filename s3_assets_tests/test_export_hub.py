"""An export sent to the hub: what is said to it, what stays there, what is refused. The hub is a fake."""

from types import SimpleNamespace

import pytest
from huggingface_hub.utils import filter_repo_objects

from s3_assets.export.errors import ExportError
from s3_assets.export.folder import export_student
from s3_assets.export.hub import TOKEN_VARIABLE, push
from s3_assets_tests.exported import everything, single_loop


@pytest.fixture(scope="module")
def exported(tmp_path_factory, tiny_student):
    place = tmp_path_factory.mktemp("hub")
    task, warehouse = single_loop(place, tiny_student)
    export_student(task, warehouse, place / "out", repo="ana/reviews")
    return place / "out"


class FakeHub:
    """Keeps what is said to the hub; repositories in ``public`` are there and public, ``files`` lie in each."""

    def __init__(self, public=(), refuses=None, files=()):
        self.said, self.public, self.refuses, self.token = [], public, refuses, None
        self.files, self.deleted = files, {}

    def __call__(self, token):
        self.token = token
        return self

    def create_repo(self, repo, *, repo_type, private, exist_ok):
        assert exist_ok
        self.said.append(("create", repo_type, repo, private))
        return f"https://hub.example/{repo_type}s/{repo}"

    def repo_info(self, repo, *, repo_type):
        made = {kind: private for what, kind, _, private in self.said if what == "create"}
        return SimpleNamespace(private=made[repo_type] and repo_type not in self.public)

    def upload_folder(self, *, repo_id, folder_path, repo_type, ignore_patterns, delete_patterns, commit_message):
        if self.refuses is not None:
            raise self.refuses
        self.said.append(("upload", repo_type, repo_id, folder_path, ignore_patterns))
        # What is sent in the same commit is not deleted.
        sent = {file.relative_to(folder_path).as_posix() for file in folder_path.rglob("*")}
        ours = filter_repo_objects(self.files, allow_patterns=delete_patterns)
        self.deleted[repo_type] = sorted(set(ours) - sent)


def test_model_and_rows_are_sent_to_the_hub(exported, monkeypatch):
    hub = FakeHub()
    monkeypatch.setattr("huggingface_hub.HfApi", hub)
    addresses = push(exported, "ana/reviews", "hf_token", private=True, dataset="dataset")
    assert addresses == ["https://hub.example/models/ana/reviews", "https://hub.example/datasets/ana/reviews"]
    assert hub.token == "hf_token"
    assert hub.said == [
        ("create", "model", "ana/reviews", True),
        ("create", "dataset", "ana/reviews", True),
        ("upload", "model", "ana/reviews", exported, ["dataset/**"]),
        ("upload", "dataset", "ana/reviews", exported / "dataset", None),
    ]
    assert "hf_token" not in everything(exported)


def test_files_of_an_earlier_export_do_not_stay_on_the_hub(exported, monkeypatch):
    earlier = ("onnx/model.onnx", "train.jsonl", "train.parquet", "vocab.txt", "model.safetensors")
    own = ("LICENSE", ".gitattributes", "onnx/model_int8.onnx", "pictures/curve.png", "README.md", "handler.py")
    hub = FakeHub(files=(*earlier, *own))
    monkeypatch.setattr("huggingface_hub.HfApi", hub)
    push(exported, "ana/reviews", "hf_token", private=True, dataset="dataset")
    assert hub.deleted == {"model": ["onnx/model.onnx", "vocab.txt"], "dataset": ["train.jsonl"]}


def test_nothing_private_is_sent_where_everybody_can_see_it(exported, monkeypatch):
    hub = FakeHub(public=("dataset",))
    monkeypatch.setattr("huggingface_hub.HfApi", hub)
    with pytest.raises(ExportError, match="datasets/ana/reviews is there and public; nothing was sent"):
        push(exported, "ana/reviews", "hf_token", private=True, dataset="dataset")
    assert not [said for said in hub.said if said[0] == "upload"]
    push(exported, "ana/reviews", "hf_token", private=False, dataset="dataset")
    assert ("create", "model", "ana/reviews", False) in hub.said


def test_what_the_hub_refuses_is_told_without_its_addresses(exported, monkeypatch):
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError

    response = httpx2.Response(403, request=httpx2.Request("POST", "https://hub.example/?signature=sk-1"))
    refusal = HfHubHTTPError("403 for https://hub.example/?signature=sk-1", response=response)
    for refuses, why in ((refusal, "may not write there"), (httpx2.ConnectError("no route"), "connection failed")):
        monkeypatch.setattr("huggingface_hub.HfApi", FakeHub(refuses=refuses))
        with pytest.raises(ExportError, match=why) as raised:
            push(exported, "ana/reviews", "hf_token", private=True, dataset="dataset")
        assert "sk-1" not in str(raised.value)
        assert "hf_token" not in str(raised.value)


def test_push_is_refused_before_anything_is_written(command, monkeypatch, tmp_path, small_task):
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    words = ("export", small_task.name, "--to", str(tmp_path / "out"), "--push")
    code, _, error = command(*words, "ana/reviews")
    assert code == 2
    assert TOKEN_VARIABLE in error
    monkeypatch.setenv(TOKEN_VARIABLE, "hf_token")
    code, _, error = command(*words, "reviews")
    assert code == 2
    assert "OWNER/NAME" in error
    code, _, error = command(*words, "ana/reviews")
    assert code == 2
    assert "has no student yet" in error
    assert not (tmp_path / "out").exists()
