"""How a process of ours starts: one short program for `python -I -c`, the same for keeper, daemon and zygotes.

Isolated, because neither the environment nor the folder we are started from may decide what we import. Folders named
here come *after* the interpreter's own, so they only fill gaps: a user's interpreter runs the `sidecar` that is
installed in it. It must parse in any Python 3, since it is also what finds out that an interpreter is too old for us.
"""

from __future__ import annotations

BOOT = """\
import os, sys
module, folders = sys.argv[1:3]
sys.argv[:3] = [module]
sys.path += [folder for folder in folders.split("\\n") if folder and folder not in sys.path]
try:
    main = __import__(module, fromlist=["main"]).main
except Exception as error:
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    if "daemon" not in names:
        raise
    reason = "cannot import %s: %s: %s" % (module, type(error).__name__, error)
    os.write(3 + names.index("daemon"), b"\\xc1" + reason.encode("utf-8", "replace")[:4096])
else:
    main()
"""
"""The program. Only a zygote has a socket named daemon: there a failed import becomes one packet, 0xc1 (never valid
msgpack) and the reason, so that a job can say what it waits for. Anybody else's failure is a traceback on stderr.
Every Exception counts, not ImportError alone: an interpreter too old for us fails by SyntaxError or TypeError."""


def command(interpreter: str, module: str, path: list[str]) -> list[str]:
    """Return the argv that runs `module.main()`; more arguments may follow, `main` finds them in sys.argv[1:]."""
    return [interpreter, "-I", "-c", BOOT, module, "\n".join(path)]  # no folder of a Python path holds a newline
