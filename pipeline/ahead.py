"""Work ahead of a consumer: the next item is made in a thread while the consumer has the one before it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")


def one_ahead(
    items: Generator[Item, None, None], name: str, give_up: Callable[[], None] = lambda: None
) -> Generator[Item, None, None]:
    """The items, each made while the one before it is used; errors are raised where it would have come.

    Closing it calls `give_up`, which makes the item under way fail soon, and waits for nothing.
    """
    thread = ThreadPoolExecutor(1, thread_name_prefix=name)
    upcoming = thread.submit(next, items, None)
    try:
        while (found := upcoming.result()) is not None:
            upcoming = thread.submit(next, items, None)
            yield found
    finally:
        give_up()
        # Nothing is submitted here: whoever leaves us to the garbage collector may be inside another pool's `submit`, which holds
        # a lock that all pools share.
        upcoming.add_done_callback(lambda _: items.close())
        thread.shutdown(wait=False)
