"""clients/vectors.json read by `sidecar-php tick`: it takes, rejects and puts aside what the daemon does."""

from __future__ import annotations

import json
from typing import Any

from sidecar import descriptor, protocol, wire
from sidecar.errors import BadFrame, BadRequest, SidecarError

from ..vectors import load, messages_of
from .script import needs_php, said

pytestmark = needs_php

NOW = 1e6
MOST = 50_000  # bytes of a vector that goes by way of a script's source
# The PHP decoder has one type for text and bytes, and one for maps with keys of either kind: it does not see the wrong.
UNSEEN = {
    "a map with the same key twice",
    "a map key that is a number",
    "a map key that is a bin",
    "33 levels",
    "a call as bin",
}
_CODE = """
$verdicts = [];
foreach (json_decode('%s') as $hex) {
    try {
        $job = Sidecar\\Tick\\Descriptor::parse(hex2bin($hex), 1e6);
        $verdicts[] = $job->outcome ?? [$job->queue, $job->priority, $job->due, $job->expires];
    } catch (ProtocolViolation) {
        $verdicts[] = 'unreadable';
    }
}
say($verdicts);
"""


def hand_offs() -> list[tuple[str, bytes]]:
    """Return the name and the bytes of each job that the vectors have, those of the stream as datagrams too."""
    found = []
    for vector in load():
        data = bytes.fromhex(vector["hex"])
        if vector["transport"] == "datagram":
            found.append((vector["name"], data))
            continue
        try:
            messages = messages_of(vector)
        except SidecarError:
            continue
        for message in messages:
            if type(message) is list and len(message) == 4 and message[2] in ("submit", "run") and message[3]:
                found.append((vector["name"], wire.pack([2, "submit", [message[3][0]]])))
    return [(name, data) for name, data in found if len(data) < MOST]


def verdict(data: bytes) -> Any:
    """Say what the daemon makes of a hand-off."""
    value: object = None
    try:
        value = protocol.parse_handoff(wire.unpack(data))
        job = descriptor.parse_job(value, 0, NOW)
    except (BadFrame, BadRequest) as error:
        return "unreadable" if descriptor.rejected_job(value, 0, NOW, str(error)) is None else "rejected"
    return [job.queue, job.priority, job.due, job.expires]


def test_a_tick_judges_hand_offs_as_the_daemon_does() -> None:
    given = hand_offs()
    assert len(given) > 100
    theirs = said(_CODE % json.dumps([data.hex() for _, data in given]), {})
    other = {name for (name, data), judged in zip(given, theirs, strict=True) if judged != verdict(data)}
    assert other == UNSEEN
