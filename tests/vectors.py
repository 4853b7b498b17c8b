"""clients/vectors.json for tests: read it, say what bytes mean by our own code, play a vector to a live daemon."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sidecar import descriptor, protocol, wire
from sidecar.config import Limits
from sidecar.errors import BadFrame, BadRequest, SidecarError
from sidecar.job import Job

from .daemon_process import Daemon
from .rawclient import RawClient, Refused, send_datagram
from .waiting import eventually

PATH = Path(__file__).parent.parent / "clients" / "vectors.json"

Vector = dict[str, Any]


def load(sender: str = "client") -> list[Vector]:
    """Return the vectors that a client, or the daemon, sends."""
    vectors: list[Vector] = json.loads(PATH.read_text())["vectors"]
    return [vector for vector in vectors if vector.get("from", "client") == sender]


def name_of(vector: Vector) -> str:
    """Return the name under which pytest shows a vector."""
    return f"{vector['transport']}: {vector['name']}"


def value_of(tagged: Any) -> Any:
    """Turn what JSON can say back into what was meant: bins, texts that are no UTF-8, odd floats."""
    if isinstance(tagged, list):
        return [value_of(item) for item in tagged]
    if not isinstance(tagged, dict):
        return tagged
    if tagged.keys() == {"$bin"}:
        return bytes.fromhex(tagged["$bin"])
    if tagged.keys() == {"$str"}:
        return bytes.fromhex(tagged["$str"]).decode("utf-8", "surrogateescape")
    if tagged.keys() == {"$float"}:
        return float(tagged["$float"])
    return {name: value_of(item) for name, item in tagged.items()}


def messages_of(vector: Vector) -> list[Any]:
    """Decode a vector's bytes with our code. Raises what a daemon would answer."""
    data = bytes.fromhex(vector["hex"])
    if vector["transport"] == "datagram":
        return [wire.unpack(data)]
    framer = wire.Framer(Limits().job)
    frames = framer.feed(data)
    if framer.pending:
        raise BadFrame("cannot read message: the connection ended inside it")
    return [wire.unpack(frame) for frame in frames]


def job_of(vector: Vector, uid: int = 1000, now: float = 0.0) -> Job | None:
    """Take a vector through `protocol` as far as it can judge; None for a verb that carries none."""
    (message,) = messages_of(vector)
    if vector["transport"] == "datagram":
        return descriptor.parse_job(protocol.parse_handoff(message), uid, now)
    _, method, params = protocol.parse_request(message)
    if method == "wait" and len(params) == 2:
        protocol.seconds_or_none(params[1], "timeout")
    return descriptor.parse_job(params[0], uid, now) if method in ("submit", "run") else None


def rejected_of(vector: Vector) -> str | None:
    """Return the id under which a refused datagram can be asked for."""
    try:
        value = protocol.parse_handoff(messages_of(vector)[0])
    except SidecarError:
        return None
    job = descriptor.rejected_job(value, 1000, 0.0, "it is bad")
    return descriptor.show_id(job.id) if job else None


def number_of(vector: Vector) -> int | None:
    """Return the request number that the refusal of a stream vector carries."""
    try:
        return protocol.parse_request(messages_of(vector)[0])[0]
    except protocol.RequestError as error:
        return error.number
    except SidecarError as error:
        assert not isinstance(error, BadRequest)
        return None


def play(vector: Vector, daemon: Daemon) -> None:
    """Send a vector to a live daemon without jobs; fail unless it answers as the vector says and goes on."""
    if vector["transport"] == "datagram":
        _play_datagram(vector, daemon)
    else:
        _play_stream(vector, daemon)


def _play_datagram(vector: Vector, daemon: Daemon) -> None:
    refused = _refused(daemon)
    send_datagram(daemon.handoff, bytes.fromhex(vector["hex"]))
    id = vector["rejected"] if "error" in vector else vector["job"]["id"]
    if id is None:
        eventually(lambda: _refused(daemon) > refused, what="the counter of unreadable hand-offs grew")
        return
    status = daemon.call("status", id)
    assert status["id"] == id
    assert (status["outcome"] == "rejected") == ("error" in vector), status
    assert not ("error" in vector and not status["reason"]), "a rejected job says why"


def _refused(daemon: Daemon) -> int:
    counted: int = daemon.call("stats")["counters"]["unreadable"]
    return counted


def _play_stream(vector: Vector, daemon: Daemon) -> None:
    with daemon.client() as client:
        client.send(bytes.fromhex(vector["hex"]))
        if vector.get("end"):
            client.end()
        if "error" in vector:
            assert _error_of(client, vector["number"]) == vector["error"]
        else:
            _play_good(vector, client)
        if vector.get("closed"):
            assert _is_closed(client), "the connection is still open"
        else:
            assert _is_usable(client)
    assert daemon.call("ping")["protocol"] == protocol.VERSION


def _play_good(vector: Vector, client: RawClient) -> None:
    number = vector["meaning"][1]
    if vector["answer"] != "ok":
        assert _error_of(client, number) == vector["answer"]
        return
    result = client.answer(number)
    if "job" in vector:
        assert result["id"] == vector["job"]["id"]
        wanted = [*vector["meaning"][3], "stored"][1]
        assert result.get("ack", wanted) == wanted  # `run` answers with a status


def _error_of(client: RawClient, number: int | None) -> str:
    try:
        result = client.answer(number)
    except Refused as refused:
        assert refused.message.startswith("cannot "), refused
        return refused.code
    raise AssertionError(f"answered {result!r}")


def _is_closed(client: RawClient) -> bool:
    try:
        return client.sock.recv(1) == b""
    except ConnectionResetError:  # closed with bytes of ours unread
        return True


def _is_usable(client: RawClient) -> bool:
    return bool(client.call("ping")["protocol"] == protocol.VERSION)
