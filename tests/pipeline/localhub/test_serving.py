"""`serve` runs in the foreground, reads accounts from a file, and ends cleanly."""

import errno
import json
import os
import signal
import socket
from pathlib import Path

import pytest

from pipeline.errors import OptionError, SetupError
from pipeline.localhub import LocalHub, serve


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(served, kit, number):
    """SIGINT and SIGTERM end the process with code 0, without a word, and the data is there for the next."""
    hub = served()
    kit.raw(hub.endpoint).create("me/cats")
    hub.process.send_signal(number)
    _, err = hub.process.communicate(timeout=60)
    assert (hub.process.returncode, err) == (0, "")
    assert kit.raw(served().endpoint).head("me/cats")


def test_accounts_come_from_a_json_or_yaml_file(tmp_path, kit):
    """The users of the file are the users of the Hub."""
    path = tmp_path / "accounts.json"
    path.write_text(json.dumps([{"name": "ann", "token": "hf_ann", "orgs": ["lab"]}]))
    names = []

    def visit(endpoint):
        names.append(kit.raw(endpoint).get("/api/whoami-v2", token="hf_ann").json["name"])
        signal.raise_signal(signal.SIGTERM)

    serve(tmp_path / "hub", host="127.0.0.1", accounts=path, on_start=visit)
    assert names == ["ann"]


def test_an_address_that_is_taken_is_refused(hub, tmp_path):
    """One line says so, and the folder is free for the next try."""
    port = int(hub.endpoint.rpartition(":")[2])
    with pytest.raises(OptionError, match=rf"127\.0\.0\.1:{port}.*choose another"):
        LocalHub(tmp_path / "other", port=port).start()
    with LocalHub(tmp_path / "other"):
        pass


def test_a_folder_of_something_else_is_refused(tmp_path):
    """A file that is no database of a Hub is one line, and is left as it was."""
    (tmp_path / "hub.sqlite3").write_bytes(b"not a database, but long enough to look at" * 100)
    with pytest.raises(SetupError, match="cannot be opened"):
        LocalHub(tmp_path).start()
    assert (tmp_path / "hub.sqlite3").read_bytes().startswith(b"not a database")


def test_a_root_that_cannot_be_a_folder_is_refused(tmp_path):
    """A file in its way, a place that takes no folders: one line names it, and the port is free again."""
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "dir" / "lfs" / "00" / "folder").mkdir(parents=True)
    with LocalHub(tmp_path / "hub") as hub:
        port = int(hub.endpoint.rpartition(":")[2])
    for root in (tmp_path / "file", tmp_path / "file" / "hub", Path("/proc/hub"), tmp_path / "dir"):
        with pytest.raises(SetupError, match="cannot be a Hub's folder") as caught:
            LocalHub(root, port=port).start()
        assert ("\n" not in str(caught.value), str(root) in str(caught.value)) == (True, True)
    with LocalHub(tmp_path / "hub", port=port):
        pass


def test_a_lock_that_cannot_be_had_says_why(tmp_path, monkeypatch):
    """A file system without locks is not called another process."""

    def fail(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", fail)
    with pytest.raises(SetupError, match="No locks available"):
        LocalHub(tmp_path / "hub").start()


def test_whoever_can_be_reached_by_others_demands_a_token(tmp_path, kit):
    """Bound to all addresses, nothing is answered without a token: no public repo, no list, no page that is not there."""
    with LocalHub(tmp_path / "hub", host="0.0.0.0", accounts=kit.accounts) as hub:
        ann, nobody = kit.raw(hub.endpoint, "hf_ann"), kit.raw(hub.endpoint)
        ann.create("ann/open")
        _, sha = ann.put_file(ann.xet_token("ann/open"), [b"x" * 9000])
        assert ann.commit("ann/open", kit.put_large("a.bin", sha)).status == 200
        for path in (
            "/api/datasets",
            "/api/datasets/ann/open",
            "/datasets/ann/open/resolve/main/a.bin",
            "/",
            "/nothing",
        ):
            assert nobody.get(path).status == 401, path
        assert nobody.request("POST", "/api/validate-yaml", {"content": ""}).status == 401
        assert nobody.request("GET", "/api/agent-harnesses").status == 401
        link = ann.get("/datasets/ann/open/resolve/main/a.bin").headers["Location"]
        assert nobody.get(link).body == b"x" * 9000


def test_the_address_for_others_is_one_that_they_can_use(tmp_path, kit):
    """A Hub on all addresses is announced by this machine's name, and is reached from here by loopback."""
    with LocalHub(tmp_path / "hub", host="0.0.0.0", accounts=kit.accounts) as hub:
        port = hub.endpoint.rpartition(":")[2]
        assert (hub.endpoint, hub.announced) == (f"http://127.0.0.1:{port}", f"http://{socket.gethostname()}:{port}")
        assert kit.raw(hub.endpoint, "hf_ann").get("/api/whoami-v2").status == 200
    with LocalHub(tmp_path / "hub") as hub:
        assert hub.announced == hub.endpoint


@pytest.mark.parametrize("text", ["{", "a: b", "\xff", "[]", ""])
def test_an_accounts_file_that_cannot_be_read_or_is_empty_is_refused(tmp_path, text):
    """One line names the file or what an account looks like."""
    path = tmp_path / "accounts.yaml"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(OptionError) as caught:
        serve(tmp_path / "hub", accounts=path)
    assert "\n" not in str(caught.value)
