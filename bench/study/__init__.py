"""`make study`: networks with exits on several devices that share one edge server.

Rebuilds the experiments of Ma, Wang and Tang, "Joint Optimization of Model Partitioning and Resource Allocation for
Multi-Exit DNNs in Edge-Device Collaboration", Electronics 2025, 14, 1647. Numbers that its text does not give are in
`assumptions.py`, rules are marked [R] where they stand; what came of it is in docs/studies/multi-exit.md. Everything
here is computed from the paper's own model: nothing is measured on devices.

One letter is the paper's: `w`, the weight of latency against energy. A *split* `s` leaves layers `[0, s)` on the
device and the rest to the edge server; a *share* is a device's part of that server.
"""
