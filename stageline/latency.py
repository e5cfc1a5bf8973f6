"""How long answers over one route take, from the plan's prediction and then from what was seen."""

from __future__ import annotations


class Latency:
    """Smoothed round trip of one route and how far it strays.

    The estimator of TCP's retransmission timer (Jacobson, "Congestion Avoidance and Control", SIGCOMM 1988), started
    from the plan's prediction until the first answer has been seen.
    """

    def __init__(self, predicted_s: float | None) -> None:
        self._predicted_s = predicted_s or 0.0
        self._smooth_s: float | None = None
        self._stray_s = 0.0

    @property
    def observed_s(self) -> float | None:
        """Smoothed latency, seconds; None before the first answer."""
        return self._smooth_s

    def observe(self, seconds: float) -> None:
        """Take in one request's latency, sent to answered."""
        if self._smooth_s is None:
            self._smooth_s, self._stray_s = seconds, seconds / 2
            return
        self._stray_s += (abs(seconds - self._smooth_s) - self._stray_s) / 4
        self._smooth_s += (seconds - self._smooth_s) / 8

    @property
    def mean_s(self) -> float:
        """By when about half of the answers are there, seconds; 0 when nothing is known."""
        return self._predicted_s if self._smooth_s is None else self._smooth_s

    @property
    def usual_s(self) -> float:
        """By when nearly every answer is there, seconds; 0 when nothing is known."""
        return 3 * self._predicted_s if self._smooth_s is None else self._smooth_s + 4 * self._stray_s
