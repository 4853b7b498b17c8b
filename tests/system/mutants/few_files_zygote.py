"""A zygote that may open 40 files: enough for a few attempts, not for as many as there are slots."""

from __future__ import annotations

import resource

from sidecar import zygote


def main() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
    zygote.main()
