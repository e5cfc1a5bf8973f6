"""One target under atheris (coverage-guided; libFuzzer's options follow): `python -m fuzz.one TARGET FOLDER...`."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["schemas", "broker"]):
    from fuzz.targets import TARGETS


def main() -> None:
    """Runs until libFuzzer ends the process."""
    name, *options = sys.argv[1:]
    atheris.Setup([sys.argv[0], *options], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
