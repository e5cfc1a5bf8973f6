"""The three services, which speak to each other over the bus and never import each other."""
