"""An interpreter for the applications: a virtual environment, so that it cannot be mistaken for the daemon's own.

It sees the packages of the interpreter that runs the tests. Console scripts are written as pip writes them.
"""

from __future__ import annotations

import os
import sysconfig
import venv
from importlib import metadata
from pathlib import Path

_SCRIPT = """\
#!{python}
import sys
from {module} import {function}
sys.exit({function}())
"""


class Interpreter:
    """A virtual environment in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.prefix = str(folder)
        self.python = f"{folder}/bin/python"
        venv.EnvBuilder(symlinks=True).create(folder)
        place = Path(sysconfig.get_path("purelib", "venv", {"base": self.prefix, "platbase": self.prefix}))
        ours = {sysconfig.get_path(kind) for kind in ("purelib", "platlib")}
        lines = [f"import site; site.addsitedir({path!r})" for path in sorted(ours)]  # which reads their .pth files too
        (place / "of_the_tests.pth").write_text("\n".join(lines))

    def script(self, name: str) -> str:
        """Return the path of a console script, `flask` say, that runs in this interpreter."""
        found = metadata.entry_points(group="console_scripts", name=name)
        assert found, f"{name} is not installed: set up with `make test`, or pip install '.[test]'"
        (entry,) = {(one.module, one.attr) for one in found}
        path = f"{self.prefix}/bin/{name}"
        Path(path).write_text(_SCRIPT.format(python=self.python, module=entry[0], function=entry[1]))
        os.chmod(path, 0o755)
        return path


def program(name: str) -> str:
    """Return the path of a program that a package brought, `uwsgi` say: not Python, so the same for all."""
    path = f"{sysconfig.get_path('scripts')}/{name}"
    assert os.access(path, os.X_OK), f"{path} is not there: set up with `make test`, or pip install '.[test]'"
    return path
