"""One file on its way into Xet storage: pieces of it are cut, hashed and sent by a thread; and hf_xet's errors as ours."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any

from pipeline.errors import AccessError, DatasetError, SetupError, TransferError

_PIECE = 2 << 20
_PIECES_SENDING = 2
_REFUSED = re.compile(r"HTTP status client error \((401|403)\b")


class UploadStream:
    """A file being uploaded: what is written to it goes into storage. Looks enough like a file for `pa.PythonFile`.

    Pieces are cut, hashed and sent in another thread, one after the other, while the next is made. `waited_s` is how long the
    writer had to wait for that.
    """

    def __init__(self, path: str, stream: Any, submit: Callable[[Callable[[], None]], Future[None]]) -> None:
        self.path = path
        self.size = 0
        self.closed = False
        self.waited_s = 0.0
        self._stream = stream
        self._submit = submit
        self._piece = bytearray()
        self._sending: deque[Future[None]] = deque()

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        for start in range(0, len(view), _PIECE):
            self._piece += view[start : start + _PIECE]
            if len(self._piece) >= _PIECE:
                self._send()
        self.size += len(view)
        return len(view)

    def flush(self) -> None:
        """Nothing that a reader could see before the file is closed."""

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        """The end of the file. Its hashes are known after `Upload.finish`."""
        if not self.closed:
            self.closed = True
            self._send()
            self._settle(0)
            begun = time.perf_counter()
            self._translated(self._stream.finish)
            self.waited_s += time.perf_counter() - begun

    def _send(self) -> None:
        piece, self._piece = bytes(self._piece), bytearray()
        if piece:
            self._settle(_PIECES_SENDING - 1)
            self._sending.append(self._submit(partial(self._stream.write, piece)))

    def _settle(self, left: int) -> None:
        """Wait until no more than `left` pieces are being sent."""
        begun = time.perf_counter()
        while len(self._sending) > left:
            self._translated(self._sending.popleft().result)
        self.waited_s += time.perf_counter() - begun

    def _translated(self, act: Callable[[], object]) -> None:
        try:
            act()
        except Exception as err:
            raise translate(err, self.path) from err


def translate(err: Exception, about: str) -> DatasetError:
    """hf_xet's error as ours. Its types say little (RuntimeError), so the class comes from the few that do.

    A status is in the text only; an OSError that is no ConnectionError is about the folder where it keeps what is on its way.
    """
    from hf_xet import XetAuthenticationError

    reason = str(err).replace("\n", " ")[:300]
    if isinstance(err, DatasetError):
        return err
    if isinstance(err, (XetAuthenticationError, PermissionError)) or _REFUSED.search(reason):
        return AccessError(f"{about}: the Hub refused the upload ({reason}); give a token with write access")
    if isinstance(err, OSError) and not isinstance(err, (ConnectionError, TimeoutError)):
        return SetupError(
            f"{about}: hf_xet cannot write to its cache folder ({reason}); it needs one with some room that this process may "
            "write to: set HF_XET_CACHE or HF_HOME to it, on every executor"
        )
    return TransferError(
        f"{about}: the upload to Xet storage failed ({reason}); run again, what is stored is not sent again"
    )
