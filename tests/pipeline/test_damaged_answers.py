"""A server or proxy that answers a range with other bytes, in good order: an error, never wrong bytes."""

import random
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pipeline.errors import TransferError
from pipeline.hub.ranges import open_file
from pipeline.storage import FileRef

DATA = random.Random(1).randbytes(1000)


@pytest.fixture
def liar():
    """A server that answers a range with what it is told to: (status, headers, body)."""
    answers = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            status, headers, body = answers["next"]
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        uri = f"hf://datasets/ns/name@{'0' * 40}/a.parquet"
        yield answers, open_file(FileRef(uri=uri, size=1000, content_id="x", endpoint=endpoint), None)
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "answer",
    [
        (206, {"Content-Range": "bytes 100-149/1000"}, DATA[100:150]),
        (206, {"Content-Range": "bytes 100-249/1000"}, DATA[100:250]),
        (206, {"Content-Range": "bytes 0-99/1000"}, DATA[:100]),
        (200, {}, DATA[:100]),
        (200, {}, DATA[:150]),
        (200, {}, b""),
    ],
    ids=["short", "long", "another range", "a shorter file", "a file cut short", "nothing"],
)
def test_an_answer_that_is_not_the_range_is_an_error(liar, answer):
    """A server or proxy that answers in good order with other bytes than were asked for is a TransferError."""
    answers, reader = liar
    answers["next"] = answer
    with pytest.raises(TransferError, match=r"a.parquet: .* came for range 100-200"):
        reader.read(100, 200)


def test_a_whole_file_in_place_of_a_range_is_cut(liar):
    """Who does not know ranges sends the whole file; the range is taken out of it."""
    answers, reader = liar
    answers["next"] = (200, {}, DATA)
    assert reader.read(100, 200) == DATA[100:200]
