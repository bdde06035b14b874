"""How long to wait before a call is made again: what the service asks for, else exponential back-off. No torch."""

from __future__ import annotations

import email.utils
import math
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from medpref.seeds import generator

LONGEST_S = 120.0


def asked_wait_s(headers: Mapping[str, str], *, now: float) -> float | None:
    """Seconds that a service asks to wait (``Retry-After`` in seconds or as a date, ``retry-after-ms``), or None.

    ``now`` is the time of day in seconds since the epoch. At most two minutes, at least 0.
    """
    for name, scale in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        text = headers.get(name)
        if text is None:
            continue
        try:
            seconds = float(text) * scale
        except ValueError:
            parsed = email.utils.parsedate_tz(text)
            if parsed is None:
                continue
            seconds = email.utils.mktime_tz(parsed) - now
        if math.isfinite(seconds):
            return min(max(seconds, 0.0), LONGEST_S)
    return None


def backoff_s(first_s: float, attempt: int, name: str) -> float:
    """``first_s`` doubled with each attempt (from 0), at most a minute, times a drawn share between a half and one."""
    share = 0.5 + 0.5 * float(generator(0, "back-off", name, str(attempt)).random())
    return min(first_s * 2.0**attempt, 60.0) * share


@dataclass
class Gate:
    """Holds back every worker while a service asks for it, and lets all go at once when work is stopped."""

    stopped: threading.Event = field(default_factory=threading.Event)
    _until: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def hold(self, seconds: float) -> None:
        """Keep everybody waiting for so long from now."""
        with self._lock:
            self._until = max(self._until, time.monotonic() + seconds)

    def wait(self, seconds: float = 0.0) -> bool:
        """Wait so long, and until the gate is open; whether work goes on."""
        if self.stopped.wait(seconds):
            return False
        while (left := self._until - time.monotonic()) > 0:
            if self.stopped.wait(left):
                return False
        return not self.stopped.is_set()
