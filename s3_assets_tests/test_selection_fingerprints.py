"""What seed sets, extrapolated sets and drift follow from, strategy's option by option."""

from s3_assets.loop.fingerprints import (
    CODE_VERSIONS,
    DRIFT,
    EXTRAPOLATED_SET,
    SEED_SET,
    TRAINED_MODEL,
    _chosen,
    input_fingerprint,
    upstream,
)
from s3_assets.store.identity import digest
from s3_assets_tests.choices import OUT_OF_REACH, ROWS, tried
from s3_assets_tests.fakes import write_task

# What an extrapolated set follows from, by name; each is held against all others.
FOLLOWS = {
    "nothing": {},
    "by": {"by": "loss"},
    "keep": {"by": "loss", "keep": 0.5},
    "doubt": {"by": "doubt"},
    "skips": {"skips": ["mislabelled"]},
    "explore": {"explore": 0.5},
    "prior": {"prior": "gold"},
    "steers": {"steers": "dev"},
    "one_each": {"one_each": True},
    "prediction": {"shows": ["prediction"]},
    "probability": {"shows": ["prediction", "probability"]},
    "contrast": {"shows": ["contrast"]},
    "contrast in folds": {"shows": ["contrast"], "cross_fit": 2},
    "contrast in other folds": {"shows": ["contrast"], "cross_fit": 3},
    "diagnosis": {"shows": ["diagnosis"]},
    "diagnosis in folds": {"shows": ["diagnosis"], "cross_fit": 2},
    "diagnosis in other folds": {"shows": ["diagnosis"], "cross_fit": 3},
    "verify": {"verify": "teacher"},
    "other verify": {"verify": "students"},
    "seed_share": {"seed_share": 0.5},
    "steps": {"steps": 4},
    "growth": {"growth": 2},
    "budget": {"budget": 0.5, "seed_share": 0.5},
}


def follows(folder, asset, options, round_=0, **keys) -> str:
    task = write_task(
        folder,
        strategies={"tried": {"base": "s3", **options}},
        strategy="tried",
        rows=ROWS,
        teacher=OUT_OF_REACH,
        **keys,
    )
    return input_fingerprint(task, asset, round_, {})


def test_each_option_changes_what_the_extrapolated_set_follows_from(tmp_path):
    found: dict[str, str] = {}
    for name, options in FOLLOWS.items():
        said = follows(tmp_path, EXTRAPOLATED_SET, options)
        assert said not in found, (name, found.get(said))
        found[said] = name
    # Students of folds alone choose no rows and show nothing.
    assert found[follows(tmp_path, EXTRAPOLATED_SET, {"cross_fit": 2})] == "nothing"


def test_options_of_the_seed_set_change_what_it_follows_from(tmp_path):
    found = {name: follows(tmp_path, SEED_SET, options) for name, options in FOLLOWS.items()}
    of_seeds = {"prior", "steers", "verify", "other verify", "seed_share", "budget"}
    assert {name for name in found if found[name] != found["nothing"]} == of_seeds
    assert len(set(found.values())) == len(of_seeds) + 1
    assert found["nothing"] != follows(tmp_path, SEED_SET, {"rationales": False})


def test_what_steers_changes_what_is_measured_against_it(tmp_path):
    """Distance from steering gold, shortcuts that it lacks: of a task's own seed rows and of later rounds too."""
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "seed.csv").write_text("text,label\nfine,positive\n")
    for asset, round_, keys in (
        (DRIFT, 0, {}),
        (SEED_SET, 1, {}),
        (SEED_SET, 0, {"seed_rows": "seed.csv"}),
        (TRAINED_MODEL, 0, {}),
    ):
        dev, paper = (follows(tmp_path, asset, how, round_, **keys) for how in ({"steers": "dev"}, {}))
        assert dev != paper, (asset, round_)
        assert paper == follows(tmp_path, asset, {"by": "loss"}, round_, **keys)


def test_options_of_the_paper_add_nothing_to_what_parts_followed_from(tmp_path):
    """Parts of before there was an option stay live."""
    task = write_task(tmp_path, strategy="s3", rows=ROWS)
    spec = task.spec
    before = [spec.drift.model_dump(), list(spec.fields_written), spec.seed]
    assert input_fingerprint(task, DRIFT, 0, {}) == digest([DRIFT, CODE_VERSIONS[DRIFT], before, {}])
    assert input_fingerprint(task, SEED_SET, 1, {}) == digest([SEED_SET, CODE_VERSIONS[SEED_SET], None, {}])
    shown = write_task(tmp_path, strategy="s3_shown", rows=ROWS)
    for one in (task, shown):
        assert _chosen(one) == []


def test_doubt_reads_the_student_s_predictions(tmp_path):
    assert (TRAINED_MODEL, 1) in upstream(tried(tmp_path, by="doubt"), EXTRAPOLATED_SET, 1)
    assert (TRAINED_MODEL, 1) not in upstream(tried(tmp_path), EXTRAPOLATED_SET, 1)
