"""How a task's budget is divided: the rows of the seed set and of each round.

Belongs here: sizes that follow from the declaration alone. Does not belong here: which gold row gets how many
(``selection/``), counting what was asked (``experiment/asked.py``).
"""

from s3_assets.tasks.load import Task

# Questions of a round about what errors have in common, where the strategy shows the teacher a diagnosis.
MOST_DIAGNOSES = 5

# Label questions planned for a row where a strategy has labels verified, however many one row may take: teachers
# measured so far took 1.1 to 1.2; the rest is for the questions about gold.
QUESTIONS_PLANNED = 2

# Rows of a label in the seed set at least where a share of the budget is all it gets, up to this share: of fewer rows
# and many labels no student learns enough for its errors to tell anything.
SEED_ROWS_OF_A_LABEL, MOST_FOR_SEED_ROWS = 5, 0.5


def budget(task: Task) -> int:
    """Rows and label questions that an arm may ask for: the same for all arms of a task, less what a strategy saves.

    A task that brings its seed rows asks for those of rounds alone.
    """
    return round(_budget(task))


def rounds_of(task: Task) -> int:
    """Extrapolations of the task's strategy when it is compared with others; 0 for strategies without rounds."""
    how = task.spec.how
    if how.extrapolates is None:
        return 0
    return how.steps or task.spec.experiment.rounds


def seed_size(task: Task) -> int:
    """Rows of the seed set, 0 where the task brings them. Strategies that grow it ask for those of all rounds there."""
    return _rows(task, _for_seed_set(task))


def round_size(task: Task, round_: int) -> int:
    """Rows that a round extrapolates, rounds counted from 0.

    What the seed set leaves of the budget, in ``steps`` parts that grow by ``growth``. Rounds after those have the size
    of the last: a loop may go on for longer than a comparison.
    """
    how, rows = task.spec.how, task.spec.rows
    asked = most_diagnoses(task)
    shared = how.seed_share is not None and task.spec.seed_rows is None
    if not shared and how.steps is None and how.growth == 1:
        return max(1, _rows(task, how.budget * rows.per_round - asked))
    parts = [how.growth**step for step in range(rounds_of(task))]
    left = max(0.0, _budget(task) - _for_seed_set(task))
    # Cut at rounded places, so that the parts add up to the whole.
    place = min(round_, len(parts) - 1)
    before, after = (left * sum(parts[:end]) / sum(parts) for end in (place, place + 1))
    return max(1, _rows(task, after - asked) - _rows(task, before))


def most_diagnoses(task: Task) -> int:
    """Most questions of a round about what errors have in common. The embedded teacher is asked none."""
    shown = "diagnosis" in task.spec.how.shows and task.spec.teacher.backend != "embedded"
    return MOST_DIAGNOSES if shown else 0


def asked_for_a_row(task: Task) -> int:
    """What a row is planned to take of the budget: itself, and the questions about it that the strategy brings."""
    return 1 + QUESTIONS_PLANNED if task.spec.how.verify in {"teacher", "both"} else 1


def _budget(task: Task) -> float:
    rows = task.spec.rows
    seed = rows.seed if task.spec.seed_rows is None else 0
    return task.spec.how.budget * (seed + task.spec.experiment.rounds * rows.per_round)


def _for_seed_set(task: Task) -> float:
    """What the seed set may take of the budget."""
    how = task.spec.how
    if task.spec.seed_rows is not None:
        return 0.0
    if how.grown:
        return _budget(task)
    if how.seed_share is None:
        return how.budget * task.spec.rows.seed
    whole = _budget(task)
    least = SEED_ROWS_OF_A_LABEL * len(task.spec.labels) * asked_for_a_row(task)
    return max(how.seed_share * whole, min(least, MOST_FOR_SEED_ROWS * whole))


def _rows(task: Task, allotted: float) -> int:
    """Rows for what is allotted: a strategy that has labels verified pays for the questions with rows."""
    return round(allotted / asked_for_a_row(task))
