"""Files on the hub: names, local copies that go first, what is said when a file cannot be had. No test asks the hub."""

import http.server
import socket
import threading

import httpx2
import huggingface_hub
import polars as pl
import pytest
from huggingface_hub import constants, errors

from s3_assets.tasks import hub
from s3_assets.tasks.files import named_file
from s3_assets.tasks.gold import gold_digest, gold_files, read_gold
from s3_assets.tasks.hub import bring, hub_file, local_copy
from s3_assets.tasks.load import TaskError
from s3_assets_tests.fakes import write_task

DEV, TEST = "hf://datasets/some/films/data/dev.parquet", "hf://datasets/some/films@v2/data/test.parquet"
FILES = {"files": {"dev": DEV, "test": TEST}}


def frame(count, start=0):
    numbers = range(start, start + count)
    return pl.DataFrame(
        {"review": [f"film number {n}" for n in numbers], "verdict": [("positive", "negative")[n % 2] for n in numbers]}
    )


class Hub:
    """Stands in for hf_hub_download: files by their path, those in ``cached`` without the network."""

    def __init__(self, folder, monkeypatch):
        self.folder, self.cached, self.calls = folder, set(), []
        self.failure = None
        self.online = True
        monkeypatch.setattr(huggingface_hub, "hf_hub_download", self.download)
        monkeypatch.setattr(hub, "_reachable", lambda endpoint: self.online)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)

    def put(self, path, rows):
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        rows.write_parquet(file)

    def download(self, repo_id, filename, *, repo_type, revision, local_files_only, tqdm_class):
        self.calls.append((repo_id, filename, repo_type, revision, local_files_only))
        assert tqdm_class(total=1).disable
        if local_files_only and filename not in self.cached:
            raise errors.LocalEntryNotFoundError("not cached")
        if self.failure is not None:
            raise self.failure
        self.cached.add(filename)
        return str(self.folder / filename)


@pytest.fixture
def fake(tmp_path, monkeypatch):
    there = Hub(tmp_path / "hub", monkeypatch)
    there.put("data/dev.parquet", frame(100))
    there.put("data/test.parquet", frame(40, start=500))
    return there


def answer(status):
    return httpx2.Response(status, request=httpx2.Request("GET", "https://hub/signed?token=hf_secret"))


@pytest.mark.parametrize(
    ("named", "parts"),
    [
        ("hf://datasets/a/b/c.parquet", ("a/b", None, "c.parquet")),
        ("hf://datasets/a/b/c/d e.csv", ("a/b", None, "c/d e.csv")),
        ("hf://datasets/a/b@v1.0/c/d.csv", ("a/b", "v1.0", "c/d.csv")),
        ("hf://datasets/a/b@refs/convert/parquet/c/0000.parquet", ("a/b", "refs/convert/parquet", "c/0000.parquet")),
        ("hf://datasets/a/b@refs%2Fpr%2F3/c.csv", ("a/b", "refs/pr/3", "c.csv")),
        ("hf://datasets/a/b@refs/pr/3/c.csv", ("a/b", "refs/pr/3", "c.csv")),
    ],
)
def test_names_of_files(named, parts):
    file = hub_file(named, "x")
    assert (file.repo, file.revision, file.path) == parts


def test_paths_are_no_names_of_files():
    assert hub_file("gold.csv", "x") is None
    assert hub_file("datasets/a/b/c.csv", "x") is None


@pytest.mark.parametrize(
    "named", ["hf://a/b/c.csv", "hf://datasets/a/b", "hf://datasets/b/", "hf://datasets/a/b@/c.csv"]
)
def test_other_names_are_refused(named):
    with pytest.raises(TaskError, match=r"gold\.dev of task small names it; write hf://datasets/OWNER/NAME/PATH"):
        hub_file(named, "gold.dev of task small")


def test_gold_comes_from_the_hub(tmp_path, fake):
    rows = read_gold(write_task(tmp_path, gold=FILES))
    assert rows.filter(pl.col("split") == "test").height == 40
    assert rows.filter(pl.col("split") != "test").height == 100
    assert set(rows["source"]) == {DEV, TEST}
    assert ("some/films", "data/dev.parquet", "dataset", None, False) in fake.calls
    assert ("some/films", "data/test.parquet", "dataset", "v2", False) in fake.calls


def test_what_is_in_the_cache_is_not_asked_for(tmp_path, fake):
    fake.cached = {"data/dev.parquet", "data/test.parquet"}
    fake.online = False
    assert read_gold(write_task(tmp_path, gold=FILES)).height == 140
    assert all(only_cached for *_, only_cached in fake.calls)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_local_copy_goes_first(tmp_path, fake, suffix):
    task = write_task(tmp_path, gold=FILES)
    own = frame(70, start=1000)
    place = tmp_path / "small" / f"dev.{suffix}"
    {"csv": own.write_csv, "jsonl": own.write_ndjson, "parquet": own.write_parquet}[suffix](place)
    rows = read_gold(task)
    assert rows.filter(pl.col("split") != "test").height == 70
    assert set(rows["source"]) == {f"dev.{suffix}", TEST}
    assert {path for _, path, *_ in fake.calls} == {"data/test.parquet"}


def test_of_several_local_copies_parquet_goes_first(tmp_path):
    for name in ("dev.csv", "dev.jsonl"):
        (tmp_path / name).write_text("")
    assert local_copy(tmp_path, "dev") == tmp_path / "dev.jsonl"
    (tmp_path / "dev.parquet").write_text("")
    assert local_copy(tmp_path, "dev") == tmp_path / "dev.parquet"
    assert local_copy(tmp_path, "test") is None


def test_a_local_copy_stands_in_for_one_file_too(tmp_path, fake):
    task = write_task(tmp_path, gold=DEV)
    frame(90).write_csv(tmp_path / "small" / "file.csv")
    assert read_gold(task).height == 90
    assert fake.calls == []


def test_a_local_file_is_not_stood_in_for(tmp_path):
    frame(90).write_csv(tmp_path / "own.csv")
    task = write_task(tmp_path, gold=str(tmp_path / "own.csv"))
    frame(70).write_csv(tmp_path / "small" / "file.csv")
    assert read_gold(task).height == 90


def test_digests_ask_nobody_and_follow_name_revision_and_local_bytes(tmp_path, fake):
    fake.failure = AssertionError("asked")
    task = write_task(tmp_path, gold=FILES)
    first = gold_digest(task)
    assert gold_digest(task) == first
    assert {key: file.local() for key, file in gold_files(task).items()} == {"dev": None, "test": None}
    other = {"files": {"dev": DEV.replace("films", "films@v3"), "test": TEST}}
    assert gold_digest(write_task(tmp_path, gold=other)) != first
    task = write_task(tmp_path, gold=FILES)
    seen = {first}
    for count in (3, 4):
        frame(count).write_csv(tmp_path / "small" / "dev.csv")
        seen.add(gold_digest(task))
    assert len(seen) == 3
    assert fake.calls == []


@pytest.mark.parametrize(
    ("failure", "why"),
    [
        (errors.LocalEntryNotFoundError("gone"), "the connection to the hub failed"),
        (errors.RemoteEntryNotFoundError("hf_secret", response=answer(404)), "the data set has no such file"),
        (errors.RevisionNotFoundError("hf_secret", response=answer(404)), "the data set has no such revision"),
        (errors.RepositoryNotFoundError("hf_secret", response=answer(401)), "no such data set, or none that is open"),
        (errors.GatedRepoError("hf_secret", response=answer(403)), "terms of the data set must be accepted"),
        (errors.HFValidationError("hf_secret"), "cannot be brought from the hub (HFValidationError)"),
        (errors.HfHubHTTPError("hf_secret", response=answer(500)), "cannot be brought from the hub (HfHubHTTPError)"),
        (httpx2.ReadTimeout("hf_secret"), "cannot be brought from the hub (ReadTimeout)"),
    ],
)
def test_what_cannot_be_had_is_named_with_what_does_instead(tmp_path, fake, failure, why):
    fake.failure = failure
    with pytest.raises(TaskError) as caught:
        read_gold(write_task(tmp_path, gold=FILES))
    said = str(caught.value)
    instead = tmp_path / "small" / "dev.parquet"
    assert said.startswith(f"{DEV}: ")
    assert why in said
    assert "gold.dev of task small names it" in said
    assert f"provide it yourself as {instead} (or dev.jsonl, dev.csv) with the columns review, verdict" in said
    assert "hf_secret" not in said
    assert "token" not in said


def test_a_hub_that_cannot_be_reached_is_not_waited_for(tmp_path, fake):
    fake.online = False
    with pytest.raises(TaskError, match=r"not in the hub's cache, and https://.* cannot be reached"):
        read_gold(write_task(tmp_path, gold=FILES))
    assert [only_cached for *_, only_cached in fake.calls] == [True]


def test_offline_mode_is_respected(tmp_path, fake, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(TaskError, match="HF_HUB_OFFLINE is set"):
        read_gold(write_task(tmp_path, gold=FILES))
    fake.cached = {"data/dev.parquet", "data/test.parquet"}
    assert read_gold(write_task(tmp_path, gold=FILES)).height == 140


def test_reaching(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    place = f"http://127.0.0.1:{server.server_port}"
    try:
        assert hub._reachable(place)
    finally:
        server.server_close()
    assert not hub._reachable(place)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert hub._reachable(place)


def test_a_name_that_does_not_resolve_is_not_reached(monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror("unknown")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setattr("urllib.request.getproxies", dict)
    assert not hub._reachable("https://hub.invalid")


@pytest.fixture
def small_hub(tmp_path, monkeypatch):
    """A hub on this machine with one file, for the real client; gives the paths it was asked for."""
    content = b"review,verdict\ngood,positive\n"
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            asked.append(self.path)
            known = self.path == "/datasets/some/films/resolve/refs%2Fconvert%2Fparquet/data/dev.csv"
            self.send_response(200 if known else 404)
            if known:
                self.send_header("etag", '"abc"')
                self.send_header("x-repo-commit", "0" * 40)
            else:
                self.send_header("x-error-code", "EntryNotFound")
            self.send_header("content-length", str(len(content) if known else 0))
            self.end_headers()
            return known

        def do_GET(self):
            if self.do_HEAD():
                self.wfile.write(content)

        def log_message(self, *_):
            """Stay quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    real, here = huggingface_hub.hf_hub_download, f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(
        huggingface_hub,
        "hf_hub_download",
        lambda *words, **options: real(*words, **options, cache_dir=tmp_path / "cache", endpoint=here),
    )
    monkeypatch.setattr(hub, "_reachable", lambda endpoint: True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield asked
    server.shutdown()
    server.server_close()


def test_the_real_client_brings_a_file_once_and_quietly(tmp_path, small_hub, capfd):
    """Pins huggingface_hub 2: names of arguments, revisions with slashes, no progress bar, the cache."""
    file = hub_file("hf://datasets/some/films@refs/convert/parquet/data/dev.csv", "x")
    for _ in range(2):
        assert bring(file, tmp_path, "dev", "x", ("review",)).read_text() == "review,verdict\ngood,positive\n"
    assert len(small_hub) == 2  # HEAD and GET of the first time
    assert capfd.readouterr() == ("", "")


def test_the_real_client_says_what_is_missing(tmp_path, small_hub):
    with pytest.raises(TaskError, match="the data set has no such file"):
        bring(hub_file(DEV, "x"), tmp_path, "dev", "x", ("review",))


def test_repetitions_in_published_data_are_left_out_and_counted(tmp_path, fake, caplog):
    dev = pl.concat([frame(100), pl.DataFrame({"review": ["Film  number 501"] * 2, "verdict": ["negative"] * 2})])
    both = pl.DataFrame({"review": ["Film NUMBER 3"], "verdict": ["positive"]})
    fake.put("data/dev.parquet", pl.concat([dev, both]))
    rows = read_gold(write_task(tmp_path, gold=FILES))
    texts = rows["text"].str.to_lowercase()
    assert texts.str.contains(r"number\s+501$").sum() == 1
    assert rows.filter(texts == "film number 501")["split"].to_list() == ["test"]
    assert (texts == "film number 3").sum() == 0
    assert rows.height == 100 + 40 - 1
    assert "2 rows left out that contradict each other" in caplog.text
    assert "2 rows left out that are in a later split as well" in caplog.text


def test_files_of_other_keys_may_be_on_the_hub(tmp_path, fake):
    task = write_task(tmp_path)
    contexts = named_file(task, "contexts", DEV, ("review",))
    before = contexts.digest()
    assert contexts.read().height == 100
    assert contexts.source() == DEV
    frame(7).write_csv(tmp_path / "small" / "contexts.csv")
    assert contexts.read().height == 7
    assert contexts.source() == "contexts.csv"
    assert contexts.digest() != before
    fake.failure, fake.cached = errors.LocalEntryNotFoundError("gone"), set()
    with pytest.raises(TaskError, match=r"seed_rows of task small names it.*seed_rows.parquet"):
        named_file(task, "seed_rows", DEV, ("text", "label")).read()


def test_paths_of_other_keys_are_relative_to_the_task(tmp_path):
    task = write_task(tmp_path)
    frame(7).write_csv(tmp_path / "small" / "own.csv")
    own = named_file(task, "contexts", "own.csv", ("review",))
    assert own.local() == own.find() == (tmp_path / "small" / "own.csv").resolve()
    first = own.digest()
    frame(8).write_csv(tmp_path / "small" / "own.csv")
    assert own.digest() != first
    with pytest.raises(TaskError, match="no such file; contexts of task small names it"):
        named_file(task, "contexts", "absent.csv", ()).digest()
