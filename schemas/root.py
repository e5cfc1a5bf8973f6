"""Where all topics are, and the one that carries plain bytes; apart from `topics` because it imports nothing."""

from typing import Final

ROOT: Final = "stageline/v1"

ECHO_TEMPLATE: Final = "device/{device}/echo"
"""A monitor's own probe bytes, to itself, to measure its link; the payload is padding behind a random token."""
