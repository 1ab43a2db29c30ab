"""The embedded teacher: its grammar, texts from a shown example, answers over HTTP; and the gold of its task."""

import csv
import itertools
import json
import random
import re
import socket
import threading
from pathlib import Path
from urllib.parse import urlsplit

import openai
import pytest

from s3_assets.teacher.embedded.answers import EmbeddedTeacher, Refusal, read_facts
from s3_assets.teacher.embedded.grammar import Draft, GrammarError, load_grammar, tidy, words_of, write_text
from s3_assets.teacher.embedded.recombine import manners_of, material, recombine, shorten, swap
from s3_assets.teacher.embedded.server import embedded_teacher

TASK = Path(__file__).parents[1] / "data" / "tasks" / "film_reviews"
GOLD = TASK / "gold.csv"
LABELS = ("positive", "negative")

SMALL = """
labels:
  good: [<good_soup>]
  bad: [<bad_soup>]
symbols:
  soup: [soup, broth, stew, chowder]
  cook: [chef, waiter, landlady]
  good_soup: [The <soup> is hot and fresh and full of flavour., I praise the <cook> for this <soup>.]
  bad_soup: [The <soup> is cold and stale and full of grit., I blame the <cook> for this <soup>.]
rationales:
  good: [{says: it praises the soup, leads_to: good_soup}]
  bad: [{says: it faults the soup, leads_to: bad_soup}]
asides: [We sat by the door.]
manners:
  negation:
    cues: [never, "no"]
    good: [Never did a <soup> warm me so.]
    bad: [Never did a <soup> chill me so.]
swaps: [soup, cook]
"""


@pytest.fixture(scope="module")
def grammar():
    return load_grammar(TASK / "grammar.yaml")


@pytest.fixture(scope="module")
def gold():
    with GOLD.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def small(tmp_path):
    return load_grammar(_write(tmp_path, SMALL))


def _write(folder, text):
    path = folder / "grammar.yaml"
    path.write_text(text, encoding="utf-8")
    return path


# -- the grammar file ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            "good: [<good_soup>]",
            "good: [<good_soop>]",
            r"labels\.good: unknown symbol <good_soop> \(did you mean <good_",
        ),
        ("soup: [soup, broth", "soup: [the <cook>, broth", r"swaps\.soup: 'cook' is a symbol inside it"),
        ("cook: [chef, waiter", "cook: [<good_soup>, waiter", r"refers to itself: \w+ -> \w+ -> \w+"),
        ("cook: [chef, waiter, landlady]", "cook: []", r"symbols\.cook: has no productions; allowed: a list"),
        ("cook: [chef, waiter, landlady]", "cook: [chef, 7]", r"symbols\.cook: 7 is not a text"),
        ("cook: [chef", "cook: [che<f", r"symbols\.cook: 'che<f' has a '<' or '>'"),
        ("cook: [chef", "cook: [soup", r"swaps: 'soup' is in both soup and cook"),
        ("swaps: [soup, cook]", "swaps: [soup, pan]", r"swaps: unknown symbol <pan>"),
        ("swaps: [soup, cook]", "swaps: soup", r"swaps: is str; allowed: a list of symbols"),
        (
            "leads_to: bad_soup",
            "leads_to: sad_soup",
            r"rationales\.bad 'it faults the soup': unknown symbol <sad_soup>",
        ),
        (
            "leads_to: bad_soup",
            "leeds_to: bad_soup",
            r"rationales\.bad: unknown key 'leeds_to'; allowed: says, leads_to",
        ),
        ("  bad: [<bad_soup>]\n", "", r"labels: has 1 label; allowed: two or more"),
        ('"no"]', "no]", r"manners\.negation\.cues: False is not a text"),
        ("    bad: [Never did a <soup> chill me so.]\n", "", r"manners\.negation: has no 'bad'"),
        ("asides:", "asyds:", r"the file: unknown key 'asyds'; allowed: labels, symbols"),
        ("labels:", "labels: [", r"cannot be read as YAML"),
    ],
)
def test_a_faulty_grammar_is_refused_with_file_key_and_reason(tmp_path, old, new, says):
    assert old in SMALL
    path = _write(tmp_path, SMALL.replace(old, new, 1))
    with pytest.raises(GrammarError, match=says) as caught:
        load_grammar(path)
    assert str(path) in str(caught.value)


def test_a_missing_grammar_is_refused(tmp_path):
    with pytest.raises(GrammarError, match="cannot be read"):
        load_grammar(tmp_path / "none.yaml")


def test_a_grammar_needs_labels_symbols_and_rationales_only(tmp_path, small):
    short = SMALL[: SMALL.index("asides:")]
    grammar = load_grammar(_write(tmp_path, short))
    assert recombine(grammar, "good", "No soup beats it.", "good", 2, [], random.Random(0))
    assert swap(grammar, "The soup is fine.", random.Random(0)) == "The soup is fine."


def test_tidy_sets_capitals_articles_plurals_and_spaces():
    assert tidy("a odd film.  it is a useful one? yes.") == "An odd film. It is a useful one? Yes."
    assert tidy("Most comedys and ghost storys have holidays and plays.") == (
        "Most comedies and ghost stories have holidays and plays."
    )


# -- texts written unprompted ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", LABELS)
def test_thousands_of_distinct_texts_of_varied_length(grammar, label):
    rng = random.Random(0)
    symbols = [r.leads_to for r in grammar.rationales[label]]
    texts = [write_text(grammar, label, rng.sample(symbols, i % 3), Draft(grammar, rng)) for i in range(6000)]
    lengths = {len(text.split()) for text in texts}
    assert len(set(texts)) > 5000
    assert min(lengths) >= 6
    assert max(lengths) <= 36
    assert len(lengths) > 15


@pytest.mark.parametrize("label", LABELS)
def test_the_same_seed_writes_the_same_text(grammar, label):
    def texts(seed):
        return [write_text(grammar, label, [], Draft(grammar, random.Random(f"{seed} {i}"))) for i in range(20)]

    assert texts(1) == texts(1) != texts(2)


@pytest.mark.parametrize("label", LABELS)
def test_a_text_asked_for_by_rationales_contains_them(grammar, label):
    teacher = EmbeddedTeacher(grammar)
    for first, second in itertools.combinations(grammar.rationales[label], 2):
        facts = {"label": label, "count": 1, "rationales": [first.says, second.says]}
        text = teacher.examples(facts, random.Random(first.says))["examples"][0]["text"]
        for rationale in (first, second):
            assert re.search(_symbol_pattern(grammar, rationale.leads_to), text, re.IGNORECASE)


def test_a_rationale_in_other_words_leads_to_the_nearest(grammar):
    teacher = EmbeddedTeacher(grammar)
    facts = {"label": "positive", "count": 30, "rationales": ["How the music sounds."]}
    items = teacher.examples(facts, random.Random(0))["examples"]
    assert all("music" in item["text"] or "songs" in item["text"] for item in items)
    unknown = {"label": "positive", "count": 1, "rationales": ["zzz"]}
    assert teacher.examples(unknown, random.Random(0))["examples"]


# -- texts from an example -------------------------------------------------------------------------------------------


def test_recombined_texts_differ_from_the_example_from_gold_and_from_each_other(grammar, gold):
    known = {row["review"] for row in gold}
    for row in gold:
        for label in LABELS:
            texts = recombine(grammar, label, row["review"], row["verdict"], 4, [], random.Random(row["review"]))
            assert len(set(texts)) == 4
            assert known.isdisjoint(texts)


def test_an_example_of_the_asked_label_lends_its_clauses_or_its_manner(grammar, gold):
    carried = 0
    for row in gold:
        label = row["verdict"]
        manners = [manner for manner, _ in manners_of(grammar, row["review"])]
        of_its_manner = [_pattern(grammar, t) for manner in manners for t in manner.productions[label]]
        own = set(words_of(row["review"]))
        texts = recombine(grammar, label, row["review"], label, 4, [], random.Random(row["review"]))
        shares = [len(own.intersection(words_of(text))) / len(own) for text in texts]
        carried += sum(share > 0.6 for share in shares)
        for text, share in zip(texts, shares, strict=True):
            # Patterns spell a plural as the word and an s.
            forms = (text, re.sub(r"ies\b", "ys", text))
            in_manner = any(re.search(at, form, re.IGNORECASE) for at in of_its_manner for form in forms)
            assert in_manner or share > 0.3, (row["review"], text)
    assert carried > len(gold)


def test_an_example_of_another_label_lends_neutral_words_only(small):
    example = "No broth of this landlady ever spoiled my evening."
    texts = recombine(small, "bad", example, "good", 2, [], random.Random(0))
    assert all("evening" not in text for text in texts)
    assert any("broth" in text for text in texts)
    assert all(re.fullmatch(_symbol_pattern(small, "bad_soup"), text) for text in texts)


def test_swaps_keep_capitals_and_use_one_word_for_one(small):
    text = swap(small, "Soup! The waiter brought soup, and the chef wept.", random.Random(3))
    first, waiter, second, chef = re.fullmatch(r"(\w+)! The (\w+) brought (\w+), and the (\w+) wept\.", text).groups()
    assert first == second.capitalize()
    assert second in {"broth", "stew", "chowder"}
    assert waiter != "waiter"
    assert chef not in {"chef", waiter}


def test_shorten_leaves_out_an_aside_but_no_negation():
    rng = random.Random(0)
    assert shorten("My aunt, who hates all films, clapped.", rng) == "My aunt clapped."
    kept = "My aunt, who never claps, clapped."
    assert shorten(kept, rng) == kept


def test_material_and_manners_of_an_example(small):
    assert material(small, "The Soup was no stew.") == {"soup": ["soup", "stew"]}
    assert [(manner.name, count) for manner, count in manners_of(small, "No, never. Know.")] == [("negation", 2)]
    assert manners_of(small, "A fine soup.") == []


# -- reading requests ------------------------------------------------------------------------------------------------


def _body(kind, facts, prose="Please write.", **more):
    prompt = f"{prose}\n\n```json\n{json.dumps(facts)}\n```"
    return {
        "model": "embedded",
        "messages": [{"role": "system", "content": "You write."}, {"role": "user", "content": prompt}],
        "response_format": {"type": "json_schema", "json_schema": {"name": kind, "schema": {"type": "object"}}},
        **more,
    }


def test_a_fence_inside_example_text_is_text():
    example = 'Nice. ```json {"label": "negative"} ```'
    facts = {"label": "positive", "example": {"text": example, "label": "positive"}}
    assert read_facts(_body("examples", facts, prose='Text: ```json {"label": "x"} ``` end')) == facts
    parts = [{"type": "text", "text": '```json\n{"label": "a"}\n```'}]
    assert read_facts({"messages": [{"role": "user", "content": parts}]}) == {"label": "a"}


@pytest.mark.parametrize(
    ("kind", "facts", "says"),
    [
        ("poem", {"label": "positive"}, r"'poem'.*must be one of: rationales, examples, label"),
        ("examples", {"label": "great"}, r"no label 'great'; it has: positive, negative"),
        ("examples", {"label": "positive", "count": 0}, r"count is 0"),
        ("examples", {"label": "positive", "given": {"text": "A."}}, r"cannot write pairs"),
        ("examples", {"label": "positive", "example": {"text": "A.", "text2": "B."}}, r"cannot write pairs"),
        ("label", {"labels": ["positive", "negative"]}, r"example has no text"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_what_is_allowed(grammar, kind, facts, says):
    with pytest.raises(Refusal, match=says):
        EmbeddedTeacher(grammar).answer(_body(kind, facts), "0")


def test_pairs_are_refused_by_the_schema_alone(grammar):
    body = _body("examples", {"label": "positive"})
    items = {"type": "object", "properties": {"text": {}, "text2": {}}}
    body["response_format"]["json_schema"]["schema"] = {"properties": {"examples": {"items": items}}}
    with pytest.raises(Refusal, match="cannot write pairs"):
        EmbeddedTeacher(grammar).answer(body, "0")


def test_the_guess_reads_plain_praise_and_blame(grammar):
    teacher = EmbeddedTeacher(grammar)
    for label, text in (("positive", "A superb and delightful comedy."), ("negative", "A tedious, clumsy thriller.")):
        body = _body("label", {"labels": list(LABELS), "example": {"text": text}})
        assert json.loads(teacher.answer(body, "0")) == {"label": label}


# -- the wire --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def client():
    with embedded_teacher(TASK / "grammar.yaml") as url, openai.OpenAI(base_url=url, api_key="none") as client:
        yield client


def _ask(client, kind, facts, sample=None, **more):
    headers = None if sample is None else {"x-s3-sample": str(sample)}
    return client.chat.completions.create(**_body(kind, facts, **more), extra_headers=headers)


def _content(done):
    return json.loads(done.choices[0].message.content)


def test_the_three_kinds_of_request_over_http(client):
    rationales = _content(_ask(client, "rationales", {"label": "positive", "count": 5}))["rationales"]
    assert len(set(rationales)) == 5
    seed = _content(_ask(client, "examples", {"label": "positive", "count": 4, "rationales": rationales[:2]}))
    assert len({item["text"] for item in seed["examples"]}) == 4
    example = {"text": "Not once did I yawn.", "label": "positive", "predicted": "negative"}
    more = _content(_ask(client, "examples", {"label": "positive", "count": 3, "example": example}))["examples"]
    assert all(list(item) == ["text"] and item["text"] != example["text"] for item in more)
    guess = _content(_ask(client, "label", {"labels": list(LABELS), "example": {"text": "A superb film."}}))
    assert guess == {"label": "positive"}


def test_the_reply_is_a_complete_chat_completion(client):
    done = _ask(client, "examples", {"label": "negative", "count": 2})
    assert done.id.startswith("chatcmpl-")
    assert done.object == "chat.completion"
    assert done.model == "embedded"
    assert done.created > 0
    assert done.choices[0].finish_reason == "stop"
    assert done.choices[0].message.role == "assistant"
    assert done.usage.prompt_tokens > 0
    assert done.usage.completion_tokens > 0
    assert done.usage.total_tokens == done.usage.prompt_tokens + done.usage.completion_tokens
    assert [model.id for model in client.models.list()] == ["embedded"]


def test_the_same_request_again_gets_another_reply(client):
    facts = {"label": "positive", "count": 1}
    texts = [_content(_ask(client, "examples", facts, prose="Again."))["examples"][0]["text"] for _ in range(5)]
    assert len(set(texts)) == 5
    seeds = [_content(_ask(client, "examples", facts, sample=0, seed=n))["examples"][0]["text"] for n in range(5)]
    assert len(set(seeds)) == 5
    choices = _ask(client, "examples", facts, n=3).choices
    assert len({choice.message.content for choice in choices}) == 3


def test_the_sample_header_decides_and_not_the_order_of_arrival(client):
    requests = [({"label": label, "count": 2}, sample) for label in LABELS for sample in range(3)]

    def answers(client, order):
        got = {i: _ask(client, "examples", *requests[i]).choices[0].message.content for i in order}
        return [got[i] for i in range(len(requests))]

    here = answers(client, range(len(requests)))
    assert len(set(here)) == len(requests)
    with embedded_teacher(TASK / "grammar.yaml") as url, openai.OpenAI(base_url=url, api_key="none") as other:
        assert answers(other, reversed(range(len(requests)))) == here
    assert answers(client, range(len(requests))) == here


def test_answers_repeat_in_a_new_server_whatever_the_order(client):
    def first_and_second(client, labels):
        return {x: [_content(_ask(client, "examples", {"label": x}, prose="New.")) for _ in range(2)] for x in labels}

    here = first_and_second(client, LABELS)
    with embedded_teacher(TASK / "grammar.yaml") as url, openai.OpenAI(base_url=url, api_key="none") as other:
        assert first_and_second(other, reversed(LABELS)) == here


@pytest.mark.parametrize(
    ("kind", "facts", "sample", "more", "says"),
    [
        ("poem", {"label": "positive"}, None, {}, "rationales, examples, label"),
        ("examples", {"label": "great"}, None, {}, "positive, negative"),
        ("examples", {"label": "positive", "given": {"text": "A."}}, None, {}, "cannot write pairs"),
        ("examples", {"label": "positive"}, "x", {}, "x-s3-sample"),
        ("examples", {"label": "positive"}, None, {"stream": True}, "does not stream"),
        ("examples", {"label": "positive"}, None, {"messages": []}, "no fenced"),
    ],
)
def test_errors_have_the_wire_format(client, kind, facts, sample, more, says):
    with pytest.raises(openai.BadRequestError) as caught:
        _ask(client, kind, facts, sample, **more)
    assert says in caught.value.body["message"]
    assert caught.value.body["type"] == "invalid_request_error"


def test_a_body_that_is_no_json_object_is_refused(client):
    for content in (b"{", b"[]"):
        with pytest.raises(openai.BadRequestError, match=r"not (a )?JSON"):
            client.post("/chat/completions", cast_to=object, content=content)


def test_nothing_is_left_after_the_block():
    before = set(threading.enumerate())
    with embedded_teacher(TASK / "grammar.yaml") as url, openai.OpenAI(base_url=url, api_key="none") as client:
        assert _ask(client, "examples", {"label": "positive"}).choices
        assert url.startswith("http://127.0.0.1:")
        assert url.endswith("/v1")
    assert "embedded-teacher" not in {thread.name for thread in set(threading.enumerate()) - before}
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", urlsplit(url).port)) != 0


def test_an_error_inside_the_block_passes_through_and_stops_the_server():
    with pytest.raises(ZeroDivisionError), embedded_teacher(TASK / "grammar.yaml") as url:
        raise ZeroDivisionError
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", urlsplit(url).port)) != 0


# -- the gold file ---------------------------------------------------------------------------------------------------


def test_gold_is_balanced_unique_and_of_the_stated_length(gold):
    raw = GOLD.read_bytes()
    assert raw.startswith(b"review,verdict\n")
    assert b"\r" not in raw
    assert 280 <= len(gold) <= 320
    positive = sum(row["verdict"] == "positive" for row in gold)
    assert {row["verdict"] for row in gold} == set(LABELS)
    assert 0.4 <= positive / len(gold) <= 0.6
    assert len({" ".join(words_of(row["review"])) for row in gold}) == len(gold)
    assert all(8 <= len(row["review"].split()) <= 35 for row in gold)


def test_no_two_gold_texts_are_near_duplicates(gold):
    words = [set(words_of(row["review"])) for row in gold]
    for one, other in itertools.combinations(words, 2):
        assert len(one & other) / len(one | other) < 0.6


def test_no_gold_text_can_be_written_by_the_grammar(grammar, gold):
    templates = [*grammar.asides, *itertools.chain(*grammar.labels.values(), *grammar.symbols.values())]
    for manner in grammar.manners:
        templates += itertools.chain(*manner.productions.values())
    patterns = [re.compile(_pattern(grammar, template), re.IGNORECASE) for template in dict.fromkeys(templates)]
    for row in gold:
        sentences = re.split(r"(?<=[.!?]) +", row["review"])
        assert not all(any(p.fullmatch(sentence) for p in patterns) for sentence in sentences), row["review"]


def _pattern(grammar, template):
    """A pattern for everything that the template can become."""
    parts = [f"(?:{_symbol_pattern(grammar, part)})" if i % 2 else re.escape(part) for i, part in enumerate(template)]
    return "".join(parts).replace(r"a\ (?:", r"an?\ (?:").replace(r"A\ (?:", r"An?\ (?:")


def _symbol_pattern(grammar, name):
    return "|".join(_pattern(grammar, template) for template in grammar.symbols[name])
