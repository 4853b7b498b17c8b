"""`python -m sidecar`: the same door as the `sidecar` command."""

from .cli import main

main(prog_name="sidecar")
