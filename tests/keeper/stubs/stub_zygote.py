"""A zygote that runs nothing: it speaks with the daemon, leaves orphans when told to, and ends with its keeper."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import time
from typing import Any

from stub_log import RUNTIME, descriptors, exists, fds, note, orphan, script

from sidecar.zygote.kernel import become_subreaper


def obey(order: dict[str, Any]) -> Any:
    if "exit" in order:
        os._exit(order["exit"])
    if "orphan" in order:
        return orphan()
    return {"pid": os.getpid()}


def on_keeper_gone() -> None:
    note("lifeline", control=exists("control.sock"), spool=exists("spool"))
    act = script("zygote").get("lifeline", "end")
    if act == "linger":  # until the test lets it go, as one that still ends a large tree
        while not os.path.exists(f"{RUNTIME}/continue"):
            time.sleep(0.01)
    if act == "ignore":
        while True:
            signal.pause()
    note("zygote ended")
    os._exit(0)


def main() -> None:
    become_subreaper()
    note(
        "zygote started", environ=dict(os.environ), fds=descriptors(), cwd=os.getcwd(), argv=sys.argv, sid=os.getsid(0)
    )
    if script("zygote").get("start") == "exit":
        os._exit(1)
    names = fds()
    daemon = socket.socket(fileno=names["daemon"])
    while True:
        ready, _, _ = select.select([daemon, names["lifeline"]], [], [])
        if names["lifeline"] in ready:
            on_keeper_gone()
        data = daemon.recv(65536)
        if not data:
            # A killed keeper's descriptors close one after the other: this end of file may be the first of two.
            if select.select([names["lifeline"]], [], [], 0.2)[0]:
                on_keeper_gone()
            note("zygote retired")
            os._exit(0)
        daemon.send(json.dumps(obey(json.loads(data))).encode())
