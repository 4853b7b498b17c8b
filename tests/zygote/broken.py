"""Zygotes that break one promise each: the negative controls of test_attempts.py. BROKEN names which."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

from sidecar.zygote import attempt, begin, child, forks, kernel, loop, reaper, template, tree, warm, watched


def no_sweep() -> None:
    """Do not look for what an ended tree left behind."""
    tree.Children.pids = lambda self: []  # type: ignore[method-assign]
    reaper.Reaper.kill_strays = lambda self, pids: False  # type: ignore[method-assign]


def no_subreaper() -> None:
    """Let orphans go to somebody else."""
    kernel.become_subreaper = child.become_subreaper = lambda: None


def no_closing() -> None:
    """Leave the zygote's own descriptors open in the job."""
    child.closerange = lambda low, high: None


def open_through_exec() -> None:
    """Leave them open in a program that the job becomes, too."""

    def let_through(low: int, high: int) -> None:
        for fd in os.listdir("/proc/self/fd"):
            with suppress(OSError):  # the folder's own
                os.set_inheritable(int(fd), True)

    child.closerange = let_through
    no_template()


def no_death_signal() -> None:
    """Do not tie the attempt to its zygote."""
    child.die_with_parent = lambda: None


def no_holding() -> None:
    """Forget an ending once it was told."""
    loop.Zygote.hold = lambda self, key, message: self.channel.send(message)  # type: ignore[method-assign]


def no_last_resort() -> None:
    """Only ever ask a job to end."""
    attempt.ESCALATION[attempt.TERMINATED] = attempt.ESCALATION[attempt.RUNNING]


def no_trimming() -> None:
    """Keep all output."""
    attempt.Tail._trim = lambda self: None  # type: ignore[method-assign]


def no_spares() -> None:
    """Fork each attempt when it is told, none ahead: no promise, a way of the same contract."""
    forks.SPARES = 0
    no_template()


def no_template() -> None:
    """Have no php that holds the application: a way of the same contract, too."""
    loop.Zygote.open_template = lambda self, record: None  # type: ignore[method-assign,assignment,return-value]


def no_patience_with_templates() -> None:
    """Try a template again at once: no promise, less to wait for."""
    template.Template.__init__.__defaults__ = (0.05,)


def no_end_of_spares() -> None:
    """Keep processes that were set up for limits which hold no more."""
    forks.Forks.end_spares = lambda self: None  # type: ignore[method-assign]


def no_life_in_spares() -> None:
    """Have every spare end before it is told anything."""
    child.await_order = lambda: os._exit(1)


def no_mark() -> None:
    """Believe of every spare that its job has begun."""
    attempt.Attempt.begun = lambda self: True  # type: ignore[method-assign]


def no_comparing() -> None:
    """Take whatever a module leaves."""
    warm.Surroundings.compare = lambda self, after: []  # type: ignore[method-assign]


def no_putting_back() -> None:
    """Leave hooks out for good, and the ids of the zygote in its jobs."""

    def in_job() -> None:
        warm._forked = True

    warm._in_job = in_job


def no_reseeding() -> None:
    """Leave out the hook of random as well."""
    warm._NOTHING_TO_MEND += ("random",)  # type: ignore[assignment]


def no_looking() -> None:
    """Run what was loaded, whatever is on the disk."""
    watched.Files.look = lambda self: False  # type: ignore[method-assign]


WAYS: dict[str, Callable[[], None]] = {
    way.__name__: way
    for way in (
        no_sweep,
        no_subreaper,
        no_closing,
        open_through_exec,
        no_death_signal,
        no_holding,
        no_last_resort,
        no_trimming,
        no_spares,
        no_template,
        no_patience_with_templates,
        no_end_of_spares,
        no_mark,
        no_life_in_spares,
        no_comparing,
        no_putting_back,
        no_reseeding,
        no_looking,
    )
}


def main() -> None:
    """Break, then serve."""
    WAYS[os.environ.pop("BROKEN")]()
    begin.serve()
