"""`serve`: resolve what was typed, check the configuration, and become the keeper.

The keeper is exec'd, not called: it lives as long as the machine is up, and must not carry what the command line has
imported. Everything it gets is resolved here, since it starts with `-I` and looks at no environment of Python's.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

import click

from .exits import Refusal

_FOLDER = click.Path(file_okay=False)
_OPTIONS = (
    click.option(
        "--runtime-dir",
        type=_FOLDER,
        envvar="SIDECAR_RUNTIME_DIR",
        show_envvar=True,
        show_default="/run/sidecar for root, else $XDG_RUNTIME_DIR/sidecar",
        help="Folder for the two sockets; programs look there.",
    ),
    click.option(
        "--state-dir",
        type=_FOLDER,
        envvar="SIDECAR_STATE_DIR",
        show_envvar=True,
        show_default="/var/lib/sidecar for root, else ~/.local/state/sidecar",
        help="Folder for the jobs, which outlive a restart.",
    ),
    click.option(
        "--config",
        type=click.Path(dir_okay=False),
        envvar="SIDECAR_CONFIG",
        show_envvar=True,
        help="Configuration file (TOML); none is needed.",
    ),
    click.option(
        "--slots",
        type=click.IntRange(min=1),
        metavar="N",
        envvar="SIDECAR_SLOTS",
        show_envvar=True,
        show_default="number of processors, at least 4",
        help="How many jobs may run at once.",
    ),
)


def keeper_options(verb: Callable[..., None]) -> Callable[..., None]:
    """Give a verb the options of every keeper: runtime_dir, state_dir, config and slots."""
    for option in reversed(_OPTIONS):
        verb = option(verb)
    return verb


@click.command()
@keeper_options
def serve(**given: Any) -> None:
    """Start sidecar, in the foreground, until Ctrl-C or SIGTERM.

    It prints one line when it is ready. A second one on the same state folder says so and ends.
    """
    become_keeper(**given)


def become_keeper(
    runtime_dir: str | None, state_dir: str | None, config: str | None, slots: int | None, **more: Any
) -> None:
    """Check the configuration and exec the keeper; `more` are further settings of its. Raises BadConfig, Refusal."""
    from ..config import load

    config = os.path.abspath(config) if config else None
    load(config, slots)
    settings: dict[str, Any] = {
        **_folders(runtime_dir, state_dir),
        "config": config,
        "slots": slots,
        "path": own_path(),
        **more,
    }
    _exec_keeper(settings)


def _folders(runtime_dir: str | None, state_dir: str | None) -> dict[str, str]:
    from .. import places

    uid = os.geteuid()
    runtime = runtime_dir or places.runtime_dir(os.environ, uid, os.path.isdir(f"/run/user/{uid}"))
    state = state_dir or places.state_dir(os.environ, uid)
    return {"runtime_dir": os.path.abspath(runtime), "state_dir": os.path.abspath(state)}


def own_path() -> list[str]:
    """Return the entries of `sys.path` that exist, absolute.

    Not the working folder that `python -m` puts in front, unless we are in it or PYTHONPATH names it too: whoever can
    write where the administrator happens to stand must not get a say in what the daemon imports.
    """
    ours = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    named = {os.path.abspath(entry) for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry}
    here = {os.getcwd()} - {ours} - named
    entries = dict.fromkeys(os.path.abspath(entry) for entry in sys.path)
    return [entry for entry in entries if entry not in here and os.path.exists(entry)]


def _exec_keeper(settings: dict[str, Any]) -> None:
    from ..boot import command

    argv = [*command(sys.executable, "sidecar.keeper", settings["path"]), json.dumps(settings)]
    sys.stdout.flush()
    try:
        os.execv(argv[0], argv)
    except OSError as error:
        raise Refusal(f"cannot start {argv[0]!r}: {error.strerror}") from None
