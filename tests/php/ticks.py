"""A host without a daemon: `sidecar-php tick` started as cron does it, over each kind of queue, whole or broken.

Jobs are submitted by the PHP client, which finds nobody and spools them. What a job did stands in files of `out`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .mariadb import MariaDb, needs_mariadb
from .runtime import HERE
from .script import CLIENT, PHP, needs_sqlite, said

LONG = 120.0  # seconds; a tick that reaches it does not see that nothing is left
QUEUES = [
    pytest.param("folder", id="folder"),
    pytest.param("sqlite", marks=needs_sqlite, id="sqlite"),
    pytest.param("mariadb", marks=needs_mariadb, id="mariadb"),
]
# A command that writes its name into a file.
RAN = (
    "$ran = fn (string $name, mixed ...$o) => $client->run(["
    "'sh', '-c', 'echo \"$1\" >> \"$0\"', \"{$out}/ran\", $name], ...$o);"
)
# One that must not run beside itself: it holds a lock, and says so when another has it.
ALONE = (
    "$alone = fn (string $name, string $do, mixed ...$o) => $client->run(['sh', '-c',"
    ' \'exec 9>"$0.lock"; flock -n 9 || echo beside >> "$0.beside"; echo begun >> "$0.begun"; \''
    ' . $do . \'; echo ended >> "$0.ended"\', "{$out}/{$name}"], ...$o);'
)
# Ends no processes, neither those of a killed tick nor what a job leaves behind.
LENIENT = ("Leash.php", "        $seen = [];\n", "        return [0, true];\n        $seen = [];\n")
# And has a second attempt begin all the same.
BLIND = ("Leash.php", "return flock($file, LOCK_EX | LOCK_NB) ? $file : null;", "return $file;")
NO_PROCESSES = ("-d", "disable_functions=proc_open,proc_get_status,exec,shell_exec,system,passthru,popen")
NO_LOCK = ("Ground.php", "if (!flock($lock, LOCK_EX | LOCK_NB)) {", "if (false) {")
# A tree that ignores SIGTERM, part of it in sessions of its own, and one without our environment.
TREE = r"""
    $jobs[] = $client->run(['sh', '-c', <<<'SH'
        trap '' TERM
        (while :; do sleep 1; done) &
        echo $! >> "$0/pids"
        setsid sh -c 'echo $$ >> "$0/pids"; while :; do sleep 1; done' "$0" &
        env -i setsid sh -c 'echo $$ >> "$0/pids"; while :; do sleep 1; done' "$0" &
        echo $$ >> "$0/pids"
        while :; do sleep 1; done
    SH, $out], timeout: 0.7, grace: 0.2);
"""
_DIE = "posix_kill(getmypid(), 9);"


class Run:
    """One tick under way."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    def said(self) -> str:
        """Return what it has written to stderr."""
        return self._log.read_text(errors="replace")

    def wait(self, seconds: float = 2 * LONG) -> int:
        """Wait for its end and return the exit status."""
        return self.process.wait(seconds)

    def end(self) -> Run:
        """Wait for its end, which is to be a good one."""
        assert self.wait() == 0, self.said()
        return self

    def report(self) -> str:
        """Return the line that says what was done, without its time."""
        found = re.findall(r"^sidecar-php: tick of [-0-9: +]+, [0-9.]+ s: (.*)$", self.said(), re.MULTILINE)
        assert len(found) == 1, self.said()
        return str(found[0])


class Host:
    """A state folder and a queue. `queue` is what --queue takes."""

    def __init__(self, folder: Path, queue: str, name: str = "state") -> None:
        self.folder = folder
        self.state = folder / name
        self.spool = folder / "state" / "spool"  # hosts of one folder share it
        self.queue = queue
        self.out = folder / "out"
        self.out.mkdir(exist_ok=True)
        self._runs: list[Run] = []

    def begin(self, *options: str, client: Path = CLIENT, flags: tuple[str, ...] = (), **more: object) -> Run:
        """Start a tick; `client` is the code that it runs, `flags` are for php, `more` for the process."""
        assert PHP
        log = self.folder / f"{self.state.name}-{len(self._runs)}.log"
        command = [PHP, *flags, str(client / "bin" / "sidecar-php"), "tick", f"--state={self.state}", f"--for={LONG}"]
        with open(log, "wb") as stderr:
            process = subprocess.Popen(
                [*command, f"--spool={self.spool}", *options],
                stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr, cwd="/", start_new_session=True,
                env={**os.environ, "SIDECAR_TICK_QUEUE": self.queue}, **more,
            )  # type: ignore[call-overload]  # fmt: skip
        self._runs.append(Run(process, log))
        return self._runs[-1]

    def tick(self, *options: str, client: Path = CLIENT, flags: tuple[str, ...] = ()) -> Run:
        """Run one from its start to its end."""
        return self.begin(*options, client=client, flags=flags).end()

    def submit(self, code: str) -> list[str]:
        """Run lines that submit, each as `$jobs[] = $client->…`, and return the ids; `$out` is the folder of files."""
        if not self.spool.exists():
            self.tick()
        given = f"$client = new Client(runtimeDir: {str(self.folder / 'state')!r}, bootstrap: '{HERE}/bootstrap.php');"
        lines = f"{given} $out = '{self.out}'; {code} foreach ($jobs as $job) {{ assert($job->ack === 'spooled'); }}"
        return list(said(f"{lines} say(array_map(fn ($job) => $job->id, $jobs));", {}, ("-d", "zend.assertions=1")))

    def ask(self, *words: str) -> tuple[int, str]:
        """Run another verb; returns the exit status and what it printed."""
        assert PHP
        done = subprocess.run(
            [PHP, str(CLIENT / "bin" / "sidecar-php"), *words, f"--state={self.state}"], capture_output=True, text=True,
            env={**os.environ, "SIDECAR_TICK_QUEUE": self.queue}, timeout=60, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    def status(self, id: str) -> dict[str, str]:
        """Return the sheet of a job by the names of its rows; `output` is what it wrote."""
        status, text = self.ask("status", id)
        assert status == 0, text
        sheet, _, output = text.partition("\n\n")
        return {**{line[:13].strip(): line[15:] for line in sheet.splitlines()}, "output": output}

    def outcome(self, id: str) -> str:
        """Return how a job ended, or where it is."""
        sheet = self.status(id)
        return sheet.get("outcome", sheet["state"])

    def lines(self, name: str) -> list[str]:
        """Return the lines that jobs have appended to a file of `out`."""
        path = self.out / name
        return path.read_text().splitlines() if path.exists() else []

    def log(self) -> str:
        """Return what all ticks said."""
        return "".join(run.said() for run in self._runs)

    def close(self) -> None:
        """Kill the ticks that are left, and what they run."""
        for run in self._runs:
            if run.process.poll() is None:
                run.process.kill()
                run.process.wait()


@contextmanager
def hosting(kind: str, request: pytest.FixtureRequest) -> Iterator[Host]:
    """Give a host with a queue of one of QUEUES."""
    with tempfile.TemporaryDirectory(prefix="sc-", dir="/tmp") as name:
        folder = Path(name)
        queue = {"folder": f"{folder}/queue", "sqlite": f"sqlite:{folder}/queue.sqlite"}.get(kind)
        if queue is None:
            server: MariaDb = request.getfixturevalue("mariadb")
            queue = f"{server.dsn(server.database())};user={server.user}"
        host = Host(folder, queue)
        try:
            yield host
        finally:
            host.close()


def mutated(folder: Path, *changes: tuple[str, str, str]) -> Path:
    """Return a copy of the client with changes to files of src/Tick, each as (file, what is there, what instead)."""
    copy = Path(tempfile.mkdtemp(dir=folder)) / "php"
    shutil.copytree(CLIENT, copy, ignore=shutil.ignore_patterns("examples", "tests"))
    for file, there, instead in changes:
        path = copy / "src" / "Tick" / file
        text = path.read_text()
        assert text.count(there) == 1, f"{file} has {text.count(there)} times {there!r}"
        path.write_text(text.replace(there, instead))
    return copy


def dying_before(folder: Path, file: str, line: str, unless: str = "false") -> Path:
    """Return a copy of the client that is killed when it comes to a line."""
    return mutated(folder, (file, line, f"if (!({unless})) {{ {_DIE} }} {line}"))


def kill_later(run: Run, seconds: float) -> None:
    """SIGKILL a tick after a time, wherever it is then; the time is what a test draws."""
    try:
        run.process.wait(seconds)
    except subprocess.TimeoutExpired:
        run.process.send_signal(signal.SIGKILL)
        run.process.wait()


def results(host: Host, ids: list[str]) -> list[object]:
    """Return what jobs returned."""
    return [json.loads(host.status(id)["result"]) for id in ids]


def attempts(run: str, id: str) -> list[str]:
    """Return what the log says of a job's attempts, without times."""
    found = re.findall(rf"^sidecar-php: job {id} (.*)$", run, re.MULTILINE)
    return [
        re.sub(r", took [0-9.]+ s|again in [0-9.]+ s", lambda m: "" if "took" in m[0] else "again", line)
        for line in found
    ]
