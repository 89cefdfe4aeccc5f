"""Pages in HTML that need nothing beside themselves: pictures inside, no scripts, nothing from a network."""

import base64
from collections.abc import Iterable, Sequence
from html import escape

from kline_core.plots.style import Figure, png

_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 "DejaVu Sans", system-ui, sans-serif; color: #1d2733; background: #fff; max-width: 60rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.35rem; line-height: 1.35; }
h2 { font-size: 1.1rem; margin-top: 2.2rem; border-top: 1px solid #d5dae0; padding-top: 1rem; }
img { width: 100%; height: auto; }
p.warning { background: #fff6e0; border-left: 4px solid #d39e00; padding: .5rem .8rem; }
p.read, ul.read { color: #6b7683; font-size: .88rem; }
div.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; margin: .6rem 0; }
th { text-align: right; font-weight: 600; border-bottom: 1px solid #d5dae0; }
td { text-align: right; border-bottom: 1px solid #eef1f4; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .7rem; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
"""


def page(title: str, parts: Sequence[str]) -> str:
    """A page of such parts: self-contained, in the style of all pages."""
    body = "\n".join(parts)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def picture_part(figure: Figure, about: str) -> str:
    """A figure, and what a reader hears who cannot see it."""
    image = base64.b64encode(png(figure, palette=True)).decode("ascii")
    return f'<img alt="{escape(about)}" src="data:image/png;base64,{image}">'


def table_part(title: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table below its title."""
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>\n" for row in rows)
    return f'<h3>{escape(title)}</h3>\n<div class="wide"><table><tr>{cells}</tr>\n{body}</table></div>'


def list_part(lines: Iterable[str], kind: str = "") -> str:
    """Lines as a list; `kind`: "read" for what is small print."""
    items = "".join(f"<li>{escape(line)}</li>\n" for line in lines)
    return f'<ul class="{kind}">\n{items}</ul>' if kind else f"<ul>\n{items}</ul>"


def reading_part(text: str) -> str:
    """How to read what stands above."""
    return f'<p class="read">{escape(text)}</p>'
