"""The zygote: owns an attempt from fork to empty tree. Its process, deadline, output, result and exit status.

It runs in the interpreter of the jobs, single-threaded, in one blocking loop, so that fork is safe. It imports nothing
of a user's before a fork, unless it is a warm one. It knows no job states and no database: it is told `start` and
`stop`, it tells what `exited`, and holds that until it hears `recorded`, so that a daemon may die at any moment and
lose nothing.

    begin.py     from the keeper's descriptors to the loop
    channel.py   messages to and from the daemon, batched
    adopt.py     what it becomes with its runtime
    loop.py      the loop: what to do when something happens
    forks.py     from an order to a process, and processes forked ahead of their orders
    attempt.py   one attempt as its zygote sees it
    outputs.py   what attempts write
    reaper.py    what has ended until it is over: reaped, swept
    tree.py      the end of a process tree
    child.py     from fork to the job's first instruction, and the call itself: the job's side
    php.py       what a PHP job needs before it is PHP, and whether that PHP can be started
    template.py  the php that holds an application, and forks its jobs
    warm.py      a module imported ahead of its jobs, and whether that is safe
    watched.py   the files it came from
    kernel.py    the system calls that Python's standard library does not have
"""

from __future__ import annotations


def main() -> None:
    """Run the zygote until its keeper or its daemon's socket is gone; the fds come by name."""
    from .begin import serve

    serve()
