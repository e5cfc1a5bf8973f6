"""Easy inputs, then hard ones, and the cut moves: a line with early exits, live (`python -m bench.exits`)."""
