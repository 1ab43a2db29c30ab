"""Gates that read what a row says: refusals, talk of the task, label words, another language."""

import polars as pl
import pytest

from s3_assets.quality.gates import open_gates
from s3_assets.quality.phrases import META_TALK, REFUSES
from s3_assets.quality.words import words
from s3_assets.tasks.gold import read_gold
from s3_assets_tests.fakes import write_task
from s3_assets_tests.gated_rows import PAIR, drawn, gate_of, pair_gold


@pytest.fixture
def task(tmp_path):
    return write_task(tmp_path)


@pytest.fixture
def gold(task):
    return read_gold(task)


@pytest.mark.parametrize(
    ("text", "gate"),
    [
        ("I'm sorry, but as an AI language model I can't help with that request.", "refusal"),
        ("I\u2019m sorry, but I can\u2019t assist with this.", "refusal"),
        ("I am sorry, I cannot help you with that request.", "refusal"),
        ("As an AI assistant, I do not write reviews.", "refusal"),
        ("I'm sorry, but I cannot generate a negative review of a film.", "refusal"),
        ("I cannot fulfill this request.", "refusal"),
        ("As a large language model I have seen no films.", "refusal"),
        ("That goes against my programming.", "refusal"),
        ("I'm unable to fulfill this request.", "refusal"),
        ("Sorry, I can't help with that request.", "refusal"),
        ("I cannot assist with this.", "refusal"),
        ("As an AI, I cannot write reviews.", "refusal"),
        ("As an artificial intelligence, I can't create reviews.", "refusal"),
        ("I'm not able to help with that request.", "refusal"),
        ("Unfortunately, I cannot provide that text.", "refusal"),
        ("I must decline this request.", "refusal"),
        ("I won't write a long review, just go and see it.", None),
        ("I can't help but think this review bomb is unfair.", None),
        ("I cannot complete a sentence about this film without swearing.", None),
        ("Cast as an AI, she acts better than all the others.", None),
        ("I'm sorry, but I can't help loving this.", None),
        ("I'm sorry, but I can't help with the dishes while this is on; watch it.", None),
        ("Sorry to say, the AI in this film acts better than the cast.", None),
        ("I cannot write about this film without crying.", None),
        ("Here is a positive review of a new film: it is great.", "meta_talk"),
        ("Sure, here you go: a film for all.", "meta_talk"),
        ("A lovely film by [Director's Name] and friends.", None),
        ("[Insert title] is a lovely film for all.", "meta_talk"),
        ("Lorem ipsum dolor sit amet, a film.", "meta_talk"),
        ("As requested, the film is short and sweet.", "meta_talk"),
        ("Here is a film that knows where it is going.", None),
        ("Of course the ending is silly, but I laughed.", None),
        ("Certainly! Here are two reviews of a new film.", "meta_talk"),
        ("Sure, I can write a review of a film: it is great.", "meta_talk"),
        ("A fine film. Let me know if you need more examples!", "meta_talk"),
        ("A fine film. Feel free to modify it.", "meta_talk"),
        ("(Note: this is a fictional review of a film.)", "meta_talk"),
        ("Of course I cried at the end of it.", None),
        ("Sure, I laughed once or twice, but the plot is thin.", None),
        ("Absolutely I would watch it again.", None),
        ("Hope this helps other buyers.", None),
        ("Let me know if you need more milk.", None),
        ("Feel free to ask for the manager.", None),
        ("Here's a movie that deserves a review: five stars.", None),
        ("The film is great (positive).", "label_words"),
        ("The film is great, and my verdict: positive", "label_words"),
        ("A positive review from someone who never reviews.", "label_words"),
        ("Great from start to end. Positive.", "label_words"),
        ("The film is great. Sentiment: positive", "label_words"),
        ('The film is great, label = "positive".', "label_words"),
        ("The film is great, and I would say the sentiment is positive.", "label_words"),
        ("The film is great; classified as positive.", "label_words"),
        ("A positive review (the first of two).", "label_words"),
        ("A non-positive review of it.", None),
        ("It got positive reviews from all who saw it.", None),
        ("She sent a positive text message about the film.", None),
        ("A film with a positive attitude to bread and butter.", None),
        ("The film is not negative about people at all (really).", None),
    ],
)
def test_phrases_that_give_a_teacher_away(task, gold, text, gate):
    assert gate_of(open_gates(task, gold).judge({"text": text}, "positive")) == gate
    off = dict.fromkeys(("refusal", "meta_talk", "label_words", "language"), False)
    loose = write_task(task.folder.parent, gates=off)
    assert gate_of(open_gates(loose, gold).judge({"text": text}, "positive")) is None


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ("business", "I want to change my flight to business class."),
        ("business", "He had been told that it was none of his - business."),
        ("world", "A world-class performance by the envoy."),
        ("food", "Please read the food label on this can."),
        ("sports", "They opened a new sports category on their site."),
    ],
)
def test_topics_in_compounds_are_no_annotations(tmp_path, label, text):
    topics = ("business", "world", "food", "sports")
    rows = [f"{drawn(n, 9)},{topics[n % 4]}" for n in range(80)]
    labels = {topic: f"about {topic}" for topic in topics}
    task = write_task(
        tmp_path,
        "text,label\n" + "\n".join(rows) + "\n",
        fields={},
        labels=labels,
        gates={"language": False, "length": None},
    )
    gates = open_gates(task, read_gold(task))
    assert gate_of(gates.judge({"text": text}, label)) is None
    for end in (f"({label})", f"label: {label}", f"Category: {label}", f"{label.title()}."):
        assert gate_of(gates.judge({"text": f"{text} {end}"}, label)) == "label_words"


def test_a_label_and_what_rows_are_called(tmp_path):
    rows = [f"{drawn(n, 9)},{('positive', 'negative')[n % 2]}" for n in range(80)]
    text = "They wrote a negative review of all that we had done."
    for first, gate in (("", "label_words"), ("There was a negative review of it,positive\n", None)):
        gold = f"text,label\n{first}" + "\n".join(rows) + "\n"
        # All of gold is steering gold, but for a row or two.
        off = {"language": False, "length": None, "echo": None}
        task = write_task(
            tmp_path,
            gold,
            fields={},
            gates=off,
            gold={"file": "gold.csv", "split": {"steer": 0.98, "select": 0.02, "test": 0}},
        )
        assert gate_of(open_gates(task, read_gold(task)).judge({"text": text}, "negative")) == gate


@pytest.mark.parametrize("piece", ["sorry ", "I'm sorry ", "i cannot write ", "here is a ", "as an ai ", "["])
def test_long_texts_are_searched_to_their_end(piece):
    # A pattern that tries every split of such a text would take hours.
    for pattern in (REFUSES, META_TALK):
        assert pattern.search(f"I'm sorry, but I cannot generate {piece * 20_000}") is None
    assert REFUSES.search(f"{piece * 20_000} That goes against my programming.") is not None


def test_a_label_name_with_an_underscore_is_no_word(tmp_path):
    task = write_task(tmp_path, pair_gold(), **PAIR, gates={})
    gold = read_gold(task)
    context = gold.filter(pl.col("split") == "steer")["text"][0]
    gates = open_gates(task, gold)
    leak = {"text": context, "text2": "This one is not_entailment, the ships were blue and many."}
    assert gate_of(gates.judge(leak, "not_entailment")) == "label_words"
    assert gate_of(gates.judge(leak, "entailment")) is None


def test_phrases_that_gold_has_are_let_through(tmp_path):
    rows = [
        f'"As requested, film {n} was shown to {word}s.",{("positive", "negative")[n % 2]}'
        for n, word in enumerate(
            words("baker sailor nurse farmer singer writer dancer driver judge clerk cook guard") * 5
        )
    ]
    task = write_task(tmp_path, "review,verdict\n" + "\n".join(rows) + "\n", gates={})
    gates = open_gates(task, read_gold(task))
    assert gate_of(gates.judge({"text": "As requested, a seventh film about soldiers and shoes."}, "positive")) is None


@pytest.mark.parametrize(
    ("text", "gate"),
    [
        ("Фильм прекрасный, я советую его всем моим друзьям и знакомым.", "language"),  # noqa: RUF001
        ("Esta es una película muy bonita y muy triste, pero no se la recomiendo a los niños.", "language"),
        ("Ein wunderbarer Film, den ich allen meinen Freunden empfehlen kann.", "language"),
        ("The film Сталкер is slow, long, and better than all the others I know.", None),
        ("Merci, good night: a film with charm and with no end of it.", None),
        ("Bravo!! Bellissimo, davvero.", None),
    ],
)
def test_rows_in_another_language(task, gold, text, gate):
    assert gate_of(open_gates(task, gold).judge({"text": text}, "positive")) == gate
    loose = write_task(task.folder.parent, gates={"language": False})
    assert gate_of(open_gates(loose, gold).judge({"text": text}, "positive")) is None
