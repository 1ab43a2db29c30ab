"""A figure as PNG for the Dagster UI and as SVG for the page; axes as all pictures have them.

Belongs here: turning a matplotlib figure into bytes or markup. Does not belong here: what is drawn (``pictures.py``,
``drift_picture.py``, ``map_picture.py``), the page (``page.py``).
"""

import base64
import io
import re
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from s3_assets.report.palette import FIGURE_INCHES, GRID, PAPER, PNG_WIDTH, QUIET, TEXT_SIZE, VARIABLES

# matplotlib costs 0.5 s: it is imported where a picture is drawn.
if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Groups of an SVG that keep their id begin with this; all others are matplotlib's own.
KEPT = "s3-"

# matplotlib's SVG settings are of the whole process: two threads must not change them at once.
_SETTINGS = threading.Lock()

_TAG = re.compile(r"<[^>]+>")
_COLOUR = re.compile("|".join(VARIABLES))
_ID = re.compile(r' id="([^"]+)"')
_POINTED_AT = re.compile(r'href="#([^"]+)"|url\(#([^)]+)\)')
# A colour of a pattern; variables are for styles alone.
_ATTRIBUTE = re.compile(r' (fill|stroke)="(#[0-9a-f]{6})"')
# Fonts are the page's.
_FONT = re.compile(r"font-family: [^;\"]*;? ?")
_FONT_SHORT = re.compile(r"font: (?:(\d+) )?([\d.]+px) [^;\"]*")


def new_figure(height: float, width: float = FIGURE_INCHES) -> "Figure":
    """An empty figure of ``width`` by ``height`` inches. Uses none of pyplot's state: safe in threads."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), facecolor=PAPER)
    FigureCanvasAgg(figure)
    return figure


def plain_axes(axes: "Axes", grid: str) -> None:
    """Quiet ticks, two spines, a grid along ``grid`` (x, y or both) behind the marks."""
    axes.set_facecolor(PAPER)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(QUIET)
    axes.tick_params(color=QUIET, labelcolor=QUIET, labelsize=TEXT_SIZE)
    axes.grid(axis=grid, color=GRID, linewidth=0.8)  # type: ignore[arg-type]
    axes.set_axisbelow(True)


def round_ticks(axes: "Axes", rounds: list[int], room: float = 0.4) -> None:
    """The x axis as rounds, whole numbers only."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlim(min(rounds) - room, max(rounds) + room)
    if len(rounds) > 12:
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    else:
        axes.set_xticks(rounds)


def png(figure: "Figure") -> bytes:
    """The figure on white, 900 pixels wide; the same figure gives the same bytes."""
    drawn = io.BytesIO()
    dpi = PNG_WIDTH / figure.get_figwidth()
    figure.savefig(drawn, format="png", dpi=dpi, facecolor=PAPER, metadata={"Software": None})
    return drawn.getvalue()


def markdown_picture(title: str, picture: bytes) -> str:
    """A PNG as a Markdown image that needs no file."""
    return f"![{title}](data:image/png;base64,{base64.b64encode(picture).decode('ascii')})"


def svg(figure: "Figure", name: str, title: str, description: str, edit: Callable[[str], str] | None = None) -> Markup:
    """The figure as an inline SVG with text as text and the page's colours; the same figure gives the same markup.

    ``name`` is unique on the page and part of every id. ``title`` and ``description`` are what a screen reader says;
    both are escaped. ``edit`` may change matplotlib's markup before ids and colours are replaced.
    """
    import matplotlib as mpl

    drawn = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with _SETTINGS, mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(drawn, format="svg", facecolor="none", metadata=nothing)
    text = drawn.getvalue()
    shape = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', text)
    if shape is None:
        raise ValueError("matplotlib's SVG has no viewBox")
    inside = text[text.index(">", shape.end()) + 1 : text.rindex("</svg>")]
    inside = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>|<metadata>.*?</metadata>", "", inside, flags=re.DOTALL)
    if edit is not None:
        inside = edit(inside)
    pointed_at = {one or other for one, other in _POINTED_AT.findall(inside)}
    inside = _TAG.sub(lambda tag: _retag(tag[0], name, pointed_at), inside)
    # Markup of matplotlib's, whose texts it escapes; what else goes in is escaped here or by `edit`.
    return Markup(  # noqa: S704
        f'<svg class="picture" viewBox="0 0 {shape[1]} {shape[2]}" role="img" '
        f'aria-labelledby="{name}-title {name}-desc">'
        f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-desc">{escape(description)}</desc>'
        f"{inside}</svg>"
    )


def _retag(tag: str, name: str, pointed_at: set[str]) -> str:
    """One tag with ids that are unique on the page, CSS variables for colours and no fonts."""

    def renamed(found: re.Match[str]) -> str:
        if found[1].startswith(KEPT):
            return found[0]
        return f' id="{name}-{found[1]}"' if found[1] in pointed_at else ""

    tag = _ID.sub(renamed, tag).replace("xlink:href", "href")
    tag = tag.replace('href="#', f'href="#{name}-').replace("url(#", f"url(#{name}-")
    tag = _FONT_SHORT.sub(
        lambda found: f"font-size: {found[2]}" + (f"; font-weight: {found[1]}" if found[1] else ""), tag
    )
    tag = _FONT.sub("", tag)
    tag = _ATTRIBUTE.sub(r' style="\1: \2"', tag)
    return _COLOUR.sub(lambda found: f"var({VARIABLES[found[0]]})", tag)
