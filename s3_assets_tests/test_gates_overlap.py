"""Gates that compare a row with gold and with other rows: copies, echoes, near duplicates, held-out gold."""

import unicodedata

import polars as pl
import pytest

from s3_assets.quality.candidate import Candidate
from s3_assets.quality.gates import open_gates
from s3_assets.quality.overlap import GoldOverlap, HeldOutTexts
from s3_assets.tasks.gold import read_gold
from s3_assets.tasks.split import normalise
from s3_assets_tests.fakes import write_task
from s3_assets_tests.gated_rows import PAIR, gate_of, pair_gold

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


@pytest.fixture
def task(tmp_path):
    return write_task(tmp_path)


@pytest.fixture
def gold(task):
    return read_gold(task)


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


def test_gates_anew_know_gold_and_have_seen_no_row(task, gold):
    gates = open_gates(task, gold)
    new = {"text": "The plumber sang louder than the whole choir, and it worked on me."}
    assert gate_of(gates.judge(new, "positive")) is None
    anew = gates.anew()
    assert gate_of(anew.judge(new, "positive")) is None
    assert gate_of(anew.judge(new, "positive")) == gate_of(gates.judge(new, "positive")) == "duplicate"
    near = {"text": new["text"].replace("whole", "entire")}
    assert gate_of(anew.judge(near, "positive")) == gate_of(gates.judge(near, "positive"))
    assert gate_of(anew.judge({"text": gold["text"][0]}, "positive")) in ("gold_copy", "held_out_gold")


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
