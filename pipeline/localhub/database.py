"""What the Hub remembers, in one SQLite file: who owns what, and where its bytes are.

The one idea: everything that a client can see becomes visible in one transaction that is on the disk before it is
acknowledged (WAL with synchronous=FULL). Bytes are made durable before the transaction that names them begins.

A *line* is a run of commits that grew from one another. An entry lives on a line from the commit that made it (`born`) to
the one that replaced it (`died`), so a commit costs as many rows as it changes, and any old commit can still be listed.
"""

from __future__ import annotations

import secrets
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final

ALIVE: Final = 2**62
"""The value of `entries.died` for an entry that nothing has replaced."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS repos (  -- ids are never given twice: tokens outlive repos
    id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, name TEXT NOT NULL COLLATE NOCASE, owner TEXT NOT NULL,
    private INTEGER NOT NULL, created_s REAL NOT NULL, UNIQUE (kind, name));
CREATE TABLE IF NOT EXISTS refs (
    repo INTEGER NOT NULL, name TEXT NOT NULL, head INTEGER NOT NULL, message TEXT, PRIMARY KEY (repo, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS lines (id INTEGER PRIMARY KEY, repo INTEGER NOT NULL, tip INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS commits (
    id INTEGER PRIMARY KEY, repo INTEGER NOT NULL, sha TEXT NOT NULL UNIQUE, line INTEGER NOT NULL, seq INTEGER NOT NULL,
    parent INTEGER, title TEXT NOT NULL, description TEXT NOT NULL, author TEXT NOT NULL, created_s REAL NOT NULL);
CREATE INDEX IF NOT EXISTS commits_by_repo ON commits (repo);
CREATE TABLE IF NOT EXISTS entries (
    line INTEGER NOT NULL, path TEXT NOT NULL, born INTEGER NOT NULL, died INTEGER NOT NULL, oid TEXT NOT NULL,
    size INTEGER NOT NULL, sha256 TEXT, xet TEXT, made_by INTEGER NOT NULL, PRIMARY KEY (line, path, born)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS bucket_files (
    repo INTEGER NOT NULL, path TEXT NOT NULL, xet TEXT NOT NULL, size INTEGER NOT NULL, mtime_ms INTEGER NOT NULL,
    uploaded_s REAL NOT NULL, PRIMARY KEY (repo, path)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS blobs (
    oid TEXT PRIMARY KEY, pack TEXT NOT NULL, start INTEGER NOT NULL, size INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS xorbs (hash TEXT PRIMARY KEY, size INTEGER NOT NULL, records BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS xorb_uploads (
    xorb TEXT NOT NULL, user TEXT NOT NULL, repo INTEGER NOT NULL, PRIMARY KEY (xorb, user, repo)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS xorb_uploads_by_repo ON xorb_uploads (repo);
CREATE TABLE IF NOT EXISTS files (hash TEXT PRIMARY KEY, size INTEGER NOT NULL, sha256 TEXT, terms BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS files_by_sha256 ON files (sha256);
CREATE TABLE IF NOT EXISTS file_repos (file TEXT NOT NULL, repo INTEGER NOT NULL, PRIMARY KEY (file, repo)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS dedup (
    chunk BLOB NOT NULL, file TEXT NOT NULL, term INTEGER NOT NULL, PRIMARY KEY (chunk, file)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS discussions (
    repo INTEGER NOT NULL, num INTEGER NOT NULL, title TEXT NOT NULL, description TEXT NOT NULL, author TEXT NOT NULL,
    status TEXT NOT NULL, pull INTEGER NOT NULL, created_s REAL NOT NULL, PRIMARY KEY (repo, num)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS lfs (sha256 TEXT NOT NULL, repo INTEGER NOT NULL, size INTEGER NOT NULL,
    PRIMARY KEY (sha256, repo)) WITHOUT ROWID;
"""


class Database:
    """One writer at a time, any number of readers, each on a connection of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._closed = False
        self._write_lock = threading.Lock()
        self._idle: SimpleQueue[sqlite3.Connection] = SimpleQueue()
        self._writer = self._connect()
        self._writer.executescript(_SCHEMA)
        self.secret = self._remember_secret()

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees one consistent state for as long as the block runs."""
        try:
            conn = self._idle.get_nowait()
        except Empty:
            conn = self._connect()
        try:
            conn.execute("BEGIN")
            yield conn
        finally:
            conn.rollback()
            if self._closed:
                conn.close()
            else:
                self._idle.put(conn)

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction: durable when the block ends, undone when it raises. Writers wait for one another."""
        with self._write_lock:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.commit()
            except BaseException:
                self._writer.rollback()
                raise

    def names(self, query: str) -> set[str]:
        """The first column of what a query finds."""
        with self.read() as conn:
            return {row[0] for row in conn.execute(query)}

    def close(self) -> None:
        """Close every connection, those in use when they are given back."""
        with self._write_lock:
            self._closed = True
            self._writer.close()
        while not self._idle.empty():
            self._idle.get().close()

    def _connect(self) -> sqlite3.Connection:
        conn = sqlite3.connect(self._path, timeout=60, isolation_level=None, check_same_thread=False)
        conn.row_factory = sqlite3.Row
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "cache_size=-16000"):
            conn.execute(f"PRAGMA {pragma}")
        return conn

    def _remember_secret(self) -> bytes:
        with self.write() as conn:
            conn.execute("INSERT OR IGNORE INTO meta VALUES ('secret', ?)", (secrets.token_bytes(32),))
            row = conn.execute("SELECT value FROM meta WHERE key = 'secret'").fetchone()
        return bytes(row["value"])
