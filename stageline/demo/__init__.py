"""`stageline demo`: the whole system on one machine, from an import to answers with receipts."""

from stageline.demo.show import main

__all__ = ["main"]
