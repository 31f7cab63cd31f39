"""Who may look at the page beyond this machine: one password, kept as its scrypt hash (RFC 7914)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from opticaldr.errors import Refusal

_COST, _BLOCK, _LANES = 2**14, 8, 5
"""16 MiB and five passes: OWASP's choice for little memory."""
SHORTEST = 12  # characters of a password
SESSION = 8 * 3600.0
"""Seconds that a login lasts."""
ATTEMPTS, PER_ATTEMPT = 5, 60.0
"""Attempts that a place may make at once, and seconds until it has another."""
_ALL_ATTEMPTS, _PER_ATTEMPT_OF_ALL = 30, 5.0
_PLACES, _SESSIONS = 1024, 64


class TooMany(Exception):
    """Too many attempts; ``seconds`` until the next."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"wait {seconds:.0f} s")
        self.seconds = seconds


def hash_password(password: str) -> str:
    """The line that `Login` wants; `Refusal` for a short password."""
    if len(password) < SHORTEST:
        raise Refusal("the password is too short", f"take at least {SHORTEST} characters")
    salt = os.urandom(16)
    parts = (salt, _scrypt(password, salt, _COST, _BLOCK, _LANES))
    return "$".join(
        ["scrypt", *map(str, (_COST, _BLOCK, _LANES)), *(base64.b64encode(p).decode() for p in parts)]
    )


class Login:
    """Checks passwords, and remembers who has given the right one.

    Args:
        stored: a line from `hash_password`.
        clock: monotonic seconds.

    Raises:
        Refusal: the line is something else.
    """

    def __init__(self, stored: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        try:
            name, cost, block, lanes, salt, expected = stored.split("$")
            if name != "scrypt":
                raise ValueError
            self._numbers = int(cost), int(block), int(lanes)
            self._salt, self._expected = base64.b64decode(salt), base64.b64decode(expected)
            hashlib.scrypt(b"", salt=self._salt, n=self._numbers[0], r=self._numbers[1], p=1)
        except ValueError:
            raise Refusal("password_file holds no password", "make it with opticaldr password") from None
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._sessions: OrderedDict[bytes, float] = OrderedDict()
        self._one_at_a_time = threading.Lock()

    def attempt(self, place: str, password: str) -> str | None:
        """A session token if the password is right; `TooMany` if ``place``, or everybody, tries too often."""
        with self._one_at_a_time:  # scrypt takes memory
            self._spend("everybody", _ALL_ATTEMPTS, _PER_ATTEMPT_OF_ALL)
            self._spend(f"at {place}", ATTEMPTS, PER_ATTEMPT)
            if not hmac.compare_digest(_scrypt(password, self._salt, *self._numbers), self._expected):
                return None
            self._buckets.pop(f"at {place}", None)
            token = secrets.token_urlsafe(32)
            self._sessions[_digest(token)] = self._clock() + SESSION
            while len(self._sessions) > _SESSIONS:
                self._sessions.popitem(last=False)
            return token

    def knows(self, token: str) -> bool:
        """Whether the token is of a session that has not ended."""
        return self._sessions.get(_digest(token), -1.0) > self._clock()

    def forget(self, token: str) -> None:
        """End a session."""
        self._sessions.pop(_digest(token), None)

    def _spend(self, who: str, most: int, pause: float) -> None:
        now = self._clock()
        left, last = self._buckets.get(who, (float(most), now))
        left = min(float(most), left + (now - last) / pause)
        if left < 1:
            raise TooMany((1 - left) * pause)
        self._buckets[who] = left - 1, now
        self._buckets.move_to_end(who)
        while len(self._buckets) > _PLACES:
            self._buckets.popitem(last=False)


def _scrypt(password: str, salt: bytes, cost: int, block: int, lanes: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=cost, r=block, p=lanes, maxmem=64 << 20, dklen=32)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
