"""One command a module; `stageline.cli` lists them."""
