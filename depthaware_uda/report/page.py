"""Pieces of a self-contained HTML page. All outside text is escaped here, and nowhere else."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "PICTURES",
    "bars",
    "details",
    "embedded_figure",
    "embedded_file",
    "facts",
    "names",
    "page",
    "pictures",
    "section",
    "text",
    "tiles",
]

PICTURES = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".svg": "svg+xml"}
"""Suffixes and MIME subtypes of the picture files that a page can hold. Browsers run no scripts inside pictures."""

# The policy forbids scripts and external content, in case an escape is ever missing.
_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --ink: #1d1d1f; --faint: #6b6b70; --line: #e2e2e6; --card: #fff; --back: #f6f6f8;
  --bar: #0072b2; }}
@media (prefers-color-scheme: dark) {{ :root {{ --ink: #ececf0; --faint: #a0a0a8; --line: #3a3a40; --card: #232327;
  --back: #17171a; --bar: #56b4e9; }} }}
* {{ box-sizing: border-box; }}
body {{ margin: 0 auto; max-width: 74rem; padding: 2rem 1.25rem 4rem; background: var(--back); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }}
h1 {{ margin: 0; font-size: 1.7rem; overflow-wrap: anywhere; }}
h2 {{ margin: 2.2rem 0 .8rem; font-size: 1.15rem; }}
.subtitle {{ margin: .2rem 0 1.4rem; color: var(--faint); overflow-wrap: anywhere; }}
.tiles, .grid {{ display: grid; gap: .8rem; }}
.tiles {{ grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); }}
.grid {{ grid-template-columns: repeat(auto-fill, minmax(21rem, 1fr)); }}
.card {{ margin: 0; padding: .8rem; background: var(--card); border: 1px solid var(--line); border-radius: .6rem; }}
.tiles b {{ display: block; font-size: 1.35rem; font-variant-numeric: tabular-nums; }}
.tiles span, figcaption {{ color: var(--faint); font-size: .85rem; }}
img {{ display: block; width: 100%; height: auto; background: #fff; border-radius: .3rem; }}
.wide {{ margin-bottom: .8rem; }}
.wide img {{ width: auto; max-width: 100%; max-height: 38rem; margin: 0 auto .4rem; }}
table {{ width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }}
td, th {{ padding: .25rem .5rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line);
  overflow-wrap: anywhere; }}
tr:last-child > * {{ border-bottom: 0; }}
th {{ width: 16rem; font-weight: 500; }}
.bars td:nth-child(2) {{ width: 4.5rem; text-align: right; }}
.bar {{ height: .7rem; margin-top: .35rem; background: var(--bar); border-radius: .2rem; }}
details {{ margin-top: .6rem; }}
summary {{ cursor: pointer; }}
pre, ol {{ max-height: 22rem; overflow: auto; margin: .5rem 0 0; font-size: .85rem; }}
</style>
</head>
<body>
"""


def page(title: str, subtitle: str, parts: Iterable[str]) -> str:
    """A whole document. Title and subtitle are text, the parts come from the other functions here."""
    head = _HEAD.format(title=escape(title))
    top = f'<h1>{escape(title)}</h1>\n<p class="subtitle">{escape(subtitle)}</p>\n'
    return head + top + "\n".join(part for part in parts if part) + "\n</body>\n</html>\n"


def section(heading: str, *parts: str) -> str:
    """A heading with its content; empty if there is no content."""
    content = "\n".join(part for part in parts if part)
    return f"<section>\n<h2>{escape(heading)}</h2>\n{content}\n</section>" if content else ""


def tiles(values: Mapping[str, str]) -> str:
    """A few large numbers, each with its name."""
    cells = (
        f'<div class="card"><b>{escape(value)}</b><span>{escape(name)}</span></div>' for name, value in values.items()
    )
    return f'<div class="tiles">{"".join(cells)}</div>'


def facts(values: Mapping[str, Any]) -> str:
    """A table of names and values."""
    rows = "".join(f"<tr><th>{escape(str(k))}</th><td>{escape(str(v))}</td></tr>" for k, v in values.items())
    return f'<div class="card"><table>{rows}</table></div>' if rows else ""


def bars(values: Mapping[str, float]) -> str:
    """A table of fractions in 0..1 as percent, each with a bar; NaN is "unknown"."""
    rows = []
    for name, value in values.items():
        known = value == value
        number, width = (f"{100 * value:.1f} %", 100 * min(1.0, max(0.0, value))) if known else ("unknown", 0.0)
        bar = f'<div class="bar" style="width: {width:.1f}%"></div>'
        rows.append(f"<tr><th>{escape(name)}</th><td>{number}</td><td>{bar}</td></tr>")
    return f'<div class="card"><table class="bars">{"".join(rows)}</table></div>' if rows else ""


def pictures(sources: Mapping[str, str], *, wide: bool = False) -> str:
    """Pictures with captions, in a grid or each in full width; sources come from the embedding functions."""
    figures = [
        f'<figure class="card{" wide" if wide else ""}"><img src="{escape(source)}" alt="{escape(caption)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
        for caption, source in sources.items()
    ]
    if wide or not figures:
        return "\n".join(figures)
    return f'<div class="grid">{"".join(figures)}</div>'


def names(listed: Sequence[str]) -> str:
    """A numbered list."""
    return f"<ol>{''.join(f'<li>{escape(name)}</li>' for name in listed)}</ol>"


def details(summary: str, content: str) -> str:
    """A section that opens on a click; the content comes from the other functions here."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def text(content: str) -> str:
    """Preformatted text."""
    return f"<pre>{escape(content)}</pre>"


def embedded_file(path: Path) -> str:
    """A picture file as a data URL; ValueError if its suffix is not in `PICTURES`."""
    kind = PICTURES.get(path.suffix.lower())
    if kind is None:
        raise ValueError(f"{path}: a page shows {', '.join(PICTURES)} files; save the picture as one of them")
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def embedded_figure(figure: Figure) -> str:
    """A figure as a data URL, as vector graphics."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(buffer.getvalue()).decode()}"
