"""Reading while a fifth of all requests fail and every token and address ends after two seconds: all rows, or one error."""

import hashlib
import time
from collections import Counter

import pyarrow as pa
import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from pyarrow import parquet as pq

import pipeline
from pipeline.errors import AccessError, CorruptFileError, NotFoundError, TransferError
from pipeline.hub import retry, xet
from pipeline.localhub import LocalHub

REPO = "local/rows"
FILES, GROUPS, GROUP_ROWS = 4, 12, 100
ROWS = FILES * GROUPS * GROUP_ROWS
TABLE = pa.table(
    {
        "id": pa.array(range(ROWS), pa.int64()),
        "text": [hashlib.sha256(b"%d" % row).hexdigest() * 5 for row in range(ROWS)],
        "data": [hashlib.shake_128(b"%d" % row).digest(300) for row in range(ROWS)],
    }
)
KINDS = [
    {"status": 429, "retry_after": 0},
    {"status": 500},
    {"status": 503},
    {"kind": "reset"},
    {"kind": "truncate"},
]
EACH = 1 - 0.8 ** (1 / len(KINDS))  # together a fifth


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A Hub whose tokens and signed addresses are good for two seconds, with a dataset of 4 files and 48 row groups."""
    root = tmp_path_factory.mktemp("faults")
    with LocalHub(root / "hub", token_ttl_s=2, url_ttl_s=2) as hub:
        api = HfApi(endpoint=hub.endpoint, token="hf_any")
        api.create_repo(REPO, repo_type="dataset")
        size = GROUPS * GROUP_ROWS
        adds = []
        for number in range(FILES):
            path = root / f"{number}.parquet"
            pq.write_table(TABLE.slice(number * size, size), path, row_group_size=GROUP_ROWS)
            adds.append(CommitOperationAdd(f"data/train-{number:05}-of-{FILES:05}.parquet", path))
        api.create_commit(REPO, adds, commit_message="rows", repo_type="dataset")
        yield hub


@pytest.fixture
def hub(own, tmp_path, monkeypatch):
    """That Hub without faults; nothing is cached, and all waits between tries are short."""
    for name, value in (("BASE_DELAY", "5ms"), ("MAX_DURATION", "20s")):
        monkeypatch.setenv(f"HF_XET_CLIENT_RETRY_{name}", value)  # read when a session is made
    monkeypatch.setattr(retry, "FIRST_WAIT_S", 0.01)
    forget(monkeypatch, tmp_path / "cache")
    own.reset_counts()
    yield own
    own.faults.clear()
    monkeypatch.undo()
    forget_sessions()


def forget(monkeypatch, folder):
    """As a process that has read nothing, on a machine that has read nothing."""
    monkeypatch.setenv("XET_PIPELINE_CACHE", str(folder))
    forget_sessions()


def forget_sessions():
    xet._session.cache_clear()
    xet._storage.cache_clear()


def opened(hub, transport, **options):
    """A stream that fetches little ahead, in batches of 200 rows."""
    few = {"prefetch_bytes": 400_000, "prefetch_requests": 4, "block_bytes": 100_000}
    shape = {"format": "arrow", "batch_rows": 200}
    return pipeline.stream(REPO, endpoint=hub.endpoint, transport=transport, **few, **shape, **options)


def content_hash(table):
    """A hash of the rows in the order of their ids."""
    table = table.sort_by("id").combine_chunks()
    state = hashlib.sha256()
    for batch in table.to_batches():
        state.update(str(batch.to_pylist()).encode())
    return state.hexdigest()


def read_all(stream):
    """All batches as a table; who reads pauses three times, so that tokens and addresses end meanwhile."""
    batches = []
    for number, batch in enumerate(stream):
        batches.append(batch)
        if number in (3, 9, 15):
            time.sleep(0.8)
    return pa.Table.from_batches(batches)


def check_reads(hub, monkeypatch, tmp_path, seeds):
    """A full read per seed, by each transport in turn, shuffled or not."""
    expected = content_hash(TABLE)
    monkeypatch.setattr(
        retry, "TRIES", 10
    )  # of 6 in a row all fail once in 16,000 requests, which is once in 20 test runs
    for seed in seeds:
        forget(monkeypatch, tmp_path / f"cache-{seed}")
        hub.faults.clear()
        hub.reset_counts()
        for number, kind in enumerate(KINDS):
            hub.faults.add("*", probability=EACH, times=None, seed=seed * 100 + number, **kind)
        transport = ("xet", "http")[seed % 2]
        shuffle = {"shuffle": True, "seed": seed, "shuffle_rows": 500} if seed // 2 % 2 else {}
        stream = opened(hub, transport, **shuffle)
        table = read_all(stream)
        ids = table.column("id").to_pylist()
        assert Counter(ids) == Counter(range(ROWS)), f"seed {seed}"
        assert (ids == sorted(ids)) is not bool(shuffle)
        assert content_hash(table.select(TABLE.column_names)) == expected, f"seed {seed}"
        asked, once = {"xet": ("xet_read_token", 1), "http": ("resolve", FILES + 1)}[transport]
        assert hub.counts()[asked] > once, f"seed {seed}: nothing ended meanwhile"
        used, unused = {"xet": ("cas_xorb_get", "cdn"), "http": ("cdn", "cas_xorb_get")}[transport]
        assert hub.counts()[used] > 20 * (hub.counts()[unused] + 1), f"seed {seed}: by another transport"


def test_every_row_comes_once_while_a_fifth_of_requests_fail(hub, monkeypatch, tmp_path):
    """A read over each transport gives every row once, and the content of the source."""
    check_reads(hub, monkeypatch, tmp_path, [0, 3])


@pytest.mark.long
def test_twenty_reads_while_a_fifth_of_requests_fail(hub, monkeypatch, tmp_path):
    """As above, 20 reads: both transports, shuffled and not."""
    check_reads(hub, monkeypatch, tmp_path, range(100, 120))


@pytest.mark.parametrize("transport", ["xet", "http"])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_fault_that_never_ends_is_one_error(hub, transport, kind):
    """When everything fails from some moment on, there is one TransferError in one line, after a bounded number of tries."""
    rows = iter(opened(hub, transport))
    next(rows)
    hub.faults.add("*", times=None, **kind)
    hub.reset_counts()
    with pytest.raises(TransferError, match=r"data/train-0000\d-of-00004.parquet") as caught:
        list(rows)
    assert "\n" not in str(caught.value)
    assert hub.counts().total() < 4 * 30


@pytest.mark.parametrize("transport", ["xet", "http"])
@pytest.mark.parametrize(("status", "error"), [(403, AccessError), (404, NotFoundError), (416, CorruptFileError)])
def test_a_refusal_is_one_error_at_once(hub, transport, status, error):
    """403, 404 and 416 end the read without being asked again and again."""
    rows = iter(opened(hub, transport))
    next(rows)
    hub.faults.add("*", status=status, times=None)
    hub.reset_counts()
    with pytest.raises(error, match=r"data/train-0000\d-of-00004.parquet") as caught:
        list(rows)
    assert "\n" not in str(caught.value)
    assert hub.counts().total() < 30


@pytest.mark.parametrize("transport", ["xet", "http"])
def test_a_read_that_failed_goes_on_where_it_was(hub, transport):
    """After the error, the state of what was yielded gives exactly the rest, once the Hub answers again."""
    stream = opened(hub, transport, shuffle=True, shuffle_rows=500)
    batches = []

    def read():
        for batch in stream:
            batches.append(batch)
            if len(batches) == 4:
                hub.faults.add("*", times=None, status=503)

    with pytest.raises(TransferError):
        read()
    hub.faults.clear()
    again = opened(hub, transport, shuffle=True, shuffle_rows=500)
    again.load_state_dict(stream.state_dict())
    batches += again
    assert pa.Table.from_batches(batches).sort_by("id").column("id").to_pylist() == list(range(ROWS))
