"""Dividing a round's rows: in turn, over groups, in proportion.

Belongs here: arithmetic that knows nothing of gold. Does not belong here: which rows take part and in which order
(``errors.py``, ``choose.py``), how many rows a round has (``generation/schedule.py``).
"""

from collections import Counter
from collections.abc import Hashable, Mapping, MutableMapping, Sequence
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)

# How many more rows each may get; what is given is taken off. Infinite where nothing is capped.
Room = MutableMapping[str, float]


def divided(rows: int, weights: Mapping[Key, float]) -> dict[Key, int]:
    """``rows`` in proportion to ``weights``, the largest remainders rounded up, the first of equal ones first.

    Alike where all weights are 0; nothing without any.
    """
    total = sum(weights.values())
    if total <= 0:
        weights, total = dict.fromkeys(weights, 1.0), len(weights)
    exact = {key: rows * weight / total for key, weight in weights.items()}
    whole = {key: int(share) for key, share in exact.items()}
    by_remainder = sorted(exact, key=lambda key: whole[key] - exact[key])
    for key in by_remainder[: rows - sum(whole.values())]:
        whole[key] += 1
    return whole


def in_turn(rows: int, turns: Sequence[str], room: Room) -> Counter[str]:
    """One row for each of ``turns`` in order, again and again, passing over those without room."""
    given: Counter[str] = Counter()
    while rows > 0:
        able = [name for name in turns if room[name] > 0][:rows]
        if not able:
            break
        for name in able:
            given[name] += 1
            room[name] -= 1
        rows -= len(able)
    return given


def over_groups(rows: int, groups: Sequence[Sequence[str]], room: Room) -> Counter[str]:
    """One row for each group in order, again and again; within a group its members take turns."""
    given: Counter[str] = Counter()
    while rows > 0:
        able = [members for group in groups if (members := [name for name in group if room[name] > 0])][:rows]
        if not able:
            break
        for members in able:
            # The one that had the fewest turns; the first of equal ones.
            name = min(members, key=given.__getitem__)
            given[name] += 1
            room[name] -= 1
        rows -= len(able)
    return given


def in_proportion(rows: int, weights: Mapping[str, float], room: Room) -> Counter[str]:
    """``rows`` in proportion to ``weights``; what has no room goes to the others in turn, the heaviest first.

    Whoever weighs nothing gets nothing, unless nobody weighs anything. Of equal remainders the first is rounded up.
    """
    given: Counter[str] = Counter()
    for name, count in divided(rows, weights).items():
        taken = int(min(count, room[name]))
        if taken:
            given[name] = taken
            room[name] -= taken
    heavy = [name for name, weight in weights.items() if weight > 0] or list(weights)
    heaviest_first = sorted(heavy, key=lambda name: -weights[name])
    return given + in_turn(rows - given.total(), heaviest_first, room)
