"""Every route of the Hub, with the name by which it is counted and by which faults are set.

| name | what |
|---|---|
| `whoami`, `list`, `repo_create`, `repo_delete`, `repo_move`, `repo_settings`, `validate_yaml` | about users and repos |
| `repo_info`, `tree`, `paths_info`, `refs`, `commits` | reading a repo |
| `preupload`, `commit`, `branch`, `tag`, `super_squash` | changing a repo |
| `discussions`, `discussion_create`, `discussion`, `discussion_status` | discussions and pull requests |
| `resolve` | HEAD and GET of a file: the bytes, or a redirect |
| `cdn` | the bytes of a large file, on the second host |
| `xet_read_token`, `xet_write_token` | tokens for the storage |
| `cas_reconstruction`, `cas_xorb_get`, `cas_xorb_put`, `cas_xorb_head`, `cas_shard`, `cas_chunk`, `cas_telemetry` | the storage |
| `cas_unsupported` | what hf_xet tries first and falls back from: xorb grants, shards v2 |
| `bucket_create`, `bucket_list`, `bucket_info`, `bucket_delete` | about buckets |
| `bucket_tree`, `bucket_paths_info`, `bucket_batch` | what is in a bucket, and changing it |
| `lfs_batch`, `lfs_put`, `lfs_duplicate` | large files without Xet, and copies between repos |
| `agent_harnesses` | asked by clients once a day |
| `unknown` | everything else: 404 |
"""

from __future__ import annotations

from typing import Final

from pipeline.localhub import (
    api_buckets,
    api_cas,
    api_content,
    api_discussions,
    api_files,
    api_lfs,
    api_preupload,
    api_repos,
)
from pipeline.localhub.routing import Router, route

_REPO: Final = "/api/{kind}/{ns}/{name}"
_BUCKET: Final = "/api/{buckets}/{ns}/{name}"

ROUTER: Final = Router(
    [
        route("whoami", "GET", "/api/whoami-v2", api_repos.whoami),
        route("agent_harnesses", "GET", "/api/agent-harnesses", api_repos.nothing),
        route("validate_yaml", "POST", "/api/validate-yaml", api_repos.validate_yaml),
        route("repo_create", "POST", "/api/repos/create", api_repos.create),
        route("repo_delete", "DELETE", "/api/repos/delete", api_repos.delete),
        route("repo_move", "POST", "/api/repos/move", api_repos.move),
        route("list", "GET", "/api/{kind}", api_repos.listing),
        route("repo_info", "GET HEAD", _REPO, api_repos.info),
        route("repo_info", "GET HEAD", _REPO + "/revision/{rev}", api_repos.info),
        route("repo_settings", "PUT", _REPO + "/settings", api_repos.settings),
        route("tree", "GET", _REPO + "/tree/{rev}/{path*}", api_content.tree),
        route("paths_info", "POST", _REPO + "/paths-info/{rev}", api_content.paths_info),
        route("preupload", "POST", _REPO + "/preupload/{rev}", api_preupload.preupload),
        route("commit", "POST", _REPO + "/commit/{rev}", api_content.commit),
        route("refs", "GET", _REPO + "/refs", api_content.refs),
        route("commits", "GET", _REPO + "/commits/{rev}", api_content.commits),
        route("branch", "POST DELETE", _REPO + "/branch/{rev}", api_content.branch),
        route("tag", "POST DELETE", _REPO + "/tag/{rev}", api_content.tag),
        route("super_squash", "POST", _REPO + "/super-squash/{rev}", api_content.super_squash),
        route("discussions", "GET", _REPO + "/discussions", api_discussions.listing),
        route("discussion_create", "POST", _REPO + "/discussions", api_discussions.create),
        route("discussion", "GET", _REPO + "/discussions/{num}", api_discussions.details),
        route("discussion_status", "POST", _REPO + "/discussions/{num}/status", api_discussions.status),
        route("xet_read_token", "GET", _REPO + "/xet-read-token/{rev}", api_cas.xet_read_token),
        route("xet_write_token", "GET", _REPO + "/xet-write-token/{rev}", api_cas.xet_write_token),
        route("lfs_duplicate", "POST", _REPO + "/lfs-files/duplicate", api_lfs.duplicate),
        route("bucket_list", "GET", "/api/{buckets}/{ns}", api_buckets.listing),
        route("bucket_create", "POST", _BUCKET, api_buckets.create),
        route("bucket_info", "GET HEAD", _BUCKET, api_buckets.info),
        route("repo_settings", "PUT", _BUCKET + "/settings", api_repos.settings),
        route("bucket_tree", "GET", _BUCKET + "/tree/{path*}", api_buckets.tree),
        route("bucket_paths_info", "POST", _BUCKET + "/paths-info", api_buckets.paths_info),
        route("bucket_batch", "POST", _BUCKET + "/batch", api_buckets.batch),
        route("resolve", "GET HEAD", "/{buckets}/{ns}/{name}/resolve/{path*}", api_buckets.resolve_file),
        route("xet_read_token", "GET", _BUCKET + "/xet-read-token", api_cas.xet_read_token),
        route("xet_write_token", "GET", _BUCKET + "/xet-write-token", api_cas.xet_write_token),
        route("bucket_delete", "DELETE", _BUCKET, api_buckets.delete),
        route("cas_reconstruction", "GET", "/cas/{version}/reconstructions/{hash}", api_cas.reconstruction),
        route("cas_xorb_put", "POST", "/cas/v1/xorbs/default/{hash}", api_cas.xorb_put),
        route("cas_xorb_head", "HEAD", "/cas/v1/xorbs/default/{hash}", api_cas.xorb_head),
        route("cas_shard", "POST", "/cas/v1/shards", api_cas.shard_put),
        route("cas_chunk", "GET", "/cas/v1/chunks/{prefix}/{hash}", api_cas.chunk),
        route("cas_unsupported", "POST", "/cas/v1/xorb-grants/default/{hash}", api_cas.unsupported),
        route("cas_unsupported", "POST", "/cas/v2/shards", api_cas.unsupported),
        route("cas_telemetry", "POST", "/cas/v1/telemetry", api_repos.nothing),
        route("cas_xorb_get", "GET", "/cdn/xorbs/default/{hash}", api_files.cdn_xorb),
        route("cdn", "GET HEAD", "/cdn/{store}/{hash}", api_files.cdn_file),
        route("lfs_put", "PUT", "/lfs/{oid}", api_lfs.put),
        route("lfs_batch", "POST", "/{kind}/{ns}/{name}.git/info/lfs/objects/batch", api_lfs.batch),
        route("lfs_batch", "POST", "/{ns}/{name}.git/info/lfs/objects/batch", api_lfs.batch),
        route("resolve", "GET HEAD", "/{kind}/{ns}/{name}/resolve/{rev}/{path*}", api_files.resolve_file),
        route("resolve", "GET HEAD", "/{ns}/{name}/resolve/{rev}/{path*}", api_files.resolve_file),
    ]
)
