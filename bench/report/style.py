"""How the page looks; inside it, since it must look so where there is no network."""

from typing import Final

CSS: Final = """
:root { color-scheme: light; --ink: #1d2530; --faint: #5b6675; --line: #d9dee5; --yes: #1f7a45; --no: #b3261e; }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.7rem; margin-bottom: .2rem; }
h2 { font-size: 1.25rem; margin: 2.4rem 0 .4rem; border-top: 1px solid var(--line); padding-top: 1.4rem; }
p { max-width: 48rem; }
.about, small, .taken { color: var(--faint); }
.taken { font-size: .85rem; }
.scroll { overflow-x: auto; margin: .6rem 0 1rem; }
table { border-collapse: collapse; font-size: .88rem; }
th, td { padding: .25rem .7rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top; text-align: left; }
th { color: var(--faint); font-weight: 600; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
img { max-width: 100%; height: auto; }
.yes { color: var(--yes); font-weight: 600; } .no { color: var(--no); font-weight: 600; } .open { color: var(--faint); }
.failed { border-left: 3px solid var(--no); padding-left: .8rem; }
.limits { border-left: 3px solid var(--line); padding-left: .8rem; color: var(--faint); }
nav a { margin-right: .9rem; }
"""
