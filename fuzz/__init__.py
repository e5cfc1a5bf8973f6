"""Hostile bytes: whatever a broker may hand us is thrown at everything that decodes it. Not packaged; `make fuzz`."""
