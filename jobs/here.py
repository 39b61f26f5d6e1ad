"""Shards of blocks built by processes of this machine: where no row is exchanged, no JVM has to start.

Processes are spawned, not forked: hf_xet's and Arrow's threads do not survive a fork. They end when the one that began them does,
however it ends.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing import resource_tracker

from pipeline.errors import DatasetError, SetupError
from pipeline.hub.repo import Secret
from pipeline.hub.upload import ShardReceipt
from pipeline.mix import build
from pipeline.mix.blocks import Blocks
from pipeline.mix.plan import Plan
from pipeline.writing import ShardStore

_TRIES = 4  # as Spark does by default
_LOOK_S = 1.0


@dataclass(slots=True)
class Collected:
    """Shards and receipts, as they come: what Spark's accumulator is elsewhere."""

    value: list[tuple[int, ShardReceipt]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Work:
    plan: Plan
    open_store: Callable[[], ShardStore]
    token: Secret | None


_work: _Work | None = None


def build_here(
    plan: Plan, pending: Sequence[int], open_store: Callable[[], ShardStore], token: Secret | None, stored: Collected
) -> None:
    """Build these shards of a plan without exchange. Raises what building raises, SetupError when a process was killed."""
    shared = pickle.dumps(_Work(replace(plan, blocks=Blocks()), open_store, token))
    bounds = plan.block_bounds
    pool = ProcessPoolExecutor(
        min(len(os.sched_getaffinity(0)), len(pending)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(shared, os.getpid()),
    )
    try:
        with _without_ctrl_c():
            futures = [pool.submit(_build_one, n, plan.blocks[bounds[n] : bounds[n + 1]]) for n in pending]
        for future in as_completed(futures):
            stored.value.append(future.result())
    except BrokenProcessPool as err:
        raise SetupError(
            "a process that built a shard was killed, most likely for want of memory; run it again to go on, with fewer cores "
            "(taskset) or with --master"
        ) from err
    except BaseException:
        for child in multiprocessing.active_children():
            child.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Processes that begin here never see Ctrl-C, from their first moment on: who began them says what it means."""
    resource_tracker.ensure_running()  # or it would begin in here, and lift the block
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(shared: bytes, parent: int) -> None:
    global _work
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    _work = pickle.loads(shared)  # noqa: S301 - our own


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    os._exit(1)


def _build_one(shard: int, blocks: Blocks) -> tuple[int, ShardReceipt]:
    assert _work is not None
    for tries in range(1, _TRIES + 1):
        store = _work.open_store()
        try:
            return shard, build.build_shard(_work.plan, shard, blocks, _work.token, store)
        except DatasetError:
            if tries == _TRIES:
                raise
        finally:
            store.abort()
    raise AssertionError
