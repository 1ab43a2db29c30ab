"""Texts as words, in scripts with spaces and without."""

import unicodedata

import pytest

from s3_assets.quality.words import jaccard, letters_and_words, words, words_for

THAI = "ภาพยนตร์เรื่องนี้สนุกมาก นักแสดงเล่นได้ดีและบทก็น่าติดตามตั้งแต่ต้นจนจบ"
THAI_OTHER = "ร้านอาหารแห่งนี้บริการช้ามาก พนักงานไม่สุภาพ และรสชาติก็จืดเกินไป"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("It's a_b, 3.5 TIMES!", ["it", "s", "a_b", "3", "5", "times"]),
        ("na\u00efve caf\u00e9", ["na\u00efve", "caf\u00e9"]),
        ("cafe\u0301", ["caf\u00e9"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("한국어 영화", ["한국어", "영화"]),
        ("电影很好\u3002ok", ["电影", "影很", "很好", "ok"]),
        ("好", ["好"]),
        ("สวัสดีครับ", ["สวัสดีค", "วัสดีครั", "สดีครับ"]),
        ("ดี", ["ดี"]),
        ("\u2026 \u0301 !", []),
        ("", []),
    ],
)
def test_words(text, found):
    assert words(text) == [unicodedata.normalize("NFC", word) for word in found]


def test_unrelated_texts_without_spaces_have_little_in_common():
    assert jaccard(set(words(THAI)), set(words(THAI_OTHER))) < 0.1
    assert jaccard(set(words(THAI)), set(words(THAI.replace("สนุก", "ดี")))) > 0.7
    # Lengths compare as they do with spaces.
    assert len(words(f"{THAI} {THAI}")) == 2 * len(words(THAI))


def test_letters_are_found_within_texts_without_spaces():
    assert letters_and_words("北京") == ["北", "京"]
    assert letters_and_words("在北京 OK") == ["在", "北", "京", "ok"]
    assert letters_and_words("Two words") == ["two", "words"]


def test_pieces_count_as_part_of_a_word():
    assert [words_for(13, word) for word in ("film", "caf\u00e9", "电影", "สวัสดีค")] == [13, 13, 20, 39]
