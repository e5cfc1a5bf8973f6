"""Which exits to keep open: pure functions of layers' costs and of what validation data shows.

A setting is the tuple of open early exits, ascending; exit `j` stands behind layer `j` (layers count from 0), and the
last layer's own exit is always open and never named. `interval` is SPINN's way, `nested` is exact where whoever could
leave at an exit could leave at all later ones, `beam` and `ants` know how exits' verdicts go together (Ma and Tang,
"Correlation-Aware Exit Setting for Deep Neural Network Inference", DSIns 2024; reconstructed, since only its idea is
public), `brute` is their test, and `best` is what to call.
"""
