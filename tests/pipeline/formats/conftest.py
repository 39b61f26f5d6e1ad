"""Files in any format, read by us and by `datasets`: from a repo on the embedded Hub, or from bytes on this machine."""

import gc
import warnings
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.storage import FileRef


@pytest.fixture
def local(tmp_path):
    """Bytes or text as a file of this machine."""
    made = []

    def make(data, name="file"):
        path = tmp_path / f"{len(made)}-{name}"
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        made.append(path)
        return FileRef(uri=str(path), size=path.stat().st_size, content_id=str(path))

    return make


@pytest.fixture
def read_all():
    """The schema and rows that a format reads from files, cut into tasks of so many bytes."""

    def read(format, files, target_bytes=1 << 20):
        schema = format.infer(files, None)
        tasks = format.plan(files, None, target_bytes)
        batches = [batch for task in tasks for batch in format.read(task, schema, None, schema.names)]
        return schema, pa.Table.from_batches(batches, schema.remove_metadata()).to_pylist()

    return read


@pytest.fixture
def ours(hub):
    """Split -> features and rows of a repo, as this project reads them."""
    from pipeline.formats.rows import open_rows, plan_rows, read_rows
    from pipeline.hub.any_format import resolve_any
    from pipeline.hub.listing import list_files

    def read(ref):
        resolved = resolve_any(list_files(ref, None), ref)
        source = open_rows(resolved, None)
        found = {}
        for split, snapshot in resolved.wanted.items():
            tasks = plan_rows(source, snapshot, None, 1 << 20)
            rows = [row for task in tasks for batch in read_rows(source, task, None) for row in batch.to_pylist()]
            found[split] = (source.features, rows)
        return found

    return read


def with_bytes(value):
    """A medium that `datasets` left where it is, as it embeds it when it publishes: its bytes and name."""
    if isinstance(value, dict) and value.keys() == {"bytes", "path"} and value["bytes"] is None:
        path = Path(value["path"])
        return {"bytes": path.read_bytes(), "path": path.name}
    return value


@pytest.fixture
def theirs(hub):
    """Split -> features and rows of a repo, as `datasets` reads them; media as bytes and the file's name."""
    from datasets import disable_progress_bars, load_dataset

    def read(ref):
        disable_progress_bars()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # it leaves metadata files open
            found = load_dataset(ref.repo_id, ref.config)
            gc.collect()
        rows = {split: part.data.table.to_pylist() for split, part in found.items()}
        return {
            split: (
                part.features.to_dict(),
                [{name: with_bytes(one) for name, one in row.items()} for row in rows[split]],
            )
            for split, part in found.items()
        }

    return read
