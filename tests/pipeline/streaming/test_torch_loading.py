"""Streams under torch: DataLoader with workers of both kinds, StatefulDataLoader, ranks of processes. Skipped without torch."""

import json
import os
import subprocess
import sys
import warnings

import pytest

import pipeline

torch = pytest.importorskip("torch")
from torch.utils.data import DataLoader, IterableDataset  # noqa: E402 - only where it is

ROWS = 100
# Forking a process with threads (Arrow's, the embedded Hub's) is what a DataLoader does; Python 3.12 warns of it.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@pytest.fixture
def dataset(numbered):
    return numbered(33, 60, 7)


def loader(stream, workers, start="fork", batch=5, **options):
    if workers:
        options["multiprocessing_context"] = start
    return DataLoader(stream, batch_size=batch, num_workers=workers, **options)


def xs(batches):
    return [x for batch in batches for x in batch["x"].tolist()]


@pytest.mark.parametrize(("workers", "start"), [(0, "fork"), (2, "fork"), (2, "spawn")])
def test_a_loader_gives_each_row_once(dataset, workers, start):
    """With and without workers, forked or spawned: the same rows, each once, of a stream that is an IterableDataset."""
    stream = pipeline.stream(dataset, shuffle=True, shuffle_rows=20)
    assert isinstance(stream, IterableDataset)
    assert isinstance(pipeline.interleave([stream]), IterableDataset)
    found = xs(loader(stream, workers, start))
    assert sorted(found) == list(range(ROWS))
    assert found != list(range(ROWS))


@pytest.mark.parametrize("start", ["fork", "spawn"])
@pytest.mark.parametrize("kind", ["stream", "interleave"])
def test_workers_that_live_on_see_the_epoch(dataset, start, kind):
    """`set_epoch` reaches persistent workers: each epoch has the order that it has without workers."""
    stream = pipeline.stream(dataset, shuffle=True, shuffle_rows=20, columns=["x"])
    stream = stream if kind == "stream" else pipeline.interleave([stream])
    batches = loader(stream, 1, start, persistent_workers=True)
    for epoch in (0, 1, 3):
        stream.set_epoch(epoch)
        assert xs(batches) == [row["x"] for row in stream]


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_rows_consumed_resumes_a_plain_loader(dataset, workers):
    """The main process says what its loader yielded; another number of workers gives exactly the rest."""
    stream = pipeline.stream(dataset, shuffle=True, shuffle_rows=20)
    whole = loader(stream, workers)
    for stop in (0, 3, 19, 20):
        seen = xs(batch for batch, _ in zip(whole, range(stop), strict=False)) if stop else []
        again = pipeline.stream(dataset, shuffle=True, shuffle_rows=20)
        state = json.loads(json.dumps(stream.state_dict(len(seen), workers, 5)))
        again.load_state_dict(state)
        rest = xs(loader(again, 2 if workers == 0 else 0))
        dropped = ROWS - len(seen) - len(rest)
        assert len(set(seen + rest)) == ROWS - dropped
        assert dropped == (ROWS - len(seen)) % 2 if workers == 0 else dropped == 0


@pytest.mark.parametrize(("workers", "start"), [(0, "fork"), (2, "fork")])
def test_a_stateful_loader_resumes_its_workers(dataset, workers, start):
    """torchdata's StatefulDataLoader saves each worker's own state and goes on exactly there."""
    stateful = pytest.importorskip("torchdata.stateful_dataloader")

    def make():
        stream = pipeline.stream(dataset, shuffle=True, shuffle_rows=20)
        context = start if workers else None
        return stateful.StatefulDataLoader(stream, batch_size=5, num_workers=workers, multiprocessing_context=context)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchdata's own
        whole = xs(make())
        assert sorted(whole) == list(range(ROWS))
        for stop in (1, 8, 15):
            batches = make()
            iterator = iter(batches)
            seen = xs(next(iterator) for _ in range(stop))
            state = batches.state_dict()
            again = make()
            again.load_state_dict(state)
            assert seen + xs(again) == whole


def test_tensors_come_as_torch_has_them(dataset):
    """format="torch": tensors of numbers, text as it is; rows or batches."""
    row = next(iter(pipeline.stream(dataset, format="torch")))
    assert (row["x"].dtype, row["text"]) == (torch.int64, "row 0")
    batch = next(iter(DataLoader(pipeline.stream(dataset, format="torch", batch_rows=8), batch_size=None)))
    assert batch["x"].tolist() == list(range(8))


def test_a_stream_opened_before_torch_was_imported_is_one_too(dataset, hub):
    """torch is not imported by us, and a stream that is older than it works in a DataLoader all the same."""
    program = f"""
import sys, pipeline
stream = pipeline.stream({dataset!r})
assert not any(name == "torch" or name.startswith("torch.") for name in sys.modules)
from torch.utils.data import DataLoader
assert len(list(DataLoader(stream, batch_size=10))) == 10
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_ranks_of_processes_share_an_epoch(dataset):
    """Processes started as a launcher starts them (RANK, WORLD_SIZE, torch.distributed) read disjoint, equal shares."""
    program = f"""
import json, os, sys, torch, pipeline
from torch.utils.data import DataLoader
if sys.argv[1] == "group":
    torch.distributed.init_process_group("gloo")
    del os.environ["RANK"], os.environ["WORLD_SIZE"]
stream = pipeline.stream({dataset!r}, shuffle=True, shuffle_rows=20)
print(json.dumps([x for batch in DataLoader(stream, batch_size=5, num_workers=1) for x in batch["x"].tolist()]))
"""
    for how, port in (("environment", "0"), ("group", "29517")):
        runs = [
            subprocess.Popen(
                [sys.executable, "-c", program, how],
                env=os.environ
                | {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port},
                stdout=subprocess.PIPE,
            )
            for rank in range(2)
        ]
        found = [json.loads(run.communicate(timeout=120)[0]) for run in runs]
        assert [len(rows) for rows in found] == [50, 50]
        assert sorted(found[0] + found[1]) == list(range(ROWS))
