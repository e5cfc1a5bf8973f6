"""report.html: one self-contained page, made from results.json alone."""

from bench.report.document import write_report

__all__ = ["write_report"]
