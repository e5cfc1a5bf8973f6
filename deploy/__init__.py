"""Templates for service managers and for a hub that others may reach."""
