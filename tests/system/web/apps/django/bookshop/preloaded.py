"""What is done once, in the process that forks the workers."""

# mypy: disable-error-code="import-untyped, import-not-found"

from __future__ import annotations

from multiprocessing import Barrier

from orders.jobs import database

from sidecar.client import submit

MEETING = Barrier(2)  # of both workers; made by each for itself, it would never open
FIRST = submit(database).id  # opens the client's socket
