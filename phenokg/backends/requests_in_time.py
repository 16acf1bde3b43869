"""When a request may be made: evenly spaced calls, and growing, scattered waits between tries."""

import random
import time

import anyio


class CallPace:
    """Spaces calls evenly.

    Args:
        per_minute: Calls; 0 means as many as come.
    """

    def __init__(self, per_minute: float) -> None:
        self._spacing_s = 60 / per_minute if per_minute else 0.0
        self._next = 0.0

    async def wait(self) -> None:
        """Returns when the next call is due."""
        now = time.monotonic()
        due = max(now, self._next)
        self._next = due + self._spacing_s
        if due > now:
            await anyio.sleep(due - now)


def wait_before_retry(number: int, *, first_s: float, longest_s: float, asked_s: float | None = None) -> float:
    """Seconds before a further try: doubled each time and scattered, so that many clients do not return as one.

    Args:
        number: Of the try that failed, from 0.
        first_s: Longest wait after the first try.
        longest_s: No wait is longer.
        asked_s: What the server asked for, if it did; not undercut up to `longest_s`.

    Example:
        >>> 2.0 <= wait_before_retry(2, first_s=1.0, longest_s=30.0) <= 4.0
        True
        >>> 20.0 <= wait_before_retry(0, first_s=1.0, longest_s=30.0, asked_s=20.0) <= 30.0
        True
    """
    # 2 ** 30 is beyond any wait: the exponent stays small.
    wait_s = min(longest_s, first_s * 2 ** min(number, 30)) * random.uniform(0.5, 1.0)
    return min(longest_s, max(wait_s, asked_s or 0.0))
