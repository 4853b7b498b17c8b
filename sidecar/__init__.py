"""sidecar: hand off work in microseconds, answer at once; a daemon on the same machine runs it.

The map. A job passes through the rooms as data does; imports go only downwards in this list, and a test holds that.

    cli/        the door for people (click)
    daemon/     trio: takes jobs in, decides, records; never forks
    keeper/     started first, holds the sockets, keeps the others alive; stdlib only
    zygote/     forks attempts, ends them on time, reaps them; stdlib + msgpack
    client/     the door for programs: what a web application imports; stdlib + msgpack
    store/      the memory: the only place with sqlite3, its shape in schema.sql      rows      what it gives
    protocol    words: verbs, messages, answers         config      settings
    tasks       jobs that the settings name             descriptor  what a job may say
    wire        bytes <-> values
    policy      what follows from a job's options       job     states, outcomes, the table of steps
    disk        what of it is asked of the kernel       places  where sockets are               boot      our own start
    errors      everything that can go wrong            crashpoints  where tests have us die
"""

__version__ = "0.1.0"
