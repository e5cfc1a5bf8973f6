"""Real pictures without a download: scikit-image ships some."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Final

NAMES: Final = ("chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png")


class NoPicturesError(FileNotFoundError):
    """The pictures that the demo shows are not installed; the message says how to get them."""

    def __init__(self) -> None:
        super().__init__("the demo's pictures come with scikit-image. Install them: pip install 'stageline[demo]'")


def packaged_pictures() -> tuple[Path, ...]:
    """A cat, a cup of coffee, a rocket and a motorcycle.

    Raises:
        NoPicturesError: scikit-image is not installed, or ships them no more.
    """
    # Only looked up, not imported: skimage takes a second to import and its files are all we want.
    spec = find_spec("skimage")
    if spec is None or spec.origin is None:
        raise NoPicturesError
    paths = tuple(Path(spec.origin).parent / "data" / name for name in NAMES)
    if not all(path.exists() for path in paths):
        raise NoPicturesError
    return paths
