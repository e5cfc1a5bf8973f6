"""`python -m fuzz [--seconds 60] [--only TARGET]`: each target in a process of its own, in turn, with what it found."""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from fuzz.seeds import CORPUS
from fuzz.targets import TARGETS

BUILD: Final = Path("build/fuzz")
"""What a run finds: `<target>/corpus/` grows from run to run, `<target>/crash-*` are inputs that broke a promise."""

_GRACE_S: Final = 60
_EXIT_MEND: Final = 2
_INPUT_LIMIT_S: Final = 10
_MEMORY_LIMIT_MB: Final = 1024


def main() -> int:
    """0: nothing found; 1: something; 2: atheris is not installed."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="in all, shared by the targets")
    parser.add_argument("--only", choices=sorted(TARGETS), help="one target gets all the time")
    chosen = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        sys.stderr.write(
            "fuzz: atheris is not installed. `make fuzz` installs it where there is a wheel for this Python "
            "(`pip install --constraint constraints.txt atheris` says why not): Linux, x86-64. Elsewhere run this in a "
            "container. Without it, `pytest tests/fuzz tests/schemas` runs the corpus and the property tests\n"
        )
        return _EXIT_MEND
    targets = [chosen.only] if chosen.only else list(TARGETS)
    seconds = max(1, chosen.seconds // len(targets))
    broken = [target for target in targets if not _fuzz(target, seconds)]
    for target in broken:
        found = ", ".join(str(path) for path in sorted((BUILD / target).glob("crash-*"))) or "see above"
        sys.stderr.write(
            f"fuzz: {target} broke a promise: {found}. Replay with `pytest tests/fuzz`; once mended, keep the input: "
            f"move it to {CORPUS.name}/{target}/ beside the others\n"
        )
    return 1 if broken else 0


def _fuzz(target: str, seconds: int) -> bool:
    """One target for a while; whether it kept its promises."""
    folder = BUILD / target
    grown = folder / "corpus"
    grown.mkdir(parents=True, exist_ok=True)
    command = [
        sys.executable, "-m", "fuzz.one", target,
        str(grown), str(CORPUS / target),
        f"-max_total_time={seconds}", f"-timeout={_INPUT_LIMIT_S}", f"-rss_limit_mb={_MEMORY_LIMIT_MB}",
        f"-artifact_prefix={folder}{os.sep}", "-print_final_stats=1", "-verbosity=0", "-max_len=8192",
    ]  # fmt: skip
    sys.stderr.write(f"fuzz: {target}, {seconds} s\n")
    return subprocess.run(command, check=False, timeout=seconds + _GRACE_S).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
