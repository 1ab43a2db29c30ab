"""Templates: which file is used, what each says for which request, and what must not change of them."""

import itertools
import json
import re

import pytest
import yaml

from s3_assets.prompting.contract import messages
from s3_assets.prompting.templates import ROLES, SHARED, render, template_file, wording, wording_shown
from s3_assets.tasks.load import TaskError, load_task
from s3_assets_tests.fakes import REPOSITORY, write_task

SHIPPED = REPOSITORY / "s3_assets" / "prompting" / "templates"
VARIANTS = ("default", "paper")
FINER = {
    "positive": {"means": "Praise.", "sublabels": {"warm": "Without reserve.", "cool": "With reserve."}},
    "negative": "Blame.",
}
PAIR = {"text": "review", "text2": "reply", "label": "verdict"}


def task_of(folder, kind="single", **keys):
    if kind == "pair":
        keys = {"kind": kind, "fields": PAIR, **keys}
    if kind != "qa":
        return write_task(folder, **keys)
    place = folder / "small"
    place.mkdir(parents=True, exist_ok=True)
    fields = {"text": "context", "text2": "question", "answer": "answers"}
    declared = {"name": "small", "kind": kind, "fields": fields, "gold": "gold.csv", **keys}
    (place / "task.yaml").write_text(yaml.safe_dump(declared))
    return load_task(place)


# Requests are kept and found again by their words: these may not change for tasks without newer options.
BEFORE = {
    ("single", "rationales"): """\
A text has the label "positive" (Praise.).
List 3 different short reasons, things such a text may say or describe, that would give it this label.
Each reason is one short phrase. Cover many aspects and both plain and unusual reasons.""",
    ("single", "seed"): """\
Write 3 different texts with the label "positive" (Praise.).
Each of them has these features:
- long
- loud
The labels are: "positive" (Praise.); "negative" (Blame.).""",
    ("single", "extrapolate"): """\
A small classifier read the example below and said "negative". That is wrong: its label is "positive"
(Praise.).
Write 3 new texts with the label "positive" that are similar to the example in style and in what makes it hard
to classify, but are about something else. Do not copy the example.""",
    ("pair", "seed"): """\
The first text of a pair is given below as "text". Write 3 different second texts ("text2") such that the pair has
the label "positive" (Praise.). Return both texts of each pair.
The labels are: "positive" (Praise.); "negative" (Blame.).""",
}
FACTS = {
    "rationales": {},
    "seed": {"rationales": ["long", "loud"]},
    "extrapolate": {"predicted": "negative"},
}


@pytest.mark.parametrize(("kind", "role"), BEFORE)
@pytest.mark.parametrize("description", ["", "Films; which?"])
def test_words_that_earlier_answers_are_kept_under(tmp_path, kind, role, description):
    task = task_of(tmp_path, kind, labels={"positive": "Praise.", "negative": "Blame."}, description=description)
    head = f"Task: {description}\n\n" if description else ""
    assert render(task, role, label="positive", count=3, **FACTS[role]) == head + BEFORE[kind, role]


def test_a_seed_request_without_rationales_names_none(tmp_path):
    said = render(write_task(tmp_path), "seed", label="positive", count=1, rationales=None)
    assert "features" not in said


def roles_of(kind):
    unused = {"single": set(), "pair": {"rationales"}, "qa": {"rationales", "label"}}[kind]
    return [role for role in ROLES if role not in unused]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("kind", ["single", "pair", "qa"])
def test_each_kind_has_words_for_each_role_and_every_request(tmp_path, variant, kind):
    labels = {} if kind == "qa" else {"labels": FINER}
    label = None if kind == "qa" else "positive"
    for writes, keep_context in itertools.product(("second", "both"), (True, False)):
        options = {"pair": {"writes": writes, "keep_context": keep_context}} if kind == "pair" else {}
        task = task_of(tmp_path, kind, prompts=variant, description="Of films.", **options, **labels)
        for role, count, predicted, sublabel, answer in itertools.product(
            roles_of(kind), (1, 3), (None, "negative"), (None, "warm"), (None, "rope")
        ):
            said = render(
                *(task, role),
                label=label,
                count=count,
                predicted=predicted,
                answer=answer,
                sublabel=sublabel if kind != "qa" else None,
            )
            assert said.strip() == said
            assert "None" not in said
            assert not re.search(r"  |\n\n\n|[{}]|\.\.|\s[.,]", said), said


@pytest.mark.parametrize("kind", ["single", "pair", "qa"])
def test_only_a_shown_prediction_is_called_wrong(tmp_path, kind):
    asked = {"label": None if kind == "qa" else "positive", "count": 1, "answer": "rope"}
    task = task_of(tmp_path, kind)
    assert "wrong" in render(task, "extrapolate", **asked, predicted="negative")
    blind = render(task, "extrapolate", **asked)
    for word in ("wrong", "classifier", "small model", "hard", "predicted"):
        assert word not in blind
    # The paper never shows it.
    papers = task_of(tmp_path, kind, prompts="paper")
    assert render(papers, "extrapolate", **asked, predicted="negative") == render(papers, "extrapolate", **asked)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("kind", ["single", "pair"])
def test_seed_requests_ask_for_what_the_sublabel_means(tmp_path, variant, kind):
    task = task_of(tmp_path, kind, prompts=variant, labels=FINER)
    said = render(task, "seed", label="positive", count=2, sublabel="cool")
    assert '"cool" (With reserve.)' in said
    assert "warm" not in said
    assert "reserve" not in render(task, "seed", label="negative", count=2)


@pytest.mark.parametrize("kind", ["single", "pair"])
def test_extrapolation_keeps_the_sublabel_of_the_example(tmp_path, kind):
    task = task_of(tmp_path, kind, labels=FINER)
    said = render(task, "extrapolate", label="positive", count=2)
    assert 'The label covers "warm" (Without reserve.); "cool" (With reserve.):\nkeep to the one' in said
    known = render(task, "extrapolate", label="positive", count=2, sublabel="cool")
    assert 'of the kind "cool" (With reserve.), and so are the new ones' in known
    assert "warm" not in known
    assert "covers" not in render(task, "extrapolate", label="negative", count=2)


@pytest.mark.parametrize("kind", ["single", "pair"])
def test_label_questions_list_the_labels_asked_about_and_give_none_away(tmp_path, kind):
    task = task_of(tmp_path, kind, labels=FINER, prompts="paper")
    said = render(task, "label", labels={"warm": "Without reserve.", "cool": "With reserve."})
    assert '- "warm": Without reserve.\n- "cool": With reserve.\nAnswer' in said
    assert '- "positive": Praise.\n- "negative": Blame.\nAnswer' in render(task, "label")


@pytest.mark.parametrize("variant", VARIANTS)
def test_pairs_of_which_both_texts_are_written_are_given_none(tmp_path, variant):
    for role in ("seed", "extrapolate"):
        asked = {"label": "positive", "count": 2}
        second = render(task_of(tmp_path, "pair", prompts=variant), role, **asked)
        both = render(task_of(tmp_path, "pair", prompts=variant, pair={"writes": "both"}), role, **asked)
        assert "econd texts" in second
        assert "pairs" in both
        assert "given below" not in both
        assert "same first text" not in both
        assert "as it is" not in both


def test_pairs_that_do_not_keep_their_context_are_new_in_both_texts(tmp_path):
    asked = {"label": "positive", "count": 2}
    kept = render(task_of(tmp_path, "pair"), "extrapolate", **asked)
    free = render(task_of(tmp_path, "pair", pair={"keep_context": False}), "extrapolate", **asked)
    assert "Keep the first text" in kept
    assert "both texts new" in free


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("role", ["seed", "extrapolate"])
def test_questions_have_the_given_answer_or_one_the_teacher_chooses(tmp_path, variant, role):
    task = task_of(tmp_path, "qa", prompts=variant)
    given = render(task, role, count=2, answer="a rope")
    chosen = render(task, role, count=2)
    assert given != chosen
    for said in (given, chosen):
        assert '"text2"' in said
        assert '"answer"' in said
    # Answers are texts of others: they stand in the JSON block, not among the instructions.
    assert "a rope" not in given


def test_own_files_go_before_the_variant_and_the_variant_before_the_default(tmp_path):
    task = write_task(tmp_path, prompts={"variant": "paper", "seed": "own.md"})
    (tmp_path / "small" / "own.md").write_text("Mine.")
    assert template_file(task, "seed") == (tmp_path / "small" / "own.md").resolve()
    assert template_file(task, "rationales") == SHIPPED / "paper" / "single_rationales.md"
    assert template_file(task, "system") == SHIPPED / "default" / "system.md"
    assert template_file(task, "label") == SHIPPED / "default" / "single_label.md"
    assert template_file(write_task(tmp_path), "seed") == SHIPPED / "default" / "single_seed.md"


def test_an_own_file_that_is_absent_is_named(tmp_path):
    with pytest.raises(TaskError, match=r"gone\.md: no such file; task small names it under prompts\.seed"):
        template_file(write_task(tmp_path, prompts={"seed": "gone.md"}), "seed")


def test_own_files_see_every_variable(tmp_path):
    task = write_task(tmp_path, prompts={"seed": "own.md"}, labels=FINER)
    names = (
        "description labels label count rationales predicted keep_context writes sublabel sublabels answer keep_answer "
        "kind probability contrast diagnosis"
    )
    (tmp_path / "small" / "own.md").write_text(" ".join(f"{{{{ {name} }}}}" for name in names.split()))
    said = render(task, "seed", label="positive", count=2, sublabel="warm")
    assert "'positive': 'Praise.'" in said
    assert "{'warm': 'Without reserve.', 'cool': 'With reserve.'}" in said
    (tmp_path / "small" / "own.md").write_text("one\n{{ lable }}")
    with pytest.raises(
        TaskError, match=r"own\.md.*'lable' is undefined; a template may use answer, contrast, count, description"
    ):
        render(task, "seed", label="positive", count=2)


def test_wording_is_that_of_the_roles_a_kind_uses(tmp_path):
    assert set(wording(write_task(tmp_path))) == {"system", "rationales", "seed", "extrapolate"}
    assert set(wording(task_of(tmp_path, "pair"))) == {"system", "seed", "extrapolate"}
    assert set(wording(task_of(tmp_path, "qa"))) == {"system", "seed", "extrapolate"}
    assert set(wording(task_of(tmp_path, "pair", labels=FINER))) == {"system", "seed", "extrapolate", "label"}
    papers = wording(write_task(tmp_path, prompts="paper"))
    assert papers["seed"] == (SHIPPED / "paper" / "single_seed.md").read_text()
    assert papers["seed"] != wording(write_task(tmp_path))["seed"]


def test_every_shipped_template_is_one_that_a_task_can_use():
    own = {f"{kind}_{role}.md" for kind in ("single", "pair", "qa") for role in roles_of(kind) if role not in SHARED}
    assert {file.name for file in (SHIPPED / "default").iterdir()} == own | {f"{role}.md" for role in SHARED}
    assert {file.name for file in (SHIPPED / "paper").iterdir()} == {
        *(name for name in own if "label" not in name),
        "shown.md",
    }


# -- what is shown beside an example -----------------------------------------------------------------------------------

SHOWN = {
    "probability": ("83%", "The wrong answer had a probability of 83%."),
    "contrast": ("negative", 'The row under "contrast" looks alike and has another label, "negative" (Blame.)'),
    "diagnosis": ("Irony.", 'is said under "diagnosis"'),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_thing_shown_has_words_of_its_own(tmp_path, variant):
    task = write_task(tmp_path, prompts=variant, labels={"positive": "Praise.", "negative": "Blame."})
    # The paper shows no prediction, so it says nothing of its probability.
    known = {name: one for name, one in SHOWN.items() if name != "probability" or variant == "default"}
    for picked in itertools.chain.from_iterable(itertools.combinations(known, count) for count in range(4)):
        said = render(task, "shown", **{name: known[name][0] for name in picked})
        for name, (_, words) in known.items():
            assert (words in said) == (name in picked)
        assert not re.search(r"  |\n\n|[{}]|\.\.|\s[.,]", said), said
    assert render(task, "shown", probability="83%").strip() == (
        SHOWN["probability"][1] if "probability" in known else ""
    )
    # The answer of a teacher is material: it stands in the JSON block.
    assert "Irony" not in render(task, "shown", diagnosis="Irony.")


def extrapolation(task, **more):
    example = {"text": "Fine.", "label": "positive", **({"predicted": "negative"} if "probability" in more else {})}
    return messages(task, "extrapolate", {"label": "positive", "labels": ["a"], "count": 2, "example": example, **more})


def test_requests_that_show_nothing_more_have_the_words_they_had(tmp_path):
    task = write_task(tmp_path, labels={"positive": "Praise.", "negative": "Blame."})
    assert extrapolation(task)[-1]["content"] == (
        'The example below has the label "positive" (Praise.).\n'
        'Write 2 new texts with the label "positive" that are similar to the example in style and in what gives it its'
        "\nlabel, but are about something else. Do not copy the example.\n\n"
        '```json\n{\n "label": "positive",\n "labels": [\n  "a"\n ],\n "count": 2,\n "example": {\n'
        '  "text": "Fine.",\n  "label": "positive"\n }\n}\n```'
    )


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_is_shown_stands_in_words_and_in_the_block(tmp_path, variant):
    task = write_task(tmp_path, prompts=variant, labels={"positive": "Praise.", "negative": "Blame."})
    contrast = {"text": "Finest ```.", "label": "negative"}
    plain = extrapolation(task)[-1]["content"]
    said = extrapolation(task, contrast=contrast, diagnosis="Irony.")[-1]["content"]
    assert said.startswith(plain.split("\n\n```json")[0] + "\nThe row under")
    words, block = said.split("```json")
    block = json.loads(block.split("```")[0])
    assert (block["contrast"], block["diagnosis"]) == (contrast, "Irony.")
    assert "Irony" not in words
    sure = extrapolation(task, probability=0.834)[-1]["content"]
    assert ("a probability of 83%." in sure) == (variant == "default")
    assert "probability" not in sure.split("```json")[1]


def test_wording_of_what_is_shown_counts_where_it_is_shown(tmp_path):
    own = {"strategies": {"tried": {"base": "s3", "shows": ["diagnosis"]}}}
    assert wording_shown(write_task(tmp_path, strategy="s3")) == {}
    # Its words are those of the request.
    assert wording_shown(write_task(tmp_path, strategy="s3_shown")) == {}
    for shows in (["contrast"], ["prediction", "probability"]):
        more = {"strategies": {"tried": {"base": "s3", "shows": shows}}}
        assert set(wording_shown(write_task(tmp_path, strategy="tried", **more))) == {"shown"}
    assert set(wording_shown(write_task(tmp_path, strategy="tried", **own))) == {"shown", "diagnosis"}
    assert wording(write_task(tmp_path, strategy="s3")) == wording(write_task(tmp_path, strategy="tried", **own))


@pytest.mark.parametrize("kind", ["single", "pair", "qa"])
def test_a_diagnosis_is_asked_for_in_words_of_the_kind(tmp_path, kind):
    task = task_of(
        tmp_path, kind, **({} if kind == "qa" else {"labels": {"positive": "Praise.", "negative": "Blame."}})
    )
    said = render(task, "diagnosis")
    assert '"diagnosis"' in said
    assert ('"answer"' in said) == (kind == "qa")
    assert ('- "positive": Praise.\n- "negative": Blame.\nSay' in said) == (kind != "qa")
