"""Names that the table ``drift`` goes by: what rows are compared with, and the metrics.

Belongs here: names alone, for modules that must start without numpy. Does not belong here: the metrics (the modules
beside this one).
"""

# What a round's rows are compared with: steering gold, and the rows of the rounds before it.
GOLD_STEER, ROUNDS_BEFORE = "gold_steer", "rounds_before"

TEXT_METRICS = ("label_js", "length_wasserstein", "vocabulary_js", "oov_share", "distinct_1", "distinct_2")
VECTOR_METRICS = ("mmd2", "mmd2_p", "frechet", "coverage", "density", "c2st_auc", "vendi")
