"""The keeper: the small process that is started. Holds the sockets, keeps daemon and zygotes alive, ends them in order.

It refuses to know what a job is: no client's byte is read here, nothing is stored, so there is nothing to crash on. It
is kept small because everything else can be replaced while it runs, only it can not. Standard library only, and little
of that.

    ground.py     folders, locks, the instance's name        strays.py    what a killed keeper's jobs left running
    sockets.py    the two sockets, bound or given            settings.py  what the command line said
    loop.py       what happens, and what follows from it
    daemon.py     one daemon as seen from here               daemons.py   who serves, who follows
    zygotes.py    the zygotes, and the end of their orphans  spawn.py     how a process is started
    link.py       packets between keeper and daemon          restarts.py  when to start again what died
    notify.py     stderr, stdout, the service manager        rescue.py    hand-offs that no daemon took in
    tick.py       an end of its own, and what was done
"""

from __future__ import annotations

import os
import sys

from ..errors import SidecarError
from ..zygote.kernel import become_subreaper
from . import ground, sockets, spawn, strays
from .loop import Keeper
from .notify import Notifier, say
from .settings import Settings


def main() -> None:
    """Serve until told to stop; the settings are the one argument, as JSON. Exits 1 when nobody can serve here.

    A tick that finds another one, or a `serve`, has nothing to do: it exits 0.
    """
    settings = Settings(sys.argv[1])
    try:
        keeper = prepare(settings, dict(os.environ))
    except ground.Served as error:
        say(str(error) if settings.tick is None else f"tick: nothing to do, {error.who} serves {settings.state_dir}")
        sys.exit(int(settings.tick is None))
    except SidecarError as error:
        say(str(error))
        sys.exit(1)
    except OSError as error:
        say(f"cannot serve: {error}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(keeper.run())


def prepare(settings: Settings, environ: dict[str, str]) -> Keeper:
    """Take what only one may have, and end what an earlier life has left. The locks are freed by the process's end."""
    spawn.keep_to_ourselves()
    os.umask(0o077)
    os.chdir("/")
    ground.state_folder(settings.state_dir)
    ground.keeper_lock(settings.state_dir, "serve" if settings.tick is None else "tick")
    ground.runtime_folder(settings.runtime_dir)
    lock = ground.runtime_lock(settings.runtime_dir)
    instance = ground.instance(settings.state_dir)
    life = ground.life_lock(settings.state_dir)
    if not ground.is_ours(life, ground.ORDERLY):
        strays.end(instance, ground.REMAINS)  # who hangs does not hear that its keeper is gone
        ground.insist(life, settings.state_dir)
    left = strays.end(instance, ground.REMAINS)
    if left:
        say(f"{left} processes of an earlier life do not end; going on without them")
    become_subreaper()
    inherited = spawn.environment(environ) | {
        "SIDECAR_INSTANCE": instance,
        "SIDECAR_RUNTIME_DIR": settings.runtime_dir,
    }
    pair = sockets.Sockets(settings.runtime_dir, sockets.given(environ, os.getpid()))
    return Keeper(settings, inherited, pair, lock, life, Notifier(environ))
