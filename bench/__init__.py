"""Measurements: a testbed of emulated devices, the peers, the experiments and their report. Not packaged."""
