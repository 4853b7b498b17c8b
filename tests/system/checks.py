"""What the system tests look at: processes by the kernel, files that jobs wrote."""

from __future__ import annotations

from pathlib import Path


def alive(pid: int) -> bool:
    """Return whether a process is there and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def write_whole(path: Path, text: str) -> None:
    """Write a file as editors and deploys do: whoever reads it finds the old text or the new, never half of one."""
    draft = path.with_name(path.name + ".draft")
    draft.write_text(text)
    draft.replace(path)


def lines(path: Path) -> list[str]:
    """Return the lines that jobs left."""
    return path.read_text().splitlines() if path.exists() else []


def children(pid: int) -> list[int]:
    """Return the unreaped children of a process."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
