"""The Hub breaks and slows down as it is told, and counts what it was asked."""

import http.client

import pytest

from pipeline.errors import OptionError


@pytest.fixture(autouse=True)
def cats(raw, kit):
    """A repo with a small and a large file."""
    raw.create("me/cats")
    _, sha = raw.put_file(raw.xet_token("me/cats"), [b"x" * 100_000])
    raw.commit("me/cats", kit.put_file("a.txt", b"0123456789"), kit.put_large("b.bin", sha))
    return raw


def test_a_status_is_answered_as_often_as_it_was_set(hub, raw):
    """Two 503 with Retry-After, then the truth; other routes are not touched."""
    hub.faults.add("tree", status=503, retry_after=1, times=2)
    answers = [raw.get("/api/datasets/me/cats/tree/main") for _ in range(3)]
    assert [answer.status for answer in answers] == [503, 503, 200]
    assert answers[0].headers["Retry-After"] == "1"
    assert raw.get("/api/datasets/me/cats").status == 200


def test_a_lost_answer_is_a_commit_that_was_made(hub, raw, kit):
    """The client sees its connection end; the branch has moved."""
    before = raw.head("me/cats")
    hub.faults.add("commit", "lost")
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        raw.commit("me/cats", kit.put_file("new.txt", b"x"))
    assert raw.head("me/cats") != before
    assert "new.txt" in raw.paths("me/cats")


def test_a_reset_is_a_commit_that_was_not_made(hub, raw, kit):
    """The client sees its connection end; nothing has happened."""
    before = raw.head("me/cats")
    hub.faults.add("commit", "reset")
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        raw.commit("me/cats", kit.put_file("new.txt", b"x"))
    assert raw.head("me/cats") == before


@pytest.mark.parametrize("path", ["a.txt", "b.bin"])
def test_a_truncated_body_ends_early(hub, raw, path):
    """The headers promise the whole, the connection ends in the middle, for small and for streamed answers."""
    url = f"/datasets/me/cats/resolve/main/{path}"
    first = raw.get(url)
    route, url = ("cdn", first.headers["Location"]) if first.status == 302 else ("resolve", url)
    hub.faults.add(route, "truncate")
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        raw.get(url)
    assert raw.get(url).status == 200


def test_a_fault_with_a_probability_happens_by_its_seed(hub, raw):
    """The same seed gives the same faults, about as often as the probability says."""

    def statuses():
        hub.faults.clear()
        hub.faults.add("whoami", status=500, times=None, probability=0.5, seed=7)
        return [raw.get("/api/whoami-v2").status for _ in range(40)]

    first = statuses()
    assert first == statuses()
    assert 10 < first.count(500) < 30


def test_delays_are_waited_for(hub, raw, monkeypatch):
    """Latency, a delay and a bandwidth limit each become waiting, in the right amount."""
    waits = []

    async def sleep(seconds):
        waits.append(seconds)

    monkeypatch.setattr("pipeline.localhub.traffic.sleep", sleep)
    monkeypatch.setattr("pipeline.localhub.traffic.monotonic", lambda: 1000.0)
    hub.latency_s = 3.0
    hub.faults.add("whoami", delay_s=5.0)
    assert raw.get("/api/whoami-v2").status == 200
    assert [seconds for seconds in waits if seconds >= 3] == [3.0, 5.0]
    hub.latency_s, hub.bandwidth_bytes_s = 0.0, 1000.0
    url = raw.get("/datasets/me/cats/resolve/main/b.bin").headers["Location"]
    waits.clear()
    assert len(raw.get(url).body) == 100_000
    assert max(waits) == pytest.approx(100, rel=0.05)


def test_requests_and_bytes_are_counted_by_route(hub, raw, kit):
    """Counters know what was asked, how many body bytes came and went, and can start again from zero."""
    hub.reset_counts()
    raw.get("/datasets/me/cats/resolve/main/a.txt")
    raw.commit("me/cats", kit.put_file("c.txt", b"x" * 1000))
    raw.get("/nonsense")
    assert hub.counts() == {"resolve": 1, "commit": 1, "unknown": 1}
    assert hub.bytes_sent()["resolve"] == 10
    assert hub.bytes_received()["commit"] > 1000
    hub.reset_counts()
    assert not hub.counts()


def test_a_token_on_its_way_to_the_second_host_is_noticed(hub, raw):
    """Clients must not send the Hub's token along a redirect; the counter shows when one does."""
    url = raw.get("/datasets/me/cats/resolve/main/b.bin").headers["Location"]
    raw.get(url)
    assert hub.counts()["cdn_with_token"] == 0
    raw.get(url, token="hf_x")
    assert hub.counts()["cdn_with_token"] == 1


def test_a_fault_for_what_does_not_exist_is_refused(hub):
    """A misspelt route or kind is an error at once, not a fault that never happens."""
    with pytest.raises(OptionError, match="no route 'comit'"):
        hub.faults.add("comit", status=500)
    with pytest.raises(OptionError, match="fault kind"):
        hub.faults.add("commit", "explode")


def test_clients_get_over_what_they_retry(hub, client):
    """huggingface_hub and hf_xet meet a 503, a broken and a truncated transfer, and still upload and download."""
    hub.reset_counts()
    hub.faults.add("cas_xorb_put", status=503)
    hub.faults.add("xet_read_token", status=503)
    hub.faults.add("cas_xorb_get", "truncate")
    client(hub.endpoint, "upload", repo="me/dogs", path="a.bin", seed=1, size=2_000_000)
    client(hub.endpoint, "download", repo="me/dogs", path="a.bin")
    assert hub.counts()["cas_xorb_put"] == hub.counts()["xet_read_token"] == 2
