"""The count of what was submitted and what became of it, from which nothing may be missing."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(slots=True)
class Audit:
    """`submitted = answered + failed` once nothing is open; what is missing from that is lost."""

    submitted: int = 0
    answered: int = 0
    failed: int = 0
    open: int = 0
    resent: int = 0
    duplicates_dropped: int = 0
    """Answers to a request that already had one; none was ever shown."""
    late_dropped: int = 0
    """Answers that came after their request had failed."""
    cached: int = 0
    """Answers given from the client's cache, to requests that are in none of the other counts."""

    @property
    def lost(self) -> int:
        """Requests that are neither open nor resolved: always 0, or `requests_in_flight` is wrong."""
        return self.submitted - self.answered - self.failed - self.open

    def as_dict(self) -> dict[str, int]:
        """For JSON."""
        return {**asdict(self), "lost": self.lost}
