"""A FastAPI application that awaits what jobs return."""

# mypy: disable-error-code="import-untyped, import-not-found"

from __future__ import annotations

from fastapi import FastAPI
from sums import double, double_when

from sidecar.client import aio

app = FastAPI()


@app.post("/double/{number}")
async def doubled(number: int) -> dict[str, int]:
    """Answer with what the job returned."""
    handle = await aio.submit(double, number)
    return {"value": await handle.result(timeout=20)}


@app.post("/slowly/{number}")
async def doubled_slowly(number: int, started: str, go: str) -> dict[str, int]:
    """Answer when somebody let the job go on."""
    handle = await aio.options(ack="stored").submit(double_when, number, started, go)
    return {"value": await handle.result(timeout=20)}


@app.post("/wrong")
async def wrong() -> dict[str, str | None]:
    """Answer with the error of a job."""
    handle = await aio.submit(double, None)
    error = await handle.exception(timeout=20)
    return {"type": error.type if error else None}
