"""Gates on rows a teacher wrote: each with a row it refuses and one it lets through."""

import random
import unicodedata

import polars as pl
import pytest

from s3_assets.quality.candidate import Candidate
from s3_assets.quality.gates import open_gates
from s3_assets.quality.overlap import GoldOverlap, HeldOutTexts
from s3_assets.quality.phrases import META_TALK, REFUSES
from s3_assets.quality.texts import AnswerGiven
from s3_assets.quality.words import words
from s3_assets.tasks.gold import read_gold
from s3_assets.tasks.split import normalise
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

# Unrelated in Thai; in Chinese with a phrase in common.
THAI = (
    "ภาพยนตร์เรื่องนี้สนุกมาก นักแสดงเล่นได้ดีและบทก็น่าติดตามตั้งแต่ต้นจนจบ เพลงประกอบไพเราะ ฉากสวยงาม"
    " ผมอยากแนะนำให้ทุกคนไปดูกับครอบครัวในวันหยุด"
)
THAI_OTHER = (
    "ร้านอาหารแห่งนี้บริการช้ามาก พนักงานไม่สุภาพ และรสชาติก็จืดเกินไปเมื่อเทียบกับราคา ฉันคงไม่กลับไปอีก แม้ว่าบรรยากาศจะดีและที่จอดรถสะดวกก็ตาม"
)
CHINESE = "这部电影的剧情非常精彩而且演员的表演也很出色让人难忘值得一看"
CHINESE_OTHER = "电影的剧情非常精彩但是配乐太吵我在中途就离开了"

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


def test_texts_that_differ_in_how_accents_are_encoded_are_the_same(task, gold):
    text = "Le caf\u00e9 \u00e9tait tr\u00e8s agr\u00e9able et la soir\u00e9e r\u00e9ussie"
    held_out = pl.DataFrame({"split": ["test"], "text": [text], "text2": [None], "label": ["positive"]})
    gates = open_gates(task, pl.concat([gold.select(held_out.columns), held_out], how="vertical_relaxed"))
    apart = unicodedata.normalize("NFD", text)
    assert apart != text
    assert gates.judge({"text": apart}, "positive").refusal.reason == "the same text is in test gold"


def test_splits_do_not_depend_on_how_accents_are_encoded():
    assert normalise("Caf\u00e9  NOIR") == normalise("cafe\u0301 noir") == "caf\u00e9 noir"


def test_thai_and_chinese_texts_that_share_a_phrase_are_not_held_out_gold(task, gold):
    test = pl.DataFrame({"split": "test", "text": [THAI, CHINESE], "text2": [None, None], "label": "positive"})
    overlap = GoldOverlap(test, ("text",), ("text",), None)

    def gate(text: str) -> str | None:
        refusal = overlap.refuse(Candidate({"text": text}, ("text",), "positive"))
        return None if refusal is None else refusal.gate

    assert gate(THAI_OTHER) is None
    assert gate(f"ผมว่าบทของ{THAI[:17]}สดใหม่ดี") is None
    # Half of it within another text, and with another end.
    assert gate(THAI_OTHER + THAI[:80] + THAI_OTHER) == "held_out_gold"
    assert gate(f"{THAI} ดี") == "held_out_gold"
    assert gate(CHINESE_OTHER) is None
    assert gate(CHINESE_OTHER + CHINESE[:22] + CHINESE_OTHER) == "held_out_gold"


def test_answers_in_questions_without_spaces(tmp_path):
    given = {"text": "北京是中国的首都", "text2": "北京在哪里"}
    row = Candidate(given, ("text2",), answer="北京")
    assert AnswerGiven().refuse(row) is not None
    assert AnswerGiven().refuse(Candidate(given, ("text2",), answer="首都")) is None


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
