"""Unequal devices on one Linux machine: real services in their own processes, each group of them slowed down."""
