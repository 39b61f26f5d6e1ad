"""Going back: one new commit whose files are those of an old one. Nothing is uploaded and nothing is lost.

Large files are in storage still, so the commit names them by their hashes; small ones are fetched and sent. The history keeps
what is reverted, and the transactions that the head remembers stay, so that a job that is run again finds what it did.
"""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from pipeline.errors import ConflictError
from pipeline.hub import client
from pipeline.hub.changes import same_content
from pipeline.hub.commit import Change, Committed, check_limits, commit
from pipeline.hub.listing import DataFile, Listing, list_files
from pipeline.hub.repo import DatasetRef, Secret, check_writable
from pipeline.hub.transactions import TRANSACTIONS, Record
from pipeline.hub.upload import StoredFile
from pipeline.sizes import counted

_AT_ONCE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class RevertPlan:
    """What going from `head` back to `target` takes: files that come `back` as they were, and paths that are `removed`."""

    head: Listing
    target: Listing
    back: tuple[DataFile, ...]
    removed: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """Whether the head has those files already."""
        return not self.back and not self.removed


def plan_revert(ref: DatasetRef, token: Secret | None, sha: str) -> RevertPlan:
    """Compare the branch's head with a commit, by its full sha. Raises NotFoundError, OptionError for a bucket."""
    check_writable(ref)
    client.check_branch(ref, token)
    head, target = list_files(ref, token), list_files(replace(ref, revision=sha), token)
    now = {file.path: file for file in head.files if file.path != TRANSACTIONS}
    then = {file.path: file for file in target.files if file.path != TRANSACTIONS}
    back = [file for path, file in then.items() if path not in now or not same_content(now[path], file)]
    return RevertPlan(
        head=head, target=target, back=tuple(back), removed=tuple(path for path in now if path not in then)
    )


def revert(ref: DatasetRef, token: Secret | None, plan: RevertPlan, *, writer: str | None = None) -> Committed:
    """Commit what was planned, on the head that it was planned on.

    Raises ConflictError when somebody committed since, OptionError for more files than one commit takes.
    """
    small = [file for file in plan.back if file.sha256 is None]
    check_limits(str(ref), files=len(plan.back) - len(small), text_bytes=sum(file.size for file in small))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        contents = dict(pool.map(lambda file: (file.path, _content(plan.target, file, token)), small))
    change = Change(
        files=tuple(_stored(file) for file in plan.back if file.sha256 is not None),
        contents=contents,
        deletions=plan.removed,
        record=Record(
            mode="revert",
            files=len(plan.back),
            bytes=sum(file.size for file in plan.back),
            new_bytes=0,
            writer=writer,
        ),
    )

    def build(listing: Listing) -> Change:
        if listing.commit != plan.head.commit:
            raise ConflictError(
                f"{ref}: somebody committed {listing.commit[:8]} since this revert was planned, and it would be undone too; "
                f"look at `pipeline history {ref.repo_id}`, then run again"
            )
        return change

    title = f"Revert to {plan.target.commit[:8]}: {counted(len(plan.back), 'file')} back, {len(plan.removed):,} removed"
    return commit(ref, token, build, message=title, transaction=uuid.uuid4().hex)


def _content(target: Listing, file: DataFile, token: Secret | None) -> bytes:
    about = f"{target.ref}/{file.path}"
    return client.get(target.ref.file_url(file.path), token, about=about).content


def _stored(file: DataFile) -> StoredFile:
    assert file.sha256 is not None
    return StoredFile(path=file.path, sha256=file.sha256, xet_hash=file.xet_hash or "", size=file.size)
