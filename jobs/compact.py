"""Join the small files of a split, and say what that cost."""

from __future__ import annotations

from jobs import console
from pipeline.compaction import Compacted, CompactOptions, compact_split
from pipeline.errors import OptionError
from pipeline.hub.repo import find_token, parse_ref
from pipeline.sizes import counted, format_bytes, parse_bytes

WRITER = "pipeline compact"


def compact(
    dataset: str,
    *,
    config: str | None,
    split: str | None,
    revision: str | None,
    target_bytes: str,
    min_files: int,
    endpoint: str | None,
) -> Compacted | None:
    """Compact a split, with a progress bar over the files that are read. Raises what `compact_split` raises."""
    ref = parse_ref(dataset, revision=revision, config=config, split=split, endpoint=endpoint)
    options = CompactOptions(target_bytes=_target_bytes(target_bytes), min_files=min_files, writer=WRITER)
    with console.progress(None, "join", "file") as bar:
        return compact_split(ref, find_token(ref.endpoint), options, on_file=bar.update)


def show(done: Compacted | None, dataset: str) -> None:
    """Print what was done."""
    if done is None:
        console.say(f"{dataset}: nothing to do; no small files stand next to each other")
        return
    before = f"{counted(done.files_before, 'file')} ({format_bytes(done.bytes_before)})"
    after = f"{counted(done.files_after, 'file')} ({format_bytes(done.bytes_after)})"
    console.say(f"{dataset}, split {done.split}: {before} -> {after}, {counted(done.rows, 'row')}")
    console.say(
        f"uploaded {format_bytes(done.new_bytes)} of the {format_bytes(done.bytes_after)} written; commit {done.sha[:8]}"
    )


def _target_bytes(text: str) -> int:
    try:
        return parse_bytes(text)
    except ValueError as err:
        raise OptionError(f"option '--target-bytes' must be {err}, got {text!r}") from err
