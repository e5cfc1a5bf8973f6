"""The contract: what travels on the bus, field by field. Imports nothing of ours."""
