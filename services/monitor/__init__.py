"""Observes one device: what it is, how it is doing, how far away the broker is."""
