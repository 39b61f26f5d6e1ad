"""`serve` runs in the foreground, reads accounts from a file, and ends cleanly."""

import json
import signal

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


@pytest.mark.parametrize("text", ["{", "a: b", "\xff"])
def test_an_accounts_file_that_cannot_be_read_is_refused(tmp_path, text):
    """One line names the file or what an account looks like."""
    path = tmp_path / "accounts.yaml"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(OptionError) as caught:
        serve(tmp_path / "hub", accounts=path)
    assert "\n" not in str(caught.value)
