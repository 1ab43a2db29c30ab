"""Colours, marks and sizes that every picture of the report is drawn with.

Belongs here: what pictures share in looks. Does not belong here: drawing (the modules beside this one), the page's
colours for light, dark and paper (``templates/report.css``), which replace these by the names in ``VARIABLES``.
"""

from dataclasses import dataclass

# Of PNGs: pixels across. Figures are 7.2 inches wide, which is 720 CSS pixels on the page.
PNG_WIDTH, FIGURE_INCHES = 900, 7.2

INK, QUIET, GRID, PAPER = "#1a1a1a", "#5f5f5f", "#e2e2e2", "#ffffff"

# Of Okabe and Ito's colours those that stand out from white by 3:1; told apart with any colour vision.
BLUE, VERMILION, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#cc79a7"

# The page's CSS variable for each colour. No other colour is in a picture.
VARIABLES = {
    INK: "--ink",
    QUIET: "--quiet",
    GRID: "--grid",
    PAPER: "--paper",
    BLUE: "--blue",
    VERMILION: "--vermilion",
    GREEN: "--green",
    PURPLE: "--purple",
}

# Points.
TEXT_SIZE, SMALL_SIZE = 9, 8


@dataclass(frozen=True)
class Look:
    """How one series is drawn: colour, mark and line differ, so that none is told by colour alone."""

    colour: str
    mark: str
    line: str


_COLOURS = (BLUE, VERMILION, GREEN, PURPLE)
_MARKS = ("o", "^", "s", "D", "v", "P", "h")
_LINES = ("-", "--", "-.", ":")


def look(place: int) -> Look:
    """Look of the series at ``place``, from 0. Repeats after 28."""
    return Look(_COLOURS[place % len(_COLOURS)], _MARKS[place % len(_MARKS)], _LINES[place % len(_LINES)])
