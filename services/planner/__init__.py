"""Decides which blocks run where, prepares and publishes plans, serves the model library."""
