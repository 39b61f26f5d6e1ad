"""Trying again: what may be tried, how long to wait, when to stop. By exception type and status, never by message text."""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Callable

import httpx2

TOO_MANY = 429
# What these statuses leave open: the server may have done the work, or may do it on another try.
UNSURE = (408, 429, 500, 502, 503, 504)
TRIES = 6
FIRST_WAIT_S = 0.5
_MOST_WAIT_S = 20.0
# A server may ask for more patience than that, but not for hours.
_MOST_ASKED_S = 300.0


def send_again(send: Callable[[], httpx2.Response], given_up: threading.Event | None = None) -> httpx2.Response:
    """The answer to a request that changes nothing; asked again while the network or the server fails.

    The last answer is returned as it is, the last exception is raised. A 429 is asked again when its server says. Once it is
    `given_up` nothing is waited for.
    """
    for tries in range(1, TRIES):
        asked = None
        try:
            response = send()
        except httpx2.TransportError:
            pass
        else:
            if response.status_code not in UNSURE:
                return response
            asked = _asked_wait(response.headers)
        wait(tries, asked, given_up)
    return send()


def send_once(send: Callable[[], httpx2.Response]) -> httpx2.Response:
    """The answer to a request that changes something: asked again only after a 429, which says that nothing was done."""
    for tries in range(1, TRIES):
        response = send()
        if response.status_code != TOO_MANY:
            return response
        wait(tries, _asked_wait(response.headers))
    return send()


def wait(tries: int, asked_s: float | None = None, given_up: threading.Event | None = None) -> None:
    """Sleep before try number `tries` + 1: as long as the server asked for, else twice as long each time, with jitter."""
    dice = random.random()  # noqa: S311 - jitter, not a secret
    seconds = min(_MOST_WAIT_S, FIRST_WAIT_S * 2 ** (tries - 1)) * (0.5 + dice)
    if asked_s is not None:
        seconds = min(asked_s, _MOST_ASKED_S) + dice * FIRST_WAIT_S
    if given_up is None:
        time.sleep(seconds)
    else:
        given_up.wait(seconds)


def _asked_wait(headers: httpx2.Headers) -> float | None:
    """Seconds that a server asks for: the Hub's `ratelimit: "api";r=0;t=55`, else `Retry-After`."""
    limit = re.search(r"r=0\s*;.*?t=(\d+)", headers.get("ratelimit", ""))
    said = limit[1] if limit else headers.get("retry-after", "")
    try:
        return max(0.0, float(said))
    except ValueError:
        return None
