"""A training job whose processes are killed again and again, and that goes on with other ranks: each row is seen once."""

import json
import os
import random
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from pyarrow import parquet as pq

ROWS = 600
FILE_ROWS = (140, 7, 250, 0, 203)
# One rank: it takes as many items as it is told, then writes what it has seen and its state, as one file per step.
RANK = """
import itertools, json, os, sys
import pipeline

job = json.loads(sys.argv[1])
stream = pipeline.stream(job["dataset"], **job["options"])
stream.set_epoch(job["epoch"])
if job["state"]:
    stream.load_state_dict(job["state"])
items, seen = iter(stream), []
for step, line in enumerate(sys.stdin):
    for item in itertools.islice(items, int(line)):
        seen += item["x"] if isinstance(item["x"], list) else [item["x"]]
    path = os.path.join(job["folder"], f"{step}.{os.environ['RANK']}")
    with open(path + ".new", "w") as file:
        json.dump({"seen": seen, "state": stream.state_dict()}, file)
    os.replace(path + ".new", path)
    print("saved", flush=True)
"""


@pytest.fixture
def dataset(hub, repo, tmp_path):
    """600 rows in five files, one of them empty, in row groups of 16."""
    assert sum(FILE_ROWS) == ROWS
    api, at, adds = HfApi(token="hf_any"), 0, []
    for number, size in enumerate(FILE_ROWS):
        path = tmp_path / f"{number}.parquet"
        pq.write_table(pa.table({"x": pa.array(range(at, at + size), pa.int64())}), path, row_group_size=16)
        adds.append(CommitOperationAdd(f"data/train-{number:05}-of-{len(FILE_ROWS):05}.parquet", path))
        at += size
    api.create_repo(repo, repo_type="dataset")
    api.create_commit(repo, adds, commit_message="rows", repo_type="dataset")
    return repo


@dataclass(kw_only=True)
class Job:
    """A job that is started, killed and resumed; `seen` counts what was seen up to the checkpoints that it resumed from."""

    dataset: str
    folder: Path
    options: dict
    epoch: int
    dice: random.Random
    state: dict | None = None
    seen: Counter = field(default_factory=Counter)
    lives: int = 0

    def live(self, world_size, steps, *, killed):
        """Run for so many steps on so many ranks; a kill comes while some ranks are in the next step, or behind it."""
        self.lives += 1
        folder = self.folder / str(self.lives)
        folder.mkdir(parents=True)
        batch_rows = self.dice.choice([None, 1, 3, 5])
        job = {
            "dataset": self.dataset,
            "options": {**self.options, "batch_rows": batch_rows},
            "epoch": self.epoch,
            "state": self.state,
            "folder": str(folder),
        }
        environment = {**os.environ, "WORLD_SIZE": str(world_size), "XET_PIPELINE_CACHE": str(self.folder / "cache")}
        ranks = [start(job, {**environment, "RANK": str(rank)}) for rank in range(world_size)]
        try:
            for items in steps:
                for one in ranks:
                    tell(one, items)
                assert [one.stdout.readline() for one in ranks] == ["saved\n"] * world_size
            if killed:
                told, items = self.dice.sample(ranks, self.dice.randint(0, world_size)), self.dice.randint(1, 3)
                for one in told:
                    tell(one, items)
                for one in told[: self.dice.randint(0, len(told))]:
                    assert one.stdout.readline() == "saved\n"
                for one in ranks:
                    one.kill()  # SIGKILL: nothing is tidied up
        finally:
            for one in ranks:
                one.stdin.close()
                one.wait(60)
                one.stdout.close()
        self.load(folder, world_size)

    def load(self, folder, world_size):
        """Go back to the last step that every rank has saved; any rank's state will do."""
        for step in reversed(range(100)):
            paths = [folder / f"{step}.{rank}" for rank in range(world_size)]
            if all(path.exists() for path in paths):
                saved = [json.loads(path.read_text()) for path in paths]
                self.seen.update(row for one in saved for row in one["seen"])
                self.state = self.dice.choice(saved)["state"]
                return


def start(job, environment):
    args = [sys.executable, "-c", RANK, json.dumps(job)]
    return subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def tell(rank, items):
    rank.stdin.write(f"{items}\n")
    rank.stdin.flush()


def check_job(dataset, folder, shuffle, seed, kills):
    """Kill a job so many times, let one rank read what is left, and count."""
    dice = random.Random(seed)
    options = {"shuffle": shuffle, "seed": seed, "shuffle_rows": dice.choice([1, 20, 90, 1000])} if shuffle else {}
    job = Job(dataset=dataset, folder=folder, options=options, epoch=seed % 3, dice=dice)
    most = ROWS // (12 * (kills + 1))  # a step is of 2.5 rows an item on 2.5 ranks, on average
    for _ in range(kills):
        steps = [dice.randint(1, most) for _ in range(dice.randint(0, 4))]
        job.live(dice.choice([1, 2, 3, 4]), steps, killed=True)
        assert max(job.seen.values(), default=1) == 1
    assert 0 < len(job.seen) < ROWS, "the kills are to come in the middle"
    job.live(1, [ROWS], killed=False)
    assert job.seen == Counter(range(ROWS))


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_killed_job_goes_on_with_other_ranks(dataset, tmp_path, shuffle):
    """Killed at three random points and resumed on another number of ranks, a job has seen each row exactly once."""
    check_job(dataset, tmp_path / "job", shuffle, 1, 3)


@pytest.mark.long
@pytest.mark.parametrize("shuffle", [False, True])
def test_a_job_killed_twenty_times_goes_on(dataset, tmp_path, shuffle):
    """As above with 20 kills, in another epoch."""
    check_job(dataset, tmp_path / "job", shuffle, 3, 20)
