"""What a dataset is called, and who asks for it: one grammar in all its forms, tokens that nobody sees."""

import copy
import dataclasses
import json
import pickle
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import OptionError
from pipeline.hub.repo import (
    DatasetRef,
    Secret,
    default_endpoint,
    find_token,
    is_repo_id,
    normalise_endpoint,
    parse_ref,
)

WORD = st.from_regex(r"[A-Za-z0-9_](?:[A-Za-z0-9._]{0,20}[A-Za-z0-9_])?", fullmatch=True).filter(
    lambda w: ".." not in w
)
REVISION = st.one_of(
    st.from_regex(r"[0-9a-f]{40}", fullmatch=True),
    st.from_regex(r"[A-Za-z0-9._-]{1,20}(?:/[A-Za-z0-9._-]{1,20})?", fullmatch=True),
    st.from_regex(r"refs/(?:pr/[1-9][0-9]{0,4}|convert/[a-z]{1,10})", fullmatch=True),
)
PATH = (
    st.lists(st.text("abcXYZ019 ._-%#é@[]", min_size=1, max_size=8), max_size=3)
    .map("/".join)
    .filter(lambda path: ".." not in path.split("/"))
)
TOKEN = "hf_secretsecretsecret"


@given(
    namespace=WORD,
    name=WORD,
    revision=st.none() | REVISION,
    path=PATH,
    prefix=st.sampled_from(["hf://datasets/", "datasets/"]),
)
def test_every_written_form_is_read_back(namespace, name, revision, path, prefix):
    """Repo, revision (quoted, or plain under refs/) and path come out as they were put in, in each form."""
    at = ""
    if revision:
        at = f"@{revision if revision.startswith('refs/') else quote(revision, safe='')}"
    ref = parse_ref(f"{prefix}{namespace}/{name}{at}{'/' if path else ''}{path}", endpoint="http://hub")
    assert (ref.repo_id, ref.revision, ref.path) == (f"{namespace}/{name}", revision, path)
    assert ref.endpoint == "http://hub"


@given(namespace=WORD, name=WORD)
def test_a_plain_name_has_no_revision_and_no_path(namespace, name):
    """`ns/name` alone is the default branch of the whole repo, on the default endpoint."""
    ref = parse_ref(f"{namespace}/{name}")
    assert ref == DatasetRef(repo_id=f"{namespace}/{name}", endpoint=default_endpoint())


@pytest.mark.parametrize(
    ("text", "revision", "path"),
    [
        ("ns/name@v1", "v1", ""),
        ("hf://datasets/ns/name@refs/convert/parquet", "refs/convert/parquet", ""),
        (
            "hf://datasets/ns/name@refs/convert/parquet/default/train/0.parquet",
            "refs/convert/parquet",
            "default/train/0.parquet",
        ),
        ("hf://datasets/ns/name@refs/pr/1/a/b.parquet", "refs/pr/1", "a/b.parquet"),
        ("hf://datasets/ns/name@refs%2Fpr%2F1/a.parquet", "refs/pr/1", "a.parquet"),
        ("hf://datasets/ns/name@feature%2Fx/data/a b%20c.parquet", "feature/x", "data/a b%20c.parquet"),
        ("hf://datasets/ns/name/", None, ""),
        ("datasets/ns/name/a@b.parquet", None, "a@b.parquet"),
    ],
)
def test_refs_that_people_write_are_understood(text, revision, path):
    """Branches with slashes, pull requests, the parquet branch, odd file names."""
    ref = parse_ref(text)
    assert (ref.repo_id, ref.revision, ref.path) == ("ns/name", revision, path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "ns/",
        "/name",
        "ns/na me",
        "ns/name@",
        "s3://ns/name",
        "hf://s3://ns/name",
        "ns/..",
        "../name",
        "ns/a..b",
        "ns/a--b",
        "ns/-a",
        "ns/a-",
        "ns/a.",
        "ns/.a",
        "ns/" + "x" * 97,
        "ns/name\n",
        "hf://datasets/ns/name/a/../../b",
        "hf://datasets/ns/name/..",
    ],
)
def test_what_is_no_name_is_refused_in_one_line(text):
    """Bad names are an OptionError that shows what was given and what was expected."""
    with pytest.raises(OptionError, match="expected") as caught:
        parse_ref(text)
    assert "\n" not in str(caught.value)
    assert repr(text) in str(caught.value)


def test_a_name_is_valid_where_the_hub_says_so():
    """Our rule of names is huggingface_hub's."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    for name in ("a", "_a", "a_", "a.b", "a-b", "a--b", "a..b", "-a", "a-", ".a", "a.", "x" * 90, "a b", "A0"):
        try:
            validate_repo_id(f"ns/{name}")
            known = True
        except HFValidationError:
            known = False
        assert is_repo_id(f"ns/{name}") == known, name


def test_two_different_revisions_are_refused():
    """A revision in the name and another in the option is an error; the same twice is fine."""
    with pytest.raises(OptionError, match=r"'a'.*'b'"):
        parse_ref("ns/name@a", revision="b")
    assert parse_ref("ns/name@a", revision="a").revision == "a"


def test_addresses_are_quoted():
    """Revisions and paths with slashes, spaces, '#' and '%' cannot change what is asked for."""
    ref = parse_ref("ns/name", revision="refs/pr/1", endpoint="http://hub/")
    assert ref.api_url("tree") == "http://hub/api/datasets/ns/name/tree"
    assert (
        ref.file_url("a b/#é%20.parquet")
        == "http://hub/datasets/ns/name/resolve/refs%2Fpr%2F1/a%20b/%23%C3%A9%2520.parquet"
    )


@pytest.mark.parametrize("endpoint", ["hub", "ftp://hub", "http://", "http:///x", ""])
def test_an_endpoint_is_a_url(endpoint):
    """An endpoint without http(s) and host is an error in one line."""
    with pytest.raises(OptionError, match="option 'endpoint'"):
        normalise_endpoint(endpoint)


def test_an_implicit_token_goes_only_to_its_own_endpoint(monkeypatch):
    """The token of the environment is found for the default endpoint and for no other; a given one goes where it is said."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert find_token(default_endpoint()) == Secret(TOKEN)
    assert find_token("https://evil.example") is None
    assert find_token("https://evil.example", "hf_given") == Secret("hf_given")
    assert find_token(default_endpoint(), "hf_given") == Secret("hf_given")


def test_no_token_is_no_token(monkeypatch):
    """Without environment and login there is none."""
    monkeypatch.delenv("HF_TOKEN", raising=False)
    assert find_token(default_endpoint()) is None


def test_a_secret_never_shows():
    """repr, str, format, a dataclass around it, a traceback's locals, JSON: the token is in none; a pickle carries it."""
    secret = Secret(TOKEN)

    @dataclasses.dataclass
    class Holder:
        token: Secret

    for shown in (
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret!r:>40}",
        repr(Holder(secret)),
        repr({"t": [secret]}),
    ):
        assert TOKEN not in shown
        assert "***" in shown
    assert TOKEN not in str(dataclasses.asdict(Holder(secret)))
    with pytest.raises(TypeError):
        json.dumps(secret)
    with pytest.raises(TypeError):
        vars(secret)
    assert pickle.loads(pickle.dumps(secret)).reveal() == TOKEN
    assert copy.deepcopy(secret) == secret
    assert secret != Secret("hf_other")
    assert secret != TOKEN
    assert len({secret, Secret(TOKEN)}) == 1


def test_a_token_from_a_file_may_end_in_a_newline_and_a_broken_one_is_not_shown():
    """White space around a token is left away; one that cannot be a token is an error that does not say it."""
    assert find_token("http://hub", " hf_abc\n").reveal() == "hf_abc"
    for broken in ("hf_sec ret", "hf_sec\nret", "hf_secr\u00e9t"):
        with pytest.raises(OptionError) as caught:
            find_token("http://hub", broken)
        assert "hf_sec" not in str(caught.value)
