"""Gates on rows a teacher wrote: each with a row it refuses and one it lets through."""

import random

import polars as pl
import pytest

from s3_assets.quality.gates import open_gates
from s3_assets.quality.overlap import HeldOutTexts
from s3_assets.quality.words import words
from s3_assets.tasks.gold import read_gold
from s3_assets_tests.fakes import write_task

PAIR = {
    "kind": "pair",
    "fields": {"text": "premise", "text2": "hypothesis", "label": "verdict"},
    "labels": {"entailment": "text2 follows from text", "not_entailment": "it does not"},
}
SENTENCES = [
    "The keeper of the lighthouse wrote down every ship that passed before the storm came in from the west.",
    "Two children carried a blue boat across the sand while their dog waited by the water.",
    "The committee met on Monday to talk about the price of bread in the northern districts.",
    "Nobody in the village remembered who had planted the oldest of the apple trees.",
    "A train full of tourists stopped at the small station because snow covered the rails.",
    "The doctor said that she would call again as soon as the results were known.",
    "After the concert the players packed their instruments and walked home along the river.",
    "Farmers on the island grow olives, grapes and a kind of bean that is found nowhere else.",
]


NOUNS = words(
    """apple bridge candle doctor engine farmer garden harbour island jacket kitchen ladder market needle orchard pencil
    quarry river saddle teacher umbrella valley window yard zebra anchor barrel carpet desk elbow feather goat hammer
    ink journal kettle lantern mirror nest oven parcel quilt ribbon stove tunnel uncle village wheel yacht zipper"""
)


def drawn(number: int, count: int) -> str:
    """Words in an order that no other number has."""
    return " ".join(random.Random(number).sample(NOUNS, count))


def pair_gold() -> str:
    rows = [f"the {drawn(n, 16)},some {drawn(n + 100, 6)},{('entailment', 'not_entailment')[n % 2]}" for n in range(80)]
    return "premise,hypothesis,verdict\n" + "\n".join(rows) + "\n"


def gate_of(judged) -> str | None:
    return None if judged.refusal is None else judged.refusal.gate


@pytest.fixture
def task(tmp_path):
    return write_task(tmp_path)


@pytest.fixture
def gold(task):
    return read_gold(task)


def test_items_that_are_no_rows_and_texts_without_words(task, gold):
    gates = open_gates(task, gold)
    for item in ({"body": "x"}, "x", {"text": 3}, None):
        assert gate_of(gates.judge(item, "positive")) == "fields"
    assert gate_of(gates.judge({"text": "  "}, "positive")) == "empty"
    assert gate_of(gates.judge({"text": " ... "}, "positive")) == "empty"


def test_copies_of_gold_and_of_accepted_rows(task, gold):
    gates = open_gates(task, gold)
    steer = gold.filter(pl.col("split") == "steer")["text"][0]
    test = gold.filter(pl.col("split") == "test")["text"][0]
    assert gate_of(gates.judge({"text": f" {steer.upper()} "}, "positive")) == "gold_copy"
    refusal = gates.judge({"text": f'"{test.upper()}"'}, "positive").refusal
    assert (refusal.gate, refusal.reason) == ("held_out_gold", "the same text is in test gold")
    new = {"text": "The plumber sang louder than the whole choir, and it worked on me."}
    assert gate_of(gates.judge(new, "positive")) is None
    assert gate_of(gates.judge({"text": f"Review: {new['text']}"}, "positive")) == "duplicate"
    assert gate_of(gates.judge({"text": new["text"].swapcase()}, "negative")) == "duplicate"


def test_near_duplicates_of_the_same_label_and_contrasts(task, gold):
    gates = open_gates(task, gold)
    text = "The plumber sang louder than the whole choir, and it worked on me."
    near = "The plumber sang louder than the whole big choir, and it worked on me."
    assert gate_of(gates.judge({"text": text}, "positive")) is None
    refusal = gates.judge({"text": near}, "positive").refusal
    assert refusal.gate == "near_duplicate"
    assert refusal.value == pytest.approx(12 / 13)
    # Under another label it shows what the label hangs on.
    assert gate_of(gates.judge({"text": near}, "negative")) is None
    assert gate_of(gates.judge({"text": "The plumber sang, and the choir left me cold."}, "positive")) is None


def test_rows_of_earlier_rounds_count(task, gold):
    text = "The plumber sang louder than the whole choir, and it worked on me."
    gates = open_gates(task, gold, pl.DataFrame({"text": [text], "label": ["positive"]}))
    assert gate_of(gates.judge({"text": text}, "positive")) == "duplicate"
    assert gate_of(gates.judge({"text": text.replace("me", "everyone")}, "positive")) == "near_duplicate"


def test_echoes_of_steering_gold_and_near_copies_of_held_out_gold(task, gold):
    gates = open_gates(task, gold)
    steer = gold.filter(pl.col("split") == "steer", pl.col("text").str.split(" ").list.len() >= 12).row(0, named=True)
    other = next(label for label in task.spec.labels if label != steer["label"])
    assert gate_of(gates.judge({"text": f"{steer['text']} Indeed."}, steer["label"])) == "echo"
    assert gate_of(gates.judge({"text": f"{steer['text']} Indeed."}, other)) is None
    for split in ("select", "test"):
        row = gold.filter(pl.col("split") == split, pl.col("text").str.split(" ").list.len() >= 12).row(0, named=True)
        for label in task.spec.labels:
            assert gate_of(gates.judge({"text": f"{row['text']} Indeed."}, label)) == "held_out_gold"


def test_thirteen_words_in_a_row_of_held_out_gold(tmp_path):
    task = write_task(tmp_path, pair_gold(), **PAIR, gates={"length": None})
    gold = read_gold(task)
    gates = open_gates(task, gold)
    context = gold.filter(pl.col("split") == "steer")["text"][0]
    long = max(gold.filter(pl.col("split") == "test")["text"], key=len)
    taken = long.split()
    copied = " ".join(["It is well known in town that", *taken[:13], "and nothing else was ever found out about it"])
    shorter = " ".join(["It is well known in town that", *taken[:12], "and nothing else was ever found out about it"])
    refused = gates.judge({"text": context, "text2": copied}, "entailment").refusal
    assert (refused.gate, "13 words in a row" in refused.reason) == ("held_out_gold", True)
    assert gate_of(gates.judge({"text": context, "text2": shorter}, "entailment")) is None


def test_labels_of_test_gold_play_no_part(task, gold):
    poisoned = gold.with_columns(pl.when(pl.col("split") == "test").then(pl.lit("?")).otherwise("label").alias("label"))
    row = gold.filter(pl.col("split") == "test").row(0, named=True)
    texts = [{"text": f"{row['text']} Indeed."}, {"text": "A film about bread, and about those who bake it."}]
    for text in texts:
        refusals = [open_gates(task, one).judge(text, row["label"]).refusal for one in (gold, poisoned)]
        assert refusals[0] == refusals[1]


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
        ("The film is great (positive).", "label_words"),
        ("The film is great, and my verdict: positive", "label_words"),
        ("A positive review from someone who never reviews.", "label_words"),
        ("Great from start to end. Positive.", "label_words"),
        ("A film with a positive attitude to bread and butter.", None),
        ("The film is not negative about people at all (really).", None),
    ],
)
def test_phrases_that_give_a_teacher_away(task, gold, text, gate):
    assert gate_of(open_gates(task, gold).judge({"text": text}, "positive")) == gate
    off = dict.fromkeys(("refusal", "meta_talk", "label_words", "language"), False)
    loose = write_task(task.folder.parent, gates=off)
    assert gate_of(open_gates(loose, gold).judge({"text": text}, "positive")) is None


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


def test_lengths_far_from_gold(task, gold):
    gates = open_gates(task, gold)
    longest = max(len(text.split()) for text in gold.filter(pl.col("split") == "steer")["text"])
    many = [f"word{n}" for n in range(4 * longest)]
    assert gate_of(gates.judge({"text": " ".join(many)}, "positive")) == "length"
    assert gate_of(gates.judge({"text": " ".join(many[: 2 * longest])}, "positive")) is None
    loose = open_gates(write_task(task.folder.parent, gates={"length": None}), gold)
    assert gate_of(loose.judge({"text": " ".join(many)}, "positive")) is None


def test_a_kept_context_is_left_alone_and_rows_of_other_contexts_do_not_repeat_each_other(tmp_path):
    task = write_task(tmp_path, pair_gold(), **PAIR, gates={})
    gold = read_gold(task)
    first, second = gold.filter(pl.col("split") == "steer")["text"].unique(maintain_order=True)[:2]
    gates = open_gates(task, gold)
    claim = "Ships were counted by someone who lived near the sea for years."
    judged = gates.judge({"text": f'"{first}"', "text2": f'"{claim}"'}, "entailment")
    assert judged.item == {"text": f'"{first}"', "text2": claim}
    assert judged.repairs == ("quotes",)
    assert gate_of(gates.judge({"text": first, "text2": claim}, "entailment")) is None
    assert gate_of(gates.judge({"text": first, "text2": f"{claim[:-1]} too."}, "entailment")) == "near_duplicate"
    assert gate_of(gates.judge({"text": second, "text2": claim}, "entailment")) is None


def test_two_texts_that_are_both_written_are_compared_together(tmp_path):
    task = write_task(tmp_path, pair_gold(), **PAIR, gates={"length": None}, pair={"writes": "both"})
    gates = open_gates(task, read_gold(task))
    one, other = "Two boys carry a red boat to the sea.", "Two boys carry a heavy boat on the beach."
    assert gate_of(gates.judge({"text": one, "text2": other}, "entailment")) is None
    assert gate_of(gates.judge({"text": other, "text2": one}, "entailment")) == "near_duplicate"
    # Turned round it is no contrast, whatever its label; with a word changed in place it is one.
    assert gate_of(gates.judge({"text": other, "text2": one}, "not_entailment")) == "near_duplicate"
    changed = {"text": one, "text2": other.replace("heavy", "light")}
    assert gate_of(gates.judge(changed, "entailment")) == "near_duplicate"
    assert gate_of(gates.judge(changed, "not_entailment")) is None


def test_contexts_that_overlap_held_out_gold():
    gold = pl.DataFrame({"split": ["steer", "test"], "text": [SENTENCES[1], SENTENCES[0]]})
    held_out = HeldOutTexts(gold)
    assert held_out.overlap(SENTENCES[0].upper())
    assert held_out.overlap("Once upon a time " + SENTENCES[0] + " That is all we know of it, and of the sea.")
    assert held_out.overlap(SENTENCES[0].replace("west", "east"))
    assert not held_out.overlap(SENTENCES[1])


def test_questions_and_their_answers(tmp_path):
    rows = [f"The keeper wrote {drawn(n, 16)} again,where is the {drawn(n + 100, 3)}?,again" for n in range(80)]
    task = write_task(
        tmp_path,
        "context,question,reply\n" + "\n".join(rows) + "\n",
        kind="qa",
        gates={},
        labels=None,
        fields={"text": "context", "text2": "question", "answer": "reply"},
    )
    gold = read_gold(task)
    context = gold.filter(pl.col("split") == "steer")["text"][0]
    item = {"text": context, "text2": "Who wrote down the ships and boats?", "answer": "The keeper", "answer_start": 0}
    gates = open_gates(task, gold)
    assert gate_of(gates.judge({**item, "answer_start": None}, "answer")) == "answer_not_in_context"
    assert gate_of(gates.judge({**item, "text2": "Was it the keeper who wrote?"}, "answer")) == "answer_in_question"
    assert gate_of(gates.judge(item, "answer")) is None
    assert gate_of(gates.judge(item, "answer")) == "duplicate"
