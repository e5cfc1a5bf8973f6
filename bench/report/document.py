"""The whole page: verdicts, then every experiment with its plot, its table, its age, and what it does not show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from bench.figures import figure, rows
from bench.outcome_tables import rows_of
from bench.report.html import Html, image, joined, table, table_of, tag
from bench.report.picture import data_uri
from bench.report.sections import SECTIONS, Section
from bench.report.style import CSS
from bench.results import META
from bench.targets import verdicts
from models.durable import write_file

FILE: Final = "report.html"
_ERROR_MAX: Final = 1e-3
"""Rounding in another order, in two runtimes, stays far below; a wrong plan does not."""
_WHOSE: Final = ("", "fleet", "model", "policy", "system", "name")
_REACHED: Final = {True: ("yes", "yes"), False: ("no", "no"), None: ("open", "not measured")}


def write_report(results: Mapping[str, Any], folder: Path) -> Path:
    """Write the page into `folder`; returns its path."""
    path = folder / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, page(results).encode())
    return path


def page(results: Mapping[str, Any]) -> str:
    """The page as text. It needs nothing from outside: no script, no style sheet, no picture."""
    title = "Stageline, measured"
    head = tag("head", Html('<meta charset="utf-8">'), tag("title", title), tag("style", Html(CSS)))
    links = (tag("a", section.title, href=f"#{section.experiment}") for section in SECTIONS)
    body = tag(
        "body",
        tag("h1", title),
        _of_what(results[META]),
        tag("h2", "What it must reach"),
        *(tag("p", caveat, class_="failed") for caveat in caveats(results)),
        _verdicts(results),
        tag("nav", *links),
        *(_section(section, results) for section in SECTIONS),
    )
    return "<!doctype html>\n" + tag("html", head, body, lang="en").markup + "\n"


def _of_what(meta: Mapping[str, Any]) -> Html:
    versions = ", ".join(f"{name} {version}" for name, version in meta.get("versions", {}).items())
    told = f"{meta.get('machine', 'unknown machine')}; {versions}"
    return joined(
        tag("p", told, class_="about"),
        tag(
            "p",
            "All devices are emulated on this one machine: CPU quotas, memory limits, links with the fleet file's "
            "rates, and with its delays only where the kernel has netem. Figures are medians, of few rounds; quartiles "
            "stand small behind them. They compare ways to use the same hardware; they are not "
            "what a real Pi would do. bench/METHODOLOGY.md says how it is measured and how to repeat it.",
        ),
    )


def _verdicts(results: Mapping[str, Any]) -> Html:
    shown = []
    for verdict in verdicts(results):
        kind, word = _REACHED[verdict.reached]
        reached = tag("span", word, class_=kind)
        shown.append((verdict.name, verdict.wanted, verdict.measured, reached, verdict.why))
    return table(("target", "wanted", "measured", "reached", "remarks"), shown)


def caveats(results: Mapping[str, Any]) -> Iterator[str]:
    """What must be known before any verdict is read: which figures are coarse, old, of elsewhere, of wrong answers."""
    meta = results[META]
    experiments = meta["experiments"]
    quick = [name for name, about in experiments.items() if about["mode"] != "full"]
    if quick:
        yield f"Quick figures, most of them of one round, which is no basis for a verdict: {', '.join(quick)}."
    if meta["failures"]:
        kept = [name for name in meta["failures"] if name in experiments]
        older = f" Figures of an earlier run are shown and judged for {', '.join(kept)}." if kept else ""
        yield f"Failed when last measured: {', '.join(meta['failures'])}.{older}"
    for key, what in (("machine", "machines"), ("commit", "commits")):
        if len({about[key] for about in experiments.values()}) > 1:
            yield f"Not all figures are of the same {what}; each section says of which it is."
    loopback = [name for name, about in experiments.items() if about["links"] != "emulated"]
    if loopback:
        yield f"Measured without emulated links: {', '.join(loopback)}."
    unshaped = {
        str(row["unshaped"]) for part in ("limit", "policies") for row in rows(results, part) if row.get("unshaped")
    }
    if unshaped:
        yield f"Not emulated: {'; '.join(sorted(unshaped))}."
    wrong = [
        f"{part}: {' '.join(str(row[key]) for key in _WHOSE if key in row)} ({error:.2g})"
        for about in experiments.values()
        for part in about["parts"]
        for row in rows_of(results[part])
        if (error := figure(row, "max_abs_error")) is not None and error > _ERROR_MAX
    ]
    if wrong:
        yield f"Answers that differ from the unsplit model's by more than {_ERROR_MAX:g}: {'; '.join(wrong)}."


def _section(section: Section, results: Mapping[str, Any]) -> Html:
    meta = results[META]
    about, failure = meta["experiments"].get(section.experiment), meta["failures"].get(section.experiment)
    pieces = [tag("h2", section.title, id=section.experiment), tag("p", section.about)]
    if failure is not None:
        pieces.append(tag("p", f"It failed on {failure['taken']}: {failure['reason']}", class_="failed"))
    if about is None:
        return joined(*pieces, tag("p", "Not measured yet.", class_="taken"))
    pieces.append(tag("p", _taken(about), class_="taken"))
    drawn = section.plot(results)
    if drawn is not None:
        pieces.append(image(data_uri(drawn), f"Plot: {section.title}"))
    for part in about["parts"]:
        pieces += [table_of(rows_of(results[part])), *_inner_tables(results[part])]
    return joined(*pieces, tag("p", f"What this does not show. {section.not_shown}", class_="limits"))


def _inner_tables(part: Any) -> Iterator[Html]:
    """Lists of rows inside a part, each with its name."""
    for key, value in part.items() if isinstance(part, dict) else ():
        if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
            yield tag("h3", key.replace("_", " "))
            yield table_of(rows_of(value))


def _taken(about: Mapping[str, Any]) -> str:
    links = "" if about["links"] == "emulated" else f"; links were not emulated: {about['links']}"
    return (
        f"Measured {about['taken']} in {about['took_s']:g} s ({about['mode']}), at {about['commit']}, on "
        f"{about['machine']}; load average {about['load_before']:.1f} before, {about['load_after']:.1f} after{links}."
    )
