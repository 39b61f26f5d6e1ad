"""Xet storage in a folder, for a moment: hf_xet cuts and deduplicates there as for the Hub, and nothing leaves the machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory

from pipeline.errors import SetupError


@contextmanager
def local_store() -> Iterator[Callable[[bytes], int]]:
    """A function that stores data in an empty storage and gives the bytes of it that were new.

    It raises SetupError when the folder for temporary files cannot hold them.
    """
    from hf_xet import XetSession

    session = XetSession()
    with TemporaryDirectory(prefix="xet-") as folder:

        def store(data: bytes) -> int:
            try:
                commit = session.new_upload_commit(endpoint=f"local://{folder}")
                stream = commit.start_upload_stream(name="data")
                stream.write(data)
                stream.finish()
                (upload,) = commit.wait_to_finish().uploads.values()
            except (OSError, RuntimeError) as err:
                raise SetupError(
                    f"temporary folder {folder!r}: hf_xet cannot store a few MB there ({err}); make room, or set TMPDIR"
                ) from err
            return int(upload.dedup_metrics.new_bytes)

        yield store
