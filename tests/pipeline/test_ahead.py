"""`one_ahead`: the items in order, made one ahead of their consumer; and left in any state, it ends."""

import gc
import subprocess
import sys
import threading

import pytest

from pipeline.ahead import one_ahead


def numbers(closed):
    try:
        yield from range(1, 4)
    finally:
        closed.set()


def test_items_come_in_order_and_errors_where_they_stand():
    """All items, then the end; an error after those that came before it."""

    def failing():
        yield 1
        raise ValueError("two")

    closed = threading.Event()
    assert list(one_ahead(numbers(closed), "t")) == [1, 2, 3]
    assert closed.wait(10)
    found = one_ahead(failing(), "t")
    assert next(found) == 1
    with pytest.raises(ValueError, match="two"):
        next(found)


def test_closing_gives_up_and_closes_the_source():
    """Closed after its first item: `give_up` is called, and the source's own cleaning up runs."""
    closed, given_up = threading.Event(), threading.Event()
    found = one_ahead(numbers(closed), "t", given_up.set)
    assert next(found) == 1
    found.close()
    assert given_up.is_set()
    assert closed.wait(10)


PROGRAM = """
import faulthandler, threading
faulthandler.dump_traceback_later(20, exit=True)
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.thread import _global_shutdown_lock
from pipeline.ahead import one_ahead
left = one_ahead(iter_ := (number for number in range(5)), "left")
next(left)
with _global_shutdown_lock:  # where a collection inside any pool's `submit` finds us
    del left
print("done")
"""


def test_collected_inside_another_pools_submit_it_does_not_wait():
    """Left unclosed and collected while the lock that all pools share is held, it takes none of it."""
    gc.collect()
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == "done\n", done.stderr[-1500:]
