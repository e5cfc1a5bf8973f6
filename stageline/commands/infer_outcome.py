"""What became of each file of `stageline infer`, and of all together."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from typing import Any, Final

import numpy as np
from rich.markup import escape

from schemas.codec import Array
from stageline.commands.conduct import Report
from stageline.receipts import Receipt, Result
from stageline.tables import new_table

_SHORT_PATH: Final = 24


@dataclass(slots=True)
class Outcome:
    """A row for each file; shown as a table, or written as JSON."""

    deployment: str
    top: int
    save: Path | None
    rows: list[dict[str, Any]] = field(default_factory=list)
    receipts: list[Receipt | None] = field(default_factory=list)
    """Of each row; None where it failed. Answers are not kept: a bulk run has more of them than memory."""
    failures: int = 0
    wall_s: float = 0.0
    audit: dict[str, int] = field(default_factory=dict)

    async def add(self, path: Path, result: Result) -> None:
        """Take in one file's result; its outputs are saved where that was asked for."""
        row: dict[str, Any] = {"file": str(path)}
        if result.answer is None:
            self.failures += 1
            row["error"] = str(result.error)
        else:
            if result.answer.names_classes:
                guesses = result.answer.top(self.top)
                row |= {
                    "label": guesses[0].label,
                    "probability": guesses[0].probability,
                    "top": [{"label": one.label, "probability": one.probability} for one in guesses],
                }
            row |= {
                "outputs": {
                    name: f"{one.dtype}[{'x'.join(map(str, one.shape))}]" for name, one in result.answer.outputs.items()
                },
                "latency_ms": result.answer.receipt.line_ms,
                "cached": bool(result.answer.receipt.cached_from),
                "exit": result.answer.receipt.exit,
                "receipt": result.answer.receipt.as_dict(),
            }
            if self.save is not None:
                target = self.save / f"{result.index:05d}-{path.stem}.npz"
                await asyncio.to_thread(_save, target, result.answer.outputs)
                row["saved"] = str(target)
        self.rows.append(row)
        self.receipts.append(result.answer.receipt if result.answer else None)

    def show(self, report: Report, *, receipts: bool) -> None:
        """Print the table, what failed or the receipts, and a summary."""
        folder, names = shortened([row["file"] for row in self.rows])
        if folder:
            report.out.print(f"in {escape(folder)}", soft_wrap=True)
        table = new_table(None, "~file", "~label", ">probability", ">ms on the line", "~route")
        lines = list(zip(names, self.rows, self.receipts, strict=True))
        for name, row, receipt in lines:
            if receipt is None:
                continue
            outputs = [f"{output} {kind}" for output, kind in row["outputs"].items()]
            table.add_row(
                escape(name),
                "\n".join(
                    escape(one) for one in ([guess["label"] for guess in row["top"]] if "top" in row else outputs)
                ),
                "\n".join(f"{one['probability']:.3f}" for one in row.get("top", ())),
                "" if receipt.cached_from else f"{receipt.line_ms:.1f}",
                "from the cache" if receipt.cached_from else escape(_way(receipt)),
            )
        if table.row_count:
            report.out.print(table)
        for name, row, receipt in lines:
            if receipt is None:
                why = row["error"].replace(row["file"], name)
                report.out.print(f"[red]failed:[/red] {escape(why if name in why else f'{name}: {why}')}")
            elif receipts:
                report.out.print(f"\n[bold]{escape(name)}[/bold]")
                report.out.print(receipt.table())
        summary = self.summary()
        cached = f" ({summary['cached']} of them from the cache)" if summary["cached"] else ""
        text = f"{summary['answered']} answered{cached}, {summary['failed']} failed in {self.wall_s:.2f} s"
        if summary["answered"]:
            text += (
                f": {summary['throughput_rps']:.1f} per second, p50 {summary['latency_ms']['p50']:.1f} ms, "
                f"p95 {summary['latency_ms']['p95']:.1f} ms on the line"
            )
        for name, count in summary["exits"].items():
            text += f"; {count} left at {name}"
        report.out.print(text)

    def summary(self) -> dict[str, Any]:
        """Counts, latencies of what did not come from the cache, and throughput."""
        answers = [row for row in self.rows if "latency_ms" in row]
        p50, p95 = percentiles(sorted(row["latency_ms"] for row in answers if not row["cached"]))
        answered = len(answers)
        return {
            "answered": answered,
            "cached": sum(row["cached"] for row in answers),
            "failed": self.failures,
            "exits": dict(sorted(Counter(row["exit"] for row in answers if row["exit"]).items())),
            "latency_ms": {"p50": p50, "p95": p95},
            "throughput_rps": answered / self.wall_s if self.wall_s else 0.0,
            "wall_s": self.wall_s,
        }

    def document(self) -> dict[str, Any]:
        """What `--json` writes."""
        return {"deployment": self.deployment, "results": self.rows, "summary": self.summary(), "audit": self.audit}


def _way(receipt: Receipt) -> str:
    return f"{receipt.route}, left at {receipt.exit}" if receipt.exit else receipt.route


def _save(target: Path, outputs: Mapping[str, Array]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    np.savez(target, allow_pickle=False, **outputs)


def percentiles(values: list[float]) -> tuple[float, float]:
    """The 50th and 95th percentile; 0 where there is nothing."""
    if len(values) < 2:
        return (values[0], values[0]) if values else (0.0, 0.0)
    cuts = quantiles(values, n=20, method="inclusive")
    return cuts[9], cuts[18]


def shortened(files: Sequence[str]) -> tuple[str, list[str]]:
    """The folder that these files are all below, and their paths from there; no folder where they are short anyway."""
    paths = [Path(file) for file in files]
    if not files or max(map(len, files)) <= _SHORT_PATH:
        return "", list(files)
    folder = next((one for one in paths[0].parents if all(path.is_relative_to(one) for path in paths)), Path())
    if folder in (Path(), Path(folder.anchor)):
        return "", list(files)
    return str(folder), [str(path.relative_to(folder)) for path in paths]
