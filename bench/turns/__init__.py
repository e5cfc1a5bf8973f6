"""Stageline and other systems, measured in turns on the same fleet: what slows the machine slows all of them.

Every round measures each system once, in an order that turns around from round to round. Peers stay loaded and wait
without computing while others are measured; a deployment is made anew for each turn and removed after it, so that no
plan profits from what another one left in a device's memory.
"""
