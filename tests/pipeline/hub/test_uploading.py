"""Uploads that cannot succeed: who is told what, in one line that says what to do."""

import random

import pytest

from pipeline.errors import AccessError, SetupError
from pipeline.hub import upload
from pipeline.hub.repo import Secret
from pipeline.hub.upload import Upload

TOKEN = Secret("hf_x")


def store(ref, seed):
    with Upload(ref, TOKEN) as session:
        stream = session.open("a.bin")
        stream.write(random.Random(seed).randbytes(100_000))
        stream.close()
        session.finish()


@pytest.fixture
def fresh(monkeypatch):
    """A session of this test's own, which reads the environment again."""
    make = upload._session.__wrapped__
    monkeypatch.setattr(upload, "_session", make)


def test_a_cache_that_cannot_be_written_is_the_machines_fault(new_ref, fresh, tmp_path, monkeypatch):
    """The error is a SetupError that names the variables, not one that says to run again."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HF_XET_CACHE", str(tmp_path / "file" / "xet"))
    with pytest.raises(SetupError, match=r"set HF_XET_CACHE or HF_HOME") as caught:
        store(new_ref, "cache")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("route", ["cas_xorb_put", "cas_shard"])
def test_storage_that_refuses_is_a_matter_of_access(new_ref, hub, route):
    """A 403 of the storage itself is an AccessError."""
    hub.faults.add(route, status=403, times=None)
    with pytest.raises(AccessError, match="refused the upload") as caught:
        store(new_ref, route)
    assert "\n" not in str(caught.value)


def test_storage_that_fails_is_worth_another_try(monkeypatch):
    """Errors of the network stay a TransferError."""
    for reason in (
        ConnectionError("Network error: HTTP status server error (503 Service Unavailable)"),
        TimeoutError("x"),
    ):
        assert "run again" in str(upload.translate(reason, "a"))
