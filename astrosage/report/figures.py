"""The report's figures as files: SVG and PNG for papers and slides, JSON with their numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from astrosage.errors import SpecError, StorageError
from astrosage.report.build import build_report
from astrosage.report.charts import Drawn, collecting
from astrosage.report.text import Html, join, tag
from astrosage.runs.directory import RunDirectory

FORMATS = ("svg", "png", "json")
_SCALE = 3  # a figure's own units are about those of a screen; print wants more
_TITLE, _LEGEND, _MARGIN = 22, 20, 12
_FONT_FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts", "/Library/Fonts", "~/.fonts")


def figures(run: RunDirectory) -> list[Drawn]:
    """Every figure of a run's report, in its order."""
    with collecting() as found:
        build_report(run)
    return found


def write(run: RunDirectory, folder: Path, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Write a run's figures.

    Args:
        run: The run directory.
        folder: Where to; made if need be.
        formats: Of :data:`FORMATS`.

    Returns:
        The files.

    Raises:
        SpecError: If a format needs what is not installed.
        StorageError: If the folder cannot be written.
    """
    makers: dict[str, Callable[[Drawn], bytes]] = {"svg": svg, "png": png, "json": data}
    made = []
    for drawn in figures(run):
        for form in formats:
            path, content = folder / f"{drawn.name}.{form}", makers[form](drawn)
            try:
                folder.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            except OSError as error:
                raise StorageError(
                    f"{path} cannot be written: {error.strerror}", "name another folder"
                ) from None
            made.append(path)
    return made


def data(drawn: Drawn) -> bytes:
    """A figure's words and numbers as JSON."""
    content = {"title": drawn.title, "description": drawn.description, "data": drawn.data}
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()


def svg(drawn: Drawn) -> bytes:
    """A figure that stands alone: light colours, white ground, its title and legend inside."""
    match = re.match(r'<svg viewBox="0 0 (\d+) (\d+)"([^>]*)>(.*)</svg>', drawn.svg, re.DOTALL)
    assert match is not None, "charts.figure made it"
    width, height = int(match[1]), int(match[2])
    top = _TITLE + (_LEGEND if drawn.legend else 0) + _MARGIN
    inner = join(
        [
            tag("style", Html(_style())),
            tag("rect", width="100%", height="100%", fill="#ffffff"),
            tag("text", drawn.title, x=str(_MARGIN), y=str(_MARGIN + 10), class_="strong"),
            *_legend(drawn, width),
            tag("g", Html(match[4]), transform=f"translate({_MARGIN} {top})"),
        ]
    )
    whole = tag(
        "svg",
        inner,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width + 2 * _MARGIN} {height + top + _MARGIN}",
        width=str(width + 2 * _MARGIN),
        height=str(height + top + _MARGIN),
    )
    return whole.encode()


def png(drawn: Drawn) -> bytes:
    """A figure as pixels, three times the size of its SVG.

    Raises:
        SpecError: If the renderer or every font is missing.
    """
    try:
        import resvg_py
    except ImportError:
        raise SpecError(
            "PNG needs the package resvg-py, which is not installed",
            "pip install 'astrosage[figures]', or take --format svg",
        ) from None
    if not _has_fonts():
        raise SpecError(
            "no TrueType or OpenType fonts are installed, so the figures would have no text",
            "install some (Debian: apt install fonts-dejavu-core), or take --format svg",
        )
    return bytes(resvg_py.svg_to_bytes(svg_string=svg(drawn).decode(), zoom=_SCALE))


def _legend(drawn: Drawn, width: int) -> Iterator[Html]:
    x, y = float(_MARGIN), _MARGIN + _TITLE
    for label, style in drawn.legend:
        # A square in the colour that the page gives the legend's key.
        yield tag("rect", x=f"{x:.0f}", y=f"{y - 6}", width="10", height="10", class_=f"k {style}")
        yield tag("text", label, x=f"{x + 15:.0f}", y=f"{y + 3}")
        x += 30 + 7.2 * len(label)
        if x > width:
            return


@lru_cache
def _style() -> str:
    """The page's rules for pictures, light, with their variables filled in."""
    sheet = files("astrosage.report").joinpath("style.css").read_text(encoding="utf-8")
    variables = dict(re.findall(r"(--[\w-]+): (#[0-9a-f]+)", sheet.partition("@media")[0]))
    pictured = re.compile(
        r"^(?:svg text|\.(?:grid|chance|line|whisker|area|edge|box|bar|dot|key|k))\b.*$",
        re.MULTILINE,
    )
    rules = "\n".join(pictured.findall(sheet))
    rules = re.sub(r"\.key(\.\w+) \{ background: (var\(--[\w-]+\))", r".k\1 { fill: \2", rules)
    rules = re.sub(r"\.key[^{]*\{[^}]*\}", "", rules)
    return re.sub(r"var\((--[\w-]+)\)", lambda m: variables[m[1]], rules)


def _has_fonts() -> bool:
    return any(
        next(Path(folder).expanduser().rglob("*.[to]tf"), None) is not None
        for folder in _FONT_FOLDERS
    )
