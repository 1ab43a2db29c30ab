"""What a person can mend about a student's inputs.

Belongs here: the error. Does not belong here: checkpoints that cannot be loaded (``weights.py``).
"""


class StudentError(ValueError):
    """A student cannot be trained or asked as wanted. The message says what, where and what to do."""
