"""Row groups -> balanced tasks. Pure: sizes in, runs of consecutive row groups out, across files, order kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from pipeline.parquet.task import ScanTask


@dataclass(frozen=True, slots=True, kw_only=True)
class SizedTask:
    """A task, the bytes of its row groups, and whether these are all that its footer has."""

    task: ScanTask
    sizes: tuple[int, ...]
    is_whole: bool

    @property
    def size(self) -> int:
        """Its bytes."""
        return sum(self.sizes)


def measure(task: ScanTask, columns: Sequence[str] | None) -> SizedTask:
    """A task with the bytes that the chosen columns of its row groups take in the file.

    All that a plan asks of a footer is asked here, one file after the other: of thousands few stay parsed.
    """
    sizes = tuple(group.size(columns) for group in task.groups())
    return SizedTask(task=task, sizes=sizes, is_whole=len(sizes) == task.footer.metadata().num_row_groups)


def balance(tasks: Iterable[SizedTask], target_bytes: int, open_bytes: int = 0) -> list[tuple[ScanTask, ...]]:
    """Cut the tasks' row groups into runs of about `target_bytes` each, of slim tasks.

    Every row group is in exactly one run; the runs are as equal as whole row groups allow. Small files share a run; each counts
    `open_bytes` more, which is what could be read in the time that it takes to open it.
    """
    groups = [
        (one, index, size + (0 if place else open_bytes))
        for one in tasks
        for place, (index, size) in enumerate(zip(one.task.row_groups, one.sizes, strict=True))
    ]
    total = sum(size for _, _, size in groups)
    count = max(1, -(-total // target_bytes)) if groups else 0
    runs: list[list[tuple[SizedTask, int]]] = [[] for _ in range(count)]
    done = 0
    for task, index, size in groups:
        middle = done + size / 2
        runs[min(count - 1, int(middle * count / total)) if total else 0].append((task, index))
        done += size
    return [_as_tasks(run) for run in runs if run]


def _as_tasks(run: Sequence[tuple[SizedTask, int]]) -> tuple[ScanTask, ...]:
    found: list[tuple[SizedTask, list[int]]] = []
    for sized, index in run:
        if not found or found[-1][0] is not sized:
            found.append((sized, []))
        found[-1][1].append(index)
    return tuple(_slim(sized, tuple(indices)) for sized, indices in found)


def _slim(sized: SizedTask, row_groups: tuple[int, ...]) -> ScanTask:
    if sized.is_whole and len(row_groups) == len(sized.sizes):
        return sized.task
    return replace(sized.task, row_groups=row_groups).slim()
