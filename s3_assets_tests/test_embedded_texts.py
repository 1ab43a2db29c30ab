"""The embedded teacher's grammar and its texts, unprompted and from a shown example; and the gold of its task."""

import csv
import itertools
import random
import re
from pathlib import Path

import pytest

from s3_assets.teacher.embedded.answers import EmbeddedTeacher
from s3_assets.teacher.embedded.grammar import Draft, GrammarError, load_grammar, tidy, words_of, write_text
from s3_assets.teacher.embedded.recombine import manners_of, material, recombine, shorten, swap

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
