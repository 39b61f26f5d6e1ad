"""Row groups -> balanced tasks. Pure: sizes in, runs of consecutive row groups out, across files, order kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from pipeline.parquet.task import ScanTask


def balance(tasks: Iterable[ScanTask], columns: Sequence[str] | None, target_bytes: int) -> list[tuple[ScanTask, ...]]:
    """Cut the tasks' row groups into runs of about `target_bytes` of the chosen columns each.

    Every row group is in exactly one run; the runs are as equal as whole row groups allow. Small files share a run.
    """
    groups = [
        (task, index, group.size(columns))
        for task in tasks
        for index, group in zip(task.row_groups, task.groups(), strict=True)
    ]
    total = sum(size for _, _, size in groups)
    count = max(1, -(-total // target_bytes)) if groups else 0
    runs: list[list[tuple[ScanTask, int]]] = [[] for _ in range(count)]
    done = 0
    for task, index, size in groups:
        middle = done + size / 2
        runs[min(count - 1, int(middle * count / total)) if total else 0].append((task, index))
        done += size
    return [_as_tasks(run) for run in runs if run]


def _as_tasks(run: Sequence[tuple[ScanTask, int]]) -> tuple[ScanTask, ...]:
    found: list[ScanTask] = []
    for task, index in run:
        if found and found[-1].file == task.file:
            found[-1] = replace(found[-1], row_groups=(*found[-1].row_groups, index))
        else:
            found.append(replace(task, row_groups=(index,)))
    return tuple(found)
