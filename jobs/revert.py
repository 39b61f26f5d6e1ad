"""Go back to an old commit, by a new one."""

from __future__ import annotations

from jobs import console
from pipeline.hub.history import find_commit
from pipeline.hub.repo import check_writable, find_token, parse_ref
from pipeline.hub.revert import plan_revert, revert
from pipeline.sizes import counted, format_bytes

WRITER = "pipeline revert"


def revert_dataset(dataset: str, *, to: str, revision: str | None, dry_run: bool, endpoint: str | None) -> None:
    """Make the branch what it was at `to`, a commit or a time, and say what that takes.

    Raises what `find_commit`, `plan_revert` and `revert` raise.
    """
    ref = parse_ref(dataset, revision=revision, endpoint=endpoint)
    token = find_token(ref.endpoint)
    check_writable(ref)
    sha = find_commit(ref, token, to)
    plan = plan_revert(ref, token, sha)
    if plan.is_empty:
        console.say(f"{ref} has the files of {sha[:8]} already; nothing to do")
        return
    size = format_bytes(sum(file.size for file in plan.back))
    what = f"{counted(len(plan.back), 'file')} back ({size}), {len(plan.removed):,} removed, nothing uploaded"
    if dry_run:
        console.say(f"{ref} to {sha[:8]}: would bring {what}")
        return
    done = revert(ref, token, plan, writer=WRITER)
    console.say(f"{ref} is as at {sha[:8]}: {what}; commit {done.sha[:8]}")
    console.say(f"undo it with: pipeline revert {ref.repo_id} --to {plan.head.commit[:8]}")
