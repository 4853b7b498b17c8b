"""A daemon that does nothing but speak with its keeper, do what daemon.json says, and what a test orders.

Orders come on the control socket, a JSON object a connection; the answer is one, too.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import sys
import time
from typing import Any, NoReturn

from stub_log import RUNTIME, descriptors, exists, fds, note, orphan, script

END = {"leave": 0, "drain": 0, "now": 0}


class Stub:
    def __init__(self) -> None:
        names = fds()
        self.script = script("daemon")
        self.keeper = socket.socket(fileno=names["keeper"])
        self.handoff = socket.socket(fileno=names["handoff"])
        self.control = socket.socket(fileno=names["control"])
        self.lifeline = names["lifeline"]
        self.zygotes: dict[int, socket.socket] = {}
        self.watched: list[int] = []
        self.serving = False

    def tell(self, message: dict[str, Any]) -> None:
        self.keeper.send(json.dumps(message).encode())

    def end(self, status: int) -> NoReturn:
        note("daemon ended", status=status)
        os._exit(status)

    def run(self) -> None:
        beat = self.script.get("beat", 0.2)
        while True:
            sockets = [self.keeper, self.lifeline, *([self.control] if self.serving else [])]
            ready, _, _ = select.select(sockets, [], [], beat)
            if self.serving and beat:
                self.tell({"did": "beat"})
            if self.lifeline in ready:
                self.end(3)
            if self.keeper in ready:
                self.on_keeper()
            if self.control in ready:
                self.on_order()

    def on_keeper(self) -> None:
        data, passed, _, _ = socket.recv_fds(self.keeper, 65536, 4)
        if not data:
            self.end(3)
        message = json.loads(data)
        alive = [pid for pid in self.watched if os.path.exists(f"/proc/{pid}")]
        note("told", message=message, fds=len(passed), alive=alive, **here())
        if passed:
            self.zygotes[message["generation"]] = socket.socket(fileno=passed[0])
        do = message["do"]
        if do == "go":
            self.serving = True
            if self.script.get("after_go") == "crash":
                self.end(70)
            self.tell({"did": "ready"})
        answer = self.script.get(do, END.get(do))
        if answer == "crash":
            self.end(70)
        if isinstance(answer, int):
            self.end(answer)

    def on_order(self) -> None:
        connection, _ = self.control.accept()
        with connection:
            order = json.loads(connection.recv(65536))
            connection.send(json.dumps(self.obey(order)).encode())

    def obey(self, order: dict[str, Any]) -> Any:
        if "tell" in order:
            self.tell(order["tell"])
        if "exit" in order:
            self.end(order["exit"])
        if "watch" in order:
            self.watched = order["watch"]
        if "zygote" in order:
            return self.ask_zygote(order["zygote"], order["say"])
        if "receive" in order:
            return [text for text, _ in self.receive()]
        if "senders" in order:
            return [sender for _, sender in self.receive()]
        if "orphan" in order:
            return orphan()
        return {}

    def ask_zygote(self, generation: int, say: dict[str, Any]) -> Any:
        sock = self.zygotes[generation]
        if say.get("close"):
            sock.close()
            return {}
        sock.send(json.dumps(say).encode())
        return json.loads(sock.recv(65536))

    def receive(self) -> list[tuple[str, int]]:
        """Take every datagram; return text and pid of the sender."""
        found: list[tuple[str, int]] = []
        while True:
            try:
                data, extra, _, _ = self.handoff.recvmsg(65536, socket.CMSG_SPACE(12))
            except BlockingIOError:
                return found
            found.append((data.decode(), struct.unpack("iII", extra[0][2])[0] if extra else 0))


def here() -> dict[str, bool]:
    return {"handoff": exists("handoff.sock"), "control": exists("control.sock"), "spool": exists("spool")}


def takes_descriptors(sock: socket.socket) -> int | None:
    """Return SO_PASSRIGHTS, None where the kernel has none."""
    try:
        return sock.getsockopt(socket.SOL_SOCKET, 83)
    except OSError:
        return None


def main() -> None:
    found = descriptors()
    stub = Stub()
    note(
        "daemon started", environ=dict(os.environ), fds=found, cwd=os.getcwd(), argv=sys.argv, sid=os.getsid(0),
        rights=[takes_descriptors(stub.handoff), takes_descriptors(stub.control)],
    )  # fmt: skip
    load = stub.script.get("load", "ok")
    if load == "exit":
        stub.end(1)
    if load == "hang":
        select.select([stub.lifeline], [], [])
        stub.end(3)
    if load == "wait":  # until the test lets it go on
        while not os.path.exists(f"{RUNTIME}/continue"):
            time.sleep(0.01)
    note("daemon loaded")  # before it is told: what follows from it must not overtake the note
    stub.tell({"did": "loaded"})
    stub.run()
