"""`stageline demo`: the whole system on one machine, from an import to answers with receipts."""
