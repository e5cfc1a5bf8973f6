"""What `stageline bench` measures: one module each, with `run(progress, quick=...)`."""
