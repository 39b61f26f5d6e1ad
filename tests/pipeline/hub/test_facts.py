"""A repo's licence and who may see it, in one request."""

import pytest
from huggingface_hub import HfApi

from pipeline.errors import NotFoundError
from pipeline.hub.facts import RepoFacts, repo_facts
from pipeline.hub.repo import Secret, parse_ref
from pipeline.localhub import Account, LocalHub

TOKEN = Secret("hf_facts")


@pytest.mark.parametrize(
    ("yaml", "found"), [("license: mit", "mit"), ("license: [mit, cc0-1.0]", "mit, cc0-1.0"), ("a: 1", None)]
)
def test_a_repo_is_asked_once(hub, put, repo, yaml, found):
    """The licence is that of the card, in whatever form; whoever asks again is not sent to the Hub."""
    ref = put(repo, {"README.md": f"---\n{yaml}\n---\n"})
    hub.reset_counts()
    for _ in range(2):
        assert repo_facts(ref, TOKEN) == RepoFacts(license=found, private=False, gated=False)
    assert hub.counts() == {"repo_info": 1}


def test_a_private_repo_says_so_to_who_may_see_it(tmp_path):
    """Others are told that there is none."""
    accounts = [Account(name="ann", token="hf_ann"), Account(name="bob", token="hf_bob")]
    with LocalHub(tmp_path / "own", accounts=accounts) as own:
        HfApi(endpoint=own.endpoint, token="hf_ann").create_repo("ann/x", repo_type="dataset", visibility="private")
        ref = parse_ref("ann/x", endpoint=own.endpoint)
        assert repo_facts(ref, Secret("hf_ann")) == RepoFacts(license=None, private=True, gated=False)
        for token in (Secret("hf_bob"), None):
            with pytest.raises(NotFoundError):
                repo_facts(ref, token)


def test_a_gated_repo_says_so(hub, put, repo, monkeypatch):
    """`gated` is `auto`, `manual` or false."""
    from pipeline.hub import client

    ref = put(repo, {"README.md": "---\nlicense: other\n---\n"})
    ask = client.get_json
    monkeypatch.setattr(client, "get_json", lambda *args, **more: {**ask(*args, **more), "gated": "manual"})
    assert repo_facts(ref, TOKEN) == RepoFacts(license="other", private=False, gated=True)
