"""A network as blocks: where models come from, how they are cut, stored and run. Knows no bus."""
