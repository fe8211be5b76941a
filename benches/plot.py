#!/usr/bin/env python3
"""Draws the CPU time of a request, of flowtap and of others, as an SVG bar chart.

Usage: benches/plot.py TABLE [--only NAME,NAME,...] [--note TEXT] > docs/performance.svg

TABLE is Markdown or CSV, with a row for each program and its name first. The first table is taken
that has all columns of COLUMNS; of a cell such as "15.8 (13.9-25.9)" the first number counts, in
microseconds. Programs whose names begin with "flowtap" stand out.
"""

import csv
import math
import re
import sys
from html import escape

# What the panels are called, and how the columns of the table are known.
COLUMNS = [
    ("plain HTTP, 100 B, kept alive", r"\bplain\b"),
    ("intercepted, 100 B, kept alive", r"/small\b|\b100 B\b"),
    ("intercepted, 10 KB, kept alive", r"\b10 ?[kK]i?B?\b"),
    ("intercepted, a new connection each", r"\bnew conn"),
]

WIDTH, NAME, RIGHT = 760, 170, 70
BAR, GAP, HEAD, PANEL_GAP, TOP = 16, 4, 24, 16, 34

STYLE = """
text { font: 12px system-ui, sans-serif; fill: #424a53; }
.title { font-size: 14px; font-weight: 600; }
.panel { font-weight: 600; }
.name { text-anchor: end; }
.tick { text-anchor: middle; font-size: 10px; }
.grid { stroke: #8c959f; stroke-opacity: .35; }
.bar { fill: #8c959f; }
.own { fill: #0969da; }
text.own { fill: #0969da; font-weight: 600; }
@media (prefers-color-scheme: dark) {
  text { fill: #c9d1d9; }
  .bar { fill: #6e7681; }
  .own, text.own { fill: #58a6ff; }
}
"""


def tables(path):
    """The tables of a file, as lists of rows of cells."""
    with open(path, encoding="utf-8", newline="") as file:
        if path.endswith(".csv"):
            yield list(csv.reader(file))
            return
        table = []
        for line in [*file, ""]:
            if line.startswith("|"):
                table.append([cell.strip() for cell in line.strip().strip("|").split("|")])
            elif table:
                yield table
                table = []


def number(cell):
    found = re.match(r"[\d,]+(\.\d+)?", cell.replace("*", ""))
    return float(found[0].replace(",", "")) if found else None


def panels(path, only):
    """For each column its title and (name, microseconds), the least first."""
    for head, *rows in tables(path):
        found = [next((at for at, cell in enumerate(head) if at and re.search(pattern, cell)), None)
                 for _, pattern in COLUMNS]
        if None in found:
            continue
        rows = [row for row in rows if len(row) == len(head) and number(row[found[1]])]
        rows = [row for row in rows if not only or row[0] in only]
        for (title, _), at in zip(COLUMNS, found):
            values = [(row[0], number(row[at])) for row in rows]
            yield title, sorted((it for it in values if it[1]), key=lambda it: it[1])
        return
    sys.exit(f"{path}: no table has a column for each of: " + "; ".join(it[0] for it in COLUMNS))


def shown(us):
    return f"{us:.1f} µs" if us < 100 else f"{us:,.0f} µs"


def draw(found, note):
    values = [us for _, bars in found for _, us in bars]
    low = 10 ** math.floor(math.log10(min(values)) - 0.3)
    high = max(values)
    scale = (WIDTH - NAME - RIGHT) / math.log10(high / low)
    x = lambda us: NAME + scale * math.log10(us / low)
    height = TOP + sum(HEAD + (BAR + GAP) * len(bars) + PANEL_GAP for _, bars in found) + 34
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        "<title>CPU time of a request</title>",
        f"<style>{STYLE}</style>",
        '<text class="title" x="0" y="16">CPU time of the proxy for a request: less is better'
        " (logarithmic)</text>",
    ]
    bottom = height - 34
    tick = low
    while tick <= high:
        out.append(f'<line class="grid" x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{TOP}"'
                   f' y2="{bottom}"/>')
        label = f"{tick:g} µs" if tick < 1000 else f"{tick / 1000:g} ms"
        out.append(f'<text class="tick" x="{x(tick):.1f}" y="{bottom + 12}">{label}</text>')
        tick *= 10
    y = TOP
    for title, bars in found:
        out.append(f'<text class="panel" x="{NAME}" y="{y + 16}">{escape(title)}</text>')
        y += HEAD
        for name, us in bars:
            own = " own" if name.startswith("flowtap") else ""
            out.append(f'<text class="name{own}" x="{NAME - 8}" y="{y + 12}">{escape(name)}</text>')
            out.append(f'<rect class="bar{own}" x="{NAME}" y="{y}" width="{x(us) - NAME:.1f}"'
                       f' height="{BAR}" rx="2"/>')
            out.append(f'<text class="{own.strip()}" x="{x(us) + 6:.1f}" y="{y + 12}">{shown(us)}'
                       "</text>")
            y += BAR + GAP
        y += PANEL_GAP
    out += [f'<text class="tick" style="text-anchor: start" x="0" y="{height - 6}">{escape(note)}'
            "</text>", "</svg>"]
    return "\n".join(out)


def main(arguments):
    options = {"--only": "", "--note": ""}
    paths = []
    while arguments:
        argument = arguments.pop(0)
        if argument in options and arguments:
            options[argument] = arguments.pop(0)
        else:
            paths.append(argument)
    if len(paths) != 1 or paths[0].startswith("-"):
        sys.exit(__doc__)
    only = [name for name in options["--only"].split(",") if name]
    print(draw(list(panels(paths[0], only)), options["--note"]))


if __name__ == "__main__":
    main(sys.argv[1:])
