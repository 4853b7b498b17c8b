"""The same, which accepts again at once when that fails: the negative control."""

from __future__ import annotations

from sidecar.daemon import listener

from . import few_files


def main() -> None:
    listener._PAUSE = 0.0
    few_files.main()
