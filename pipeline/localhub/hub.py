"""A Hub that serves a folder, in a thread of this process.

The one idea: `LocalHub` holds what outlives a start and a stop (accounts, counters, faults, limits); `_Running` holds what
does not (the open root, the socket, the server).
"""

from __future__ import annotations

import socket
import sqlite3
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final

import uvicorn

from pipeline.errors import OptionError, SetupError
from pipeline.localhub.accounts import Account, Accounts
from pipeline.localhub.application import UNKNOWN, Application
from pipeline.localhub.byte_store import ByteStore
from pipeline.localhub.call import LOOPBACK, Core
from pipeline.localhub.cards import Cards
from pipeline.localhub.database import Database
from pipeline.localhub.files import Files
from pipeline.localhub.protocol import DroppableProtocol
from pipeline.localhub.routes import ROUTER
from pipeline.localhub.signing import Signer
from pipeline.localhub.traffic import Faults, Traffic
from pipeline.localhub.xorbs import Xorbs

_KEEP_ALIVE_S: Final = 75
_EVERY_ADDRESS: Final = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - to know it when it is asked for
_KNOWN: Final = {
    "packs": "SELECT DISTINCT pack FROM blobs",
    "lfs": "SELECT DISTINCT sha256 FROM lfs",
    "xorbs": "SELECT hash FROM xorbs",
}
"""The names that the database knows, by folder."""


class LocalHub:
    """A Hub that serves the folder `root`; a context manager.

    `accounts` are the users; without any, every client is the user `local`, and the server binds to loopback only.
    Bound to loopback, public repos can be read without a token; bound to anything else, every request needs one.
    `cdn_host` is the second host name, from which large files come (default: `localhost` for clients of 127.0.0.1).
    `token_ttl_s` and `url_ttl_s` say how long Xet tokens and signed URLs are good.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        accounts: Sequence[Account] = (),
        cdn_host: str | None = None,
        token_ttl_s: float = 3600,
        url_ttl_s: float = 3600,
    ) -> None:
        if not accounts and host not in LOOPBACK:
            raise OptionError(f"host {host!r} can be reached by others: give accounts, or bind to 127.0.0.1")
        self._root = Path(root)
        self._address = (host, port)
        self._accounts = Accounts(accounts, anonymous=host in LOOPBACK)
        self._cdn_host = cdn_host
        self._ttl_s = (token_ttl_s, url_ttl_s)
        self._traffic = Traffic((*ROUTER.names, UNKNOWN))
        self._running: _Running | None = None

    @property
    def endpoint(self) -> str:
        """The address for HF_ENDPOINT on this machine, without a slash at the end."""
        return self._at(_EVERY_ADDRESS.get(self._address[0], self._address[0]))

    @property
    def announced(self) -> str:
        """The address for HF_ENDPOINT on other machines: by this one's name if the Hub is bound to all addresses."""
        return self._at(socket.gethostname()) if self._address[0] in _EVERY_ADDRESS else self.endpoint

    @property
    def faults(self) -> Faults:
        """The faults that are set."""
        return self._traffic.faults

    @property
    def latency_s(self) -> float:
        """Seconds that every request waits."""
        return self._traffic.latency_s

    @latency_s.setter
    def latency_s(self, seconds: float) -> None:
        self._traffic.latency_s = seconds

    @property
    def bandwidth_bytes_s(self) -> float | None:
        """Bytes per second of all bodies together, both ways; None for no limit."""
        return self._traffic.bandwidth_bytes_s

    @bandwidth_bytes_s.setter
    def bandwidth_bytes_s(self, bytes_s: float | None) -> None:
        self._traffic.bandwidth_bytes_s = bytes_s

    def counts(self) -> Counter[str]:
        """How many requests each route had (the names are in `routes.py`)."""
        return self._traffic.snapshot()[0]

    def bytes_received(self) -> Counter[str]:
        """How many bytes of request bodies each route had."""
        return self._traffic.snapshot()[1]

    def bytes_sent(self) -> Counter[str]:
        """How many bytes of answers each route had."""
        return self._traffic.snapshot()[2]

    def reset_counts(self) -> None:
        """Count from zero."""
        self._traffic.reset()

    def start(self) -> LocalHub:
        """Serve in a thread; returns when requests are answered.

        OptionError if the address cannot be bound, SetupError if the root cannot be used.
        """
        if self._running is None:
            listener = _bind(*self._address)
            try:
                self._running = _Running(self._open(), self._traffic, listener)
            except BaseException:
                listener.close()
                raise
            self._running.start()
        return self

    def stop(self) -> None:
        """Stop serving, and close everything."""
        if self._running is not None:
            self._running.stop()
            self._running = None

    def __enter__(self) -> LocalHub:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _at(self, host: str) -> str:
        if self._running is None:
            raise SetupError("the Hub is not running; use it with 'with', or call start()")
        return f"http://{f'[{host}]' if ':' in host else host}:{self._running.port}"

    def _open(self) -> Core:
        with ExitStack() as undo:
            try:
                store = ByteStore(self._root)
                undo.callback(store.close)
                database = Database(self._root / "hub.sqlite3")
                undo.callback(database.close)
                for folder, known in _KNOWN.items():
                    store.sweep(folder, database.names(known))
            except sqlite3.Error as err:
                where = str(self._root / "hub.sqlite3")
                raise SetupError(f"{where!r} cannot be opened: {err}; is it a Hub's folder?") from err
            except OSError as err:
                raise _unusable(self._root, err) from err
            undo.pop_all()
        return self._core(database, store)

    def _core(self, database: Database, store: ByteStore) -> Core:
        xorbs = Xorbs(database, store)
        return Core(
            database=database,
            store=store,
            xorbs=xorbs,
            files=Files(database, xorbs),
            cards=Cards(database, store),
            signer=Signer(database.secret),
            accounts=self._accounts,
            cdn_host=self._cdn_host,
            token_ttl_s=self._ttl_s[0],
            url_ttl_s=self._ttl_s[1],
        )


class _Running:
    """A server that has a port."""

    def __init__(self, core: Core, traffic: Traffic, listener: socket.socket) -> None:
        self._core = core
        self._socket = listener
        self.port = int(listener.getsockname()[1])
        config = uvicorn.Config(
            Application(core, traffic),
            http=DroppableProtocol,
            lifespan="off",
            log_config=None,  # leave the logging of this process alone
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=5,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="localhub", daemon=True)

    def start(self) -> None:
        self._thread.start()
        waiting = threading.Event()
        while self._thread.is_alive():
            if self._server.started:
                return
            waiting.wait(0.01)
        raise SetupError("the Hub's server ended as it began; the log says why")

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()

    def _run(self) -> None:
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self._socket.close()
            self._core.close()


def _unusable(root: Path, err: OSError) -> SetupError:
    where = f" ({err.filename!r})" if err.filename and str(err.filename) != str(root) else ""
    return SetupError(f"{str(root)!r} cannot be a Hub's folder: {err.strerror or err}{where}; choose another --root")


def _bind(host: str, port: int) -> socket.socket:
    # By its protocol asyncio knows a TCP socket, and turns off Nagle's delay: 40 ms per answer on a kept connection.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as err:
        listener.close()
        raise OptionError(f"cannot serve at {host}:{port}: {err.strerror or err}; choose another host or port") from err
    return listener
