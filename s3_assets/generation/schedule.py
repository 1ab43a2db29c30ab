"""How a task's budget is divided: the rows of the seed set and of each round.

Belongs here: sizes that follow from the declaration alone. Does not belong here: which gold row gets how many
(``selection/``), counting what was asked (``experiment/asked.py``).
"""

from s3_assets.tasks.load import Task

# Questions of a round about what errors have in common, where the strategy shows the teacher a diagnosis.
MOST_DIAGNOSES = 5


def budget(task: Task) -> int:
    """Rows and label questions that an arm may ask for: the same for all arms of a task, less what a strategy saves."""
    rows = task.spec.rows
    return round(task.spec.how.budget * (rows.seed + task.spec.experiment.rounds * rows.per_round))


def rounds_of(task: Task) -> int:
    """Extrapolations of the task's strategy when it is compared with others; 0 for strategies without rounds."""
    how = task.spec.how
    if how.extrapolates is None:
        return 0
    return how.steps or task.spec.experiment.rounds


def seed_size(task: Task) -> int:
    """Rows of the seed set; strategies that grow it ask for those of all rounds at once."""
    how, rows = task.spec.how, task.spec.rows
    if how.grown:
        return _rows(task, budget(task))
    return _rows(task, how.budget * rows.seed if how.seed_share is None else how.seed_share * budget(task))


def round_size(task: Task, round_: int) -> int:
    """Rows that a round extrapolates, rounds counted from 0.

    What the seed set leaves of the budget, in ``steps`` parts that grow by ``growth``. Rounds after those have the size
    of the last: a loop may go on for longer than a comparison.
    """
    how, rows = task.spec.how, task.spec.rows
    asked = MOST_DIAGNOSES if "diagnosis" in how.shows else 0
    if how.seed_share is None and how.steps is None and how.growth == 1:
        return max(1, _rows(task, how.budget * rows.per_round - asked))
    whole = how.budget * (rows.seed + task.spec.experiment.rounds * rows.per_round)
    seed = how.budget * rows.seed if how.seed_share is None else how.seed_share * whole
    parts = [how.growth**step for step in range(rounds_of(task))]
    # Cut at rounded places, so that the parts add up to the whole.
    place = min(round_, len(parts) - 1)
    before, after = (max(0.0, whole - seed) * sum(parts[:end]) / sum(parts) for end in (place, place + 1))
    return max(1, _rows(task, after - asked) - _rows(task, before))


def _rows(task: Task, allotted: float) -> int:
    """Rows for what is allotted: a strategy that has labels verified pays for the questions with rows."""
    asks = task.spec.how.verify in {"teacher", "both"}
    return round(allotted / (1 + task.spec.verifying.questions)) if asks else round(allotted)
