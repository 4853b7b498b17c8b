"""Hand off one job after the other as a view would, and print what each returned: `hand_off.py FUNCTION COUNT`."""

# mypy: disable-error-code="import-untyped, import-not-found"

from __future__ import annotations

import json
import sys
import time

import django

from sidecar.client import options

django.setup()

from orders import jobs  # noqa: E402

function, count = getattr(jobs, sys.argv[1]), int(sys.argv[2])
job = options(timeout=60)
for _ in range(count):
    begun = [time.monotonic()] if function is jobs.where else []
    print(json.dumps(job.submit(function, *begun).result(timeout=60)), flush=True)
