"""What a hand-off costs a whole page: requests per second of nginx and PHP-FPM, beside other ways to be rid of work.

The load is wrk's, over as many kept connections as the pool has workers, on the same processors as everything else. A
round is a second of each page, in an order that is drawn anew, and the figures are medians. The pool runs with php.ini
and the extensions that Debian enables, so with opcache.

"Nobody consuming": our daemon stores each job, whose instant is years ahead, redis-server and gearmand keep theirs in
memory, and no worker asks for them. phpredis goes by a Unix socket, which is faster for it than the usual TCP; gearman
has TCP alone, and no connection that outlives a request.

What a worker of the pool works for a page, by the kernel's count, hangs less on what else the machine does; what
nginx, the daemon and redis-server do for it beside is not in it.

"50 ms of work": `usleep(50_000)`. By `fastcgi_finish_request` it is done in the worker of the pool, whose size is what
that rate hangs on. Ours are real jobs, which the daemon runs meanwhile, as many at once as it has slots; what the page
does not wait for waits in the queue.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from ..daemon_process import Daemon
from ..php.web import FPM, NGINX, Web, fpm, free_port
from ..waiting import eventually
from .php import CLIENT, has, redis_server
from .table import Row, percentile

_WORKERS, _SLOTS = 8, 4
_ROUNDS, _SECONDS = 7, 1
_DATA = "str_repeat('x', 190)"  # as much as a hand-off of ours is
_CACHED = 10.0  # seconds: opcache leaves files that are younger than two alone

_NOOP = "<?php echo 'ok';"
_OURS = "<?php require '{client}'; (new Sidecar\\Client(run_at: 4e9))->submit('Acme\\Mail::send', [42]); echo 'ok';"
_REDIS = "<?php $redis = new Redis(); $redis->pconnect('{redis}'); $redis->lPush('queue', {data}); echo 'ok';"
_GEARMAN = (
    "<?php $gearman = new GearmanClient(); $gearman->addServer('127.0.0.1', {gearman});"
    " $gearman->doBackground('send', {data}); echo 'ok';"
)
_PARENT = "<?php echo explode(' ', file_get_contents('/proc/self/stat'))[3];"
_FINISHED = "<?php echo 'ok'; fastcgi_finish_request(); usleep(50_000);"
_QUEUED = "<?php require '{client}'; (new Sidecar\\Client())->submit('usleep', [50_000]); echo 'ok';"
_MEMORY = """<?php
$before = memory_get_peak_usage();
require '{client}';
(new Sidecar\\Client(run_at: 4e9))->submit('Acme\\Mail::send', [42]);
echo memory_get_peak_usage() - $before;
"""


def rows() -> list[Row]:
    """Measure pages that hand off, each beside another page of the same rounds."""
    needed = {"nginx": NGINX, "php-fpm": FPM, "wrk": shutil.which("wrk")}
    missing = [name for name, there in needed.items() if not there]
    if missing:
        nothing = f"no {' and no '.join(missing)} here"
        return [Row("a page that hands off, nobody consuming", "pages/s", float("nan"), None, nothing, None, "≥ 0.55")]
    return [*_nobody_consuming(), *_with_work()]


def _nobody_consuming() -> list[Row]:
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="sc-", dir="/tmp"))
        pages, names = {"noop": _NOOP, "ours": _OURS}, {"noop": "the no-op page"}
        values = {"client": str(CLIENT), "data": _DATA}
        if server := redis_server(folder):
            stack.callback(_end, server)
            pages["redis"], names["redis"] = _REDIS, "phpredis lPush, pconnect"
            values["redis"] = f"{folder}/redis.sock"
        if shutil.which("gearmand") and has("GearmanClient"):
            values["gearman"] = str(stack.enter_context(_gearmand(folder)))
            pages["gearman"], names["gearman"] = _GEARMAN, "gearman doBackground"
        with _site({**pages, "memory": _MEMORY}, values) as site:
            memory = max(int(site.web.get("memory")) for _ in range(20))  # the first ones fill opcache
            rates = site.rates(list(pages), "ours")
    ours, noop = rates["ours"], rates["noop"]
    found = []
    for name, goal in {"noop": "≥ 0.55", "redis": "≥ 1", "gearman": ""}.items():
        peer = names.get(name, f"no {name} or no PHP extension for it here")
        theirs = rates[name].rate if name in names else None
        found.append(Row("a page that hands off, nobody consuming", "pages/s", ours.rate, None, peer, theirs, goal))
    return [
        *found,
        Row("what a worker of the pool works for it", "µs", ours.worked, None, "for the no-op page", noop.worked, ""),
        Row("peak memory of that page, the most of 20", "KiB", memory / 1024, None, "", None, "< 300"),
    ]


def _with_work() -> list[Row]:
    with _site({"finished": _FINISHED, "queued": _QUEUED}, {"client": str(CLIENT)}) as site:
        rates = site.rates(["finished", "queued"], "queued")
        ended = site.daemon.call("stats")["counters"]["ended"]
    queued, finished = rates["queued"], rates["finished"]
    return [
        Row(
            "a page with 50 ms of work behind it, handed off", "pages/s", queued.rate, None,
            f"fastcgi_finish_request, {_WORKERS} workers", finished.rate, f"≥ 100 ({ended:,} jobs had run by then)",
        )
    ]  # fmt: skip


class Measured(NamedTuple):
    """Of one page."""

    rate: float  # requests per second, the median
    worked: float  # µs of a worker's time for one, the median


class Site:
    """Pages, the pool that runs them, and the daemon that they hand off to."""

    def __init__(self, daemon: Daemon, web: Web, port: int) -> None:
        self.daemon = daemon
        self.web = web
        self._url = f"http://127.0.0.1:{port}"
        self._pool = web.get("parent")

    def rates(self, pages: list[str], ours: str) -> dict[str, Measured]:
        """Measure pages in turns; fail when `ours` said "ok" of a job that is nowhere: such a rate is worth nothing."""
        found: dict[str, list[Measured]] = {page: [] for page in pages}
        for page in pages:
            assert self.web.get(page) == "ok", self.web.log()
        answered = 0
        for _ in range(_ROUNDS):
            for page in random.sample(pages, len(pages)):
                before = self._worked()
                count, rate = self._load(page)
                found[page].append(Measured(rate, (self._worked() - before) / count))
                answered += count if page == ours else 0
        eventually(lambda: self._taken() >= answered, 60)
        return {
            page: Measured(*(percentile(list(column), 0.5) for column in zip(*several, strict=True)))
            for page, several in found.items()
        }

    def _load(self, page: str) -> tuple[int, float]:
        command = ["wrk", "-t1", f"-c{_WORKERS}", f"-d{_SECONDS}", f"{self._url}/{page}.php"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert "Non-2xx" not in said and "Socket errors" not in said, said
        count, rate = re.search(r"(\d+) requests in", said), re.search(r"Requests/sec:\s+([\d.]+)", said)
        assert count and rate, said
        return int(count[1]), float(rate[1])

    def _worked(self) -> float:
        """Return how many µs the workers have been on a processor."""
        nanoseconds = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):  # it ended meanwhile
                if stat.read_text().rpartition(")")[2].split()[1] == self._pool:
                    nanoseconds += int(stat.with_name("schedstat").read_text().split()[0])
        return nanoseconds / 1000

    def _taken(self) -> int:
        counters = self.daemon.call("stats")["counters"]
        return int(counters["datagrams"] + counters["stream"] + counters["spool"])


@contextmanager
def _site(pages: dict[str, str], values: dict[str, str]) -> Iterator[Site]:
    port = free_port()
    daemon = Daemon(slots=_SLOTS)
    try:
        daemon.start()
        with fpm(daemon.variables, workers=_WORKERS, plain=False, port=port) as web:
            for name, code in {**pages, "parent": _PARENT}.items():
                for key, value in values.items():
                    code = code.replace(f"{{{key}}}", value)
                web.page(name, code, whole=True)
                os.utime(web.folder / "pages" / f"{name}.php", (time.time() - _CACHED,) * 2)
            yield Site(daemon, web, port)
    finally:
        daemon.close()


@contextmanager
def _gearmand(folder: str) -> Iterator[int]:
    port = free_port()
    words = ["--listen", "127.0.0.1", "--port", str(port), "--log-file", f"{folder}/gearmand.log"]
    server = subprocess.Popen(["gearmand", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: _listens(port))
        yield port
    finally:
        _end(server)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _end(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    server.wait(10)
