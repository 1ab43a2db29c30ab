"""Texts as words: what gates, shortcuts and overlaps compare.

Belongs here: cutting text into words, overlap of two texts. Does not belong here: equality of texts
(``tasks/split.py``), gates (the modules beside this one).
"""

import functools
import re
import unicodedata
from collections.abc import Set as AbstractSet

# Scripts written without spaces, and how many of their letters in a row stand for a word, each overlapping the next:
# 2 of Chinese and Japanese; 5 of Thai, Lao, Burmese and Khmer, whose words are longer. One letter would not do: any two
# Thai texts have most of their letters in common.
_CJK = (
    "\u3005-\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
_SOUTHEAST = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\ua9e0-\ua9ff\uaa60-\uaa7f"
_LETTERS = {"cjk": 2, "southeast": 5}

# So many of these overlapping pieces in a row are as much text as one word of other scripts.
_PIECES_A_WORD = {"cjk": 1.5, "southeast": 3.0}

_ASCII_WORD = re.compile(r"\w+")
_UNSPACED = re.compile(f"[{_CJK}{_SOUTHEAST}]")
_STARTS_CJK = re.compile(f"[{_CJK}]")


def words(text: str) -> list[str]:
    """Words of a text in order, without case and punctuation; overlapping pieces in scripts without spaces."""
    if text.isascii():
        return _ASCII_WORD.findall(text.lower())
    text = unicodedata.normalize("NFC", text).casefold()
    if not _UNSPACED.search(text):
        return _patterns().word.findall(text)
    found = list[str]()
    for run in _patterns().run.finditer(text):
        count = _LETTERS.get(run.lastgroup or "")
        if count is None:
            found.append(run[0])
        else:
            letters = _patterns().letter.findall(run[0])
            found += ("".join(letters[start : start + count]) for start in range(max(1, len(letters) - count + 1)))
    return found


def letters_and_words(text: str) -> list[str]:
    """Words of a text in order, and in scripts without spaces its letters, so that one text can be found in another."""
    if not _UNSPACED.search(text):
        return words(text)
    return _patterns().single.findall(unicodedata.normalize("NFC", text).casefold())


def words_for(count: int, first: str) -> int:
    """How many of ``words`` in a row, ``first`` being the first, are as much text as ``count`` words with spaces."""
    if first.isascii() or not _UNSPACED.match(first):
        return count
    return round(count * _PIECES_A_WORD["cjk" if _STARTS_CJK.match(first) else "southeast"])


def jaccard(one: AbstractSet[object], other: AbstractSet[object]) -> float:
    """Share of the words of two texts that both have, 0 to 1; two texts without words are alike."""
    either = len(one | other)
    return len(one & other) / either if either else 1.0


class _Patterns:
    """Patterns for texts beyond ASCII. A mark belongs to the letter before it, which is no letter to ``re``."""

    def __init__(self) -> None:
        mark = _marks()
        cjk, southeast = (rf"(?:(?=[{script}])\w[{mark}]*)" for script in (_CJK, _SOUTHEAST))
        other = rf"[^\W{_CJK}{_SOUTHEAST}]+(?:[{mark}]+[^\W{_CJK}{_SOUTHEAST}]*)*"
        self.word = re.compile(rf"\w[\w{mark}]*")
        self.letter = re.compile(rf"\w[{mark}]*")
        self.run = re.compile(rf"(?P<cjk>{cjk}+)|(?P<southeast>{southeast}+)|{other}")
        self.single = re.compile(rf"{cjk}|{southeast}|{other}")


@functools.lru_cache(maxsize=1)
def _patterns() -> _Patterns:
    return _Patterns()


def _marks() -> str:
    """Unicode's combining marks, as ranges of a pattern. There are none beyond but for those that change no letter."""
    found = [code for code in range(0x300, 0x1F000) if unicodedata.category(chr(code))[0] == "M"]  # 15 ms
    starts = [code for code, before in zip(found, [0, *found], strict=False) if code != before + 1]
    ends = [code for code, after in zip(found, [*found[1:], 0], strict=True) if code != after - 1]
    return "".join(f"{chr(start)}-{chr(end)}" for start, end in zip(starts, ends, strict=True))
