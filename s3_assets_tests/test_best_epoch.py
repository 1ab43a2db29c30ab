"""Which epoch is kept: the latest that selecting gold does not speak against."""

import pytest

from s3_assets.student.best_epoch import BestEpoch
from s3_assets.student.clearly_worse import clearly_worse


def right(count: int, of: int = 100) -> list[float]:
    """``of`` rows, the first ``count`` of them right."""
    return [1.0] * count + [0.0] * (of - count)


@pytest.mark.parametrize(
    ("epochs", "kept", "best"),
    [
        ([80, 70, 90], 3, 3),
        # One row of 100 is one standard error; of two rows it is 1.42.
        ([80, 79], 2, 1),
        ([80, 78], 1, 1),
        ([80, 80, 80], 3, 1),
        # Compared with the best, not with the one before: no creeping down.
        ([80, 79, 78, 77], 2, 1),
        ([80, 60, 79, 60], 3, 1),
        ([60, 80, 60], 2, 2),
    ],
)
def test_the_latest_epoch_not_clearly_below_the_best_is_kept(epochs, kept, best):
    chosen = BestEpoch()
    for epoch, count in enumerate(epochs, start=1):
        taken = chosen.take(epoch, (count / 100, -0.5), right(count))
        assert taken is (chosen.epoch == epoch)
    assert (chosen.epoch, chosen.best) == (kept, best)


def test_rows_that_change_sides_make_the_difference_uncertain():
    """Five rows lost are many where no row is won, and few where fifteen are lost and ten are won."""
    best = right(80)
    assert clearly_worse(right(75), best)
    exchanged = [1.0] * 65 + [0.0] * 15 + [1.0] * 10 + [0.0] * 10
    assert sum(exchanged) == 75
    assert not clearly_worse(exchanged, best)
    assert not clearly_worse(best, exchanged)


def test_of_equal_measures_the_lower_loss_is_the_best_and_the_later_is_kept():
    chosen = BestEpoch()
    for epoch, loss in enumerate([0.5, 0.3, 0.4], start=1):
        chosen.take(epoch, (0.9, -loss), right(90))
    assert (chosen.epoch, chosen.best) == (3, 2)


@pytest.mark.parametrize(("measures", "worse"), [([1.0], False), ([0.5], True)])
def test_one_row_is_compared_as_it_is(measures, worse):
    assert clearly_worse(measures, [1.0]) is worse


def test_without_a_row_in_common_it_is_worse():
    assert clearly_worse([], [])


def test_nothing_is_kept_before_any_epoch():
    assert (BestEpoch().epoch, BestEpoch().best) == (0, 0)
