"""Where clients look and where `serve` binds, so that they meet."""

from __future__ import annotations

import pytest

from sidecar.places import runtime_dir, runtime_dirs, state_dir


@pytest.mark.parametrize(
    ("environ", "uid", "folders"),
    [
        ({}, 1000, ["/run/user/1000/sidecar", "/tmp/sidecar-1000", "/run/sidecar"]),
        (
            {"XDG_RUNTIME_DIR": "/x"},
            1000,
            ["/x/sidecar", "/run/user/1000/sidecar", "/tmp/sidecar-1000", "/run/sidecar"],
        ),
        (
            {"XDG_RUNTIME_DIR": "/run/user/1000"},  # the usual one is named once
            1000,
            ["/run/user/1000/sidecar", "/tmp/sidecar-1000", "/run/sidecar"],
        ),
        ({}, 0, ["/run/sidecar", "/run/user/0/sidecar", "/tmp/sidecar-0"]),
        ({"SIDECAR_RUNTIME_DIR": "/r"}, 1000, ["/r"]),
        ({"SIDECAR_RUNTIME_DIR": "/r", "XDG_RUNTIME_DIR": "/x"}, 0, ["/r"]),
        ({"SIDECAR_RUNTIME_DIR": ""}, 0, ["/run/sidecar", "/run/user/0/sidecar", "/tmp/sidecar-0"]),
    ],
)
def test_a_client_looks_in_its_own_folders_first(environ: dict[str, str], uid: int, folders: list[str]) -> None:
    assert runtime_dirs(environ, uid) == folders


@pytest.mark.parametrize(
    ("environ", "uid", "session", "folder"),
    [
        ({}, 0, True, "/run/sidecar"),
        ({"XDG_RUNTIME_DIR": "/x"}, 0, True, "/run/sidecar"),
        ({"XDG_RUNTIME_DIR": "/x"}, 1000, False, "/x/sidecar"),
        ({}, 1000, True, "/run/user/1000/sidecar"),
        ({}, 1000, False, "/tmp/sidecar-1000"),
        ({"SIDECAR_RUNTIME_DIR": "/r", "XDG_RUNTIME_DIR": "/x"}, 1000, True, "/r"),
    ],
)
def test_serve_binds_in_one_folder(environ: dict[str, str], uid: int, session: bool, folder: str) -> None:
    assert runtime_dir(environ, uid, session) == folder


@pytest.mark.parametrize("environ", [{}, {"XDG_RUNTIME_DIR": "/x"}, {"SIDECAR_RUNTIME_DIR": "/r"}])
@pytest.mark.parametrize("uid", [0, 33, 1000])
@pytest.mark.parametrize("session", [True, False])
def test_wherever_serve_binds_a_client_of_the_same_user_looks(environ: dict[str, str], uid: int, session: bool) -> None:
    assert runtime_dir(environ, uid, session) in runtime_dirs(environ, uid)


def test_a_client_without_the_users_session_finds_a_daemon_that_has_it() -> None:
    """A cron job has no XDG_RUNTIME_DIR."""
    assert runtime_dir({"XDG_RUNTIME_DIR": "/run/user/1000"}, 1000, True) in runtime_dirs({}, 1000)


@pytest.mark.parametrize(
    ("environ", "uid", "folder"),
    [
        ({}, 0, "/var/lib/sidecar"),
        ({"XDG_STATE_HOME": "/s", "HOME": "/root"}, 0, "/var/lib/sidecar"),
        ({"HOME": "/home/a"}, 1000, "/home/a/.local/state/sidecar"),
        ({"HOME": "/home/a", "XDG_STATE_HOME": "/s"}, 1000, "/s/sidecar"),
        ({"SIDECAR_STATE_DIR": "/here", "XDG_STATE_HOME": "/s"}, 1000, "/here"),
        ({"SIDECAR_STATE_DIR": "/here"}, 0, "/here"),
    ],
)
def test_the_state_folder(environ: dict[str, str], uid: int, folder: str) -> None:
    assert state_dir(environ, uid) == folder
