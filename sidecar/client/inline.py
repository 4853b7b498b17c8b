"""`on_unavailable="inline"`: run the job here and now, because nobody else would.

It runs what was packed, so that a job sees the same arguments here and there (a tuple arrives as a list), and its end
is told in the same words. Without what only a daemon gives: no deadline for a call, no process of its own, no retry.
Imported when it is needed.
"""

from __future__ import annotations

import os
from time import time
from typing import Any

import msgpack

from .ids import show


class Ended:
    """How a job ended that was run here: the answers that the daemon would give."""

    def __init__(self, id: bytes, fields: dict[str, Any], started: float) -> None:
        self.id = id
        self.fields = fields
        self.started = started
        self.finished = time()
        self.document: bytes | None = None
        self.result_error: str | None = None
        self.error: dict[str, str] | None = None
        self.exit_status: int | None = 0
        self.signal: int | None = None
        self.output = b""

    def answer(self, method: str) -> dict[str, Any]:
        """Return what the daemon would reply to `status`, `wait`, `cancel`, `result` or `logs`."""
        head = {"id": show(self.id), "state": "done", "outcome": "failed" if self.error else "succeeded"}
        if method == "logs":
            return {**head, "output": self.output, "dropped": 0}
        head |= {"error": self.error, "result_error": self.result_error}  # type: ignore[dict-item]
        if method == "result":
            return {**head, "result": self.document, "status": self.exit_status, "signal": self.signal}
        fields = self.fields
        target = fields.get("call") or " ".join(map(str, fields.get("argv", ())))
        return {
            **head, "queue": fields.get("queue", "default"), "priority": fields.get("priority", 0), "target": target,
            "submitted": self.started, "due": self.started, "expires": None, "started": self.started,
            "finished": self.finished, "attempts": [], "failures": int(bool(self.error)), "interruptions": 0,
            "cancel_wanted": False, "waiting": None, "reason": "run in the submitting process",
        }  # fmt: skip


def run(id: bytes, job: bytes) -> Ended:
    """Run a packed job in this process and return how it ended. What the function raises is kept, not raised."""
    fields = _unpack(job)
    ended = Ended(id, fields, time())
    if "argv" in fields:
        _run_command(fields, ended)
    else:
        _run_call(fields, ended)
    ended.finished = time()
    return ended


def _unpack(document: bytes) -> Any:
    return msgpack.unpackb(document, unicode_errors="surrogateescape", strict_map_key=False)


def _run_call(fields: dict[str, Any], ended: Ended) -> None:
    try:
        function = _found(fields["call"])
        value = function(*_unpack(fields.get("args", b"\x90")), **_unpack(fields.get("kwargs", b"\x80")))
        if hasattr(value, "__await__"):
            value = _awaited(value)
    except Exception as error:  # as in a process of its own: the submitter is not what failed
        import traceback

        ended.exit_status = 1
        kind = type(error)
        name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        ended.error = _error(name, str(error), traceback.format_exc())
        return
    try:
        ended.document = msgpack.packb(value, unicode_errors="surrogateescape")
    except (TypeError, ValueError, OverflowError) as error:
        ended.result_error = f"cannot pack the result: {error}"


def _found(call: str) -> Any:
    from importlib import import_module

    module, _, name = call.partition(":")
    found: Any = import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def _awaited(value: Any) -> Any:
    """Run a coroutine in a loop of its own; in a thread where this one already runs a loop."""
    import asyncio

    async def run_it() -> Any:
        return await value

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(run_it())
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, run_it()).result()


def _run_command(fields: dict[str, Any], ended: Ended) -> None:
    import subprocess

    try:
        done = subprocess.run(
            fields["argv"], input=fields.get("stdin", b""), cwd=fields.get("cwd"), timeout=fields.get("timeout", 600.0),
            env={**os.environ, **fields.get("env", {})}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        ended.exit_status = None
        ended.error = _error(type(error).__name__, str(error), "")
        return
    ended.output = done.stdout
    ended.exit_status = done.returncode if done.returncode >= 0 else None
    ended.signal = -done.returncode if done.returncode < 0 else None
    if done.returncode:
        kind = "ExitStatus" if done.returncode > 0 else "Signal"
        ended.error = _error(kind, str(abs(done.returncode)), "")


def _error(type: str, message: str, traceback: str) -> dict[str, str]:
    return {"type": type, "message": message, "traceback": traceback}
