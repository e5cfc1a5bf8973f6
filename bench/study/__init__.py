"""`make study`: networks with exits on several devices that share one edge server.

Rebuilds the experiments of Ma, Wang and Tang, "Joint Optimization of Model Partitioning and Resource Allocation for
Multi-Exit DNNs in Edge-Device Collaboration", Electronics 2025, 14, 1647. What its text does not give is in
`assumptions.py`, and nowhere else; what came of it is in docs/studies/multi-exit.md. Everything here is computed from
the paper's own model: nothing is measured on devices.

One letter is the paper's: `w`, the weight of latency against energy. A *split* `s` leaves layers `[0, s)` on the
device and the rest to the edge server; a *share* is a device's part of that server.
"""
