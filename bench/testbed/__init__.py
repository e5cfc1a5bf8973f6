"""Emulated devices on one Linux machine: CPU quotas, memory limits, and a network each, from a fleet file.

`python -m bench.testbed FLEET.toml` brings one up until Ctrl-C. In a program, call `enter_private_network()` first.
"""

from bench.testbed.bed import NotShapedError, Testbed
from bench.testbed.namespace import enter_private_network
from bench.testbed.start import testbed

__all__ = ["NotShapedError", "Testbed", "enter_private_network", "testbed"]
