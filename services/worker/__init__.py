"""Computes: holds stages, moves frames."""
