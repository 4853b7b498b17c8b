"""A daemon that may open 60 files and does not reckon with it: accepting fails, as when the system has no more."""

from __future__ import annotations

import resource

from sidecar import daemon
from sidecar.daemon import listener


def main() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60))
    listener._within_descriptors = lambda most: 10**6
    daemon.main()
