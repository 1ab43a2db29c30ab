"""What a person can mend about an export.

Belongs here: the error. Does not belong here: errors about students (``student/errors.py``) or rounds
(``loop/state.py``).
"""


class ExportError(RuntimeError):
    """A student cannot be exported or sent as wanted. The message says what, where and what to do."""
