"""What tests of the catalog share: the moment at which a session sees everything that was written.

Belongs here: what more than one of them needs and is no fixture. Does not belong here: fixtures (``conftest.py``).
"""

# Later than any part of the tests, so that they need not wait for the second the views look back.
LATER = "SET VARIABLE as_of = TIMESTAMPTZ '2200-01-01 00:00:00+00'"
