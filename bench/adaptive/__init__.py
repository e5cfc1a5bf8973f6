"""Plans that follow the world against plans that stand still: the same trace of changes, replayed to each.

`python -m bench.adaptive` (`make bench-adaptive`) measures; `bench.adaptive.trace` says what changes and when.
"""
