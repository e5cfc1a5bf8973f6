"""What learning is worth, what it costs, and how long it takes: `python -m bench.learning`."""
