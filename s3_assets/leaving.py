"""How a process of ours ends.

Belongs here: what entry points (the command, the code location) arrange for their exit. Does not belong here: what
they do before.
"""

import atexit
import gc


def leave_quickly() -> None:
    """Let the process end without a last search for garbage among all it imported: the system frees that anyway.

    Every step is a process of its own; its end took 0.4 to 0.6 s, with torch 1.4 s. This way less than 0.1 and 0.3 s.
    """
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)
