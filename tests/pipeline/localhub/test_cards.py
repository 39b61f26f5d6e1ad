"""A card is what strangers wrote: it is read as JSON has it, cheaply, or not at all."""

import threading

import pytest

from pipeline.localhub.byte_store import ByteStore
from pipeline.localhub.cards import Cards, front_matter
from pipeline.localhub.commits import start
from pipeline.localhub.database import Database
from pipeline.localhub.repos import create_repo


@pytest.fixture
def card(raw, kit):
    """Put a text at the top of a README; returns the answers of validate-yaml and of the repo's info."""
    raw.create("me/cats")

    def put(text):
        checked = raw.request("POST", "/api/validate-yaml", {"content": text, "repoType": "dataset"})
        assert raw.commit("me/cats", kit.put_file("README.md", text.encode())).status == 200
        return checked, raw.get("/api/datasets/me/cats")

    return put


def test_dates_and_numbers_that_are_none_do_not_break_a_repo(card):
    """A date in a card is its text, a number that is infinite or none is null, and the repo can be looked at."""
    checked, info = card("---\ndate: 2024-05-01\nat: 2024-05-01T10:00:00Z\nscores: [.nan, .inf, 1.5]\n---\n# Cats\n")
    assert checked.status == 200
    assert info.json["cardData"] == {
        "date": "2024-05-01",
        "at": "2024-05-01T10:00:00Z",
        "scores": [None, None, 1.5],
    }


BOMB = "---\na: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join(['*' + old] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
UNREADABLE = [
    BOMB + "---\n",
    "---\na: &a [1]\nb: *a\n---\n",
    "---\na: &a\n  b: *a\n---\n",
    "---\n" + "[" * 5000 + "\n---\n",
    "---\n" + "{a: " * 5000 + "\n---\n",
    "---\na: !!timestamp 2024-05-01\n---\n",
    "---\na: !!timestamp x\n---\n",
    "---\na: !!bool x\n---\n",
    "---\na: !!int ''\n---\n",
    "---\na: !!binary aGk=\n---\n",
    "---\na: 0x" + "9" * 5000 + "\n---\n",
    "---\na: " + "9" * 5000 + "\n---\n",
    "---\na: 1" + ":1" * 1000 + ".5\n---\n",
    '---\na: "\\ud800"\n---\n',
    '---\n"\\ud800": a\n---\n',
    "---\n? [a]\n: b\n---\n",
    "---\n- a\n---\n",
]


def test_a_card_that_cannot_be_read_is_no_card(card):
    """Aliases, depths, scalars that are not what they say: refused in one line by validate-yaml, null in the repo's info."""
    for text in UNREADABLE:
        checked, info = card(text)
        assert (checked.status, len(checked.json["errors"])) == (400, 1), text[:80]
        assert "\n" not in checked.json["errors"][0]["message"]
        assert (info.status, info.json["cardData"]) == (200, None), text[:80]


def test_front_matter_ends_with_dashes_that_start_a_line():
    """Three dashes at the end of a line are part of what they end."""
    assert front_matter("---\ntags:\n- a---\n- b\n---\n# x") == {"tags": ["a---", "b"]}
    assert front_matter("---\r\na: 1\r\n---\r\n") == front_matter("---\na: 1\n---") == {"a": 1}
    assert front_matter("---\n---\n") == front_matter("# no") == front_matter("---\na: 1\n ---\n") == {}


def test_a_card_is_read_once(tmp_path, monkeypatch):
    """The same blob is not read again, whoever asks."""
    database, store = Database(tmp_path / "hub.sqlite3"), ByteStore(tmp_path)
    with database.write() as conn:
        start(conn, store, create_repo(conn, "dataset", "me/cats", private=False), "me")
        oid = conn.execute("SELECT oid FROM blobs").fetchone()[0]
    read = []
    monkeypatch.setattr("pipeline.localhub.cards.front_matter", lambda text: read.append(text) or {"a": 1})
    cards = Cards(database, store)
    assert cards.read(oid) == cards.read(oid) == {"a": 1}
    assert len(read) == 1
    database.close()
    store.close()


def test_texts_of_strangers_are_read_beside_the_event_loop(card, monkeypatch):
    """Neither a card nor a body is parsed in the thread in which everyone's requests are handled."""
    threads = set()

    def spy(function):
        def noted(text):
            threads.add(threading.current_thread().name)
            return function(text)

        return noted

    for module, name in (("api_repos", "front_matter"), ("cards", "front_matter"), ("call", "parse_json")):
        where = __import__(f"pipeline.localhub.{module}", fromlist=[name])
        monkeypatch.setattr(where, name, spy(getattr(where, name)))
    card("---\na: 1\n---\n")
    assert threads
    assert "localhub" not in threads
