"""Which process this is: rank and world size of the job, worker of a torch DataLoader. torch is looked at, never imported."""

from __future__ import annotations

import os
import sys
from functools import lru_cache

from pipeline.errors import OptionError


def find_rank(rank: int | None, world_size: int | None) -> tuple[int, int]:
    """(rank, world size): as given, else of torch.distributed where it runs, else of RANK and WORLD_SIZE, else 0 of 1.

    Raises OptionError for what cannot be.
    """
    if (rank is None) != (world_size is None):
        raise OptionError(f"give both rank and world_size, or none: got rank={rank!r}, world_size={world_size!r}")
    if rank is None or world_size is None:
        rank, world_size = _distributed() or _environment()
    for name, value in (("rank", rank), ("world_size", world_size)):
        if isinstance(value, bool) or not isinstance(value, int):
            raise OptionError(f"{name} must be a whole number, got {value!r}")
    if not 0 <= rank < world_size:
        raise OptionError(f"rank must be from 0 to world_size - 1, got rank {rank} of world_size {world_size}")
    return rank, world_size


def find_worker() -> tuple[int, int] | None:
    """(worker, workers) inside a worker of a torch DataLoader, `None` elsewhere."""
    data = sys.modules.get("torch.utils.data")
    info = data.get_worker_info() if data is not None else None
    return (info.id, info.num_workers) if info is not None else None


def torch_class(cls: type) -> type:
    """What `isinstance` is to see of an object of this class: with torch's IterableDataset among its bases once torch is there.

    A DataLoader asks only `isinstance(dataset, IterableDataset)`, which looks at `__class__`; so torch need not be imported
    for those who do not use it, and a stream that was opened before torch was imported is one as well.
    """
    return _with_torch(cls) if "torch.utils.data" in sys.modules else cls


@lru_cache
def _with_torch(cls: type) -> type:
    bases = (cls, sys.modules["torch.utils.data"].IterableDataset)
    return type(cls.__name__, bases, {"__module__": cls.__module__, "__doc__": cls.__doc__})


def _distributed() -> tuple[int, int] | None:
    distributed = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return None
    return distributed.get_rank(), distributed.get_world_size()


def _environment() -> tuple[int, int]:
    rank, world_size = os.environ.get("RANK"), os.environ.get("WORLD_SIZE")
    if rank is None or world_size is None:
        return 0, 1
    try:
        return int(rank), int(world_size)
    except ValueError:
        raise OptionError(f"RANK and WORLD_SIZE must be whole numbers, got {rank!r} and {world_size!r}") from None
