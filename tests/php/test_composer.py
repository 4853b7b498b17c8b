"""An application that Composer installs the client into: found by its autoloader, in the page and in the job."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ..daemon_process import Daemon
from .script import CLIENT, PHP, needs_php

pytestmark = [
    needs_php,
    pytest.mark.skipif(shutil.which("composer") is None, reason="no composer here: installing by it is not tested"),
]

_MAIL = """<?php
namespace Acme;
final class Mail
{
    public static function send(int $id): array
    {
        return [$id, (new \\ReflectionClass(\\Sidecar\\Worker::class))->getFileName(), $_SERVER['argv']];
    }
}
"""
_PAGE = """<?php
require __DIR__ . '/vendor/autoload.php';
use CrowdStar\\BackgroundProcessing\\BackgroundProcessing;

$job = Sidecar\\submit('Acme\\Mail::send', [42]);
BackgroundProcessing::add(function () { echo 'and after'; });
echo json_encode($job->result(30)), "\\n";
BackgroundProcessing::run();
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "Mail.php").write_text(_MAIL)
    (tmp_path / "page.php").write_text(_PAGE)
    here = [{"type": "path", "url": str(path), "options": {"symlink": False}} for path in (CLIENT, CLIENT / "compat")]
    about = {
        "repositories": [*here, {"packagist.org": False}],
        "require": {"sidecar/client": "*@dev", "sidecar/crowdstar-background-processing": "*@dev"},
        "autoload": {"psr-4": {"Acme\\": "src/"}},
    }
    (tmp_path / "composer.json").write_text(json.dumps(about))
    env = {**os.environ, "COMPOSER_HOME": str(tmp_path / "home"), "COMPOSER_ALLOW_SUPERUSER": "1"}
    subprocess.run(
        ["composer", "install", "--no-interaction", "--quiet", "--no-plugins"], cwd=tmp_path, env=env, check=True
    )
    return tmp_path


def test_the_page_and_its_job_use_what_composer_installed(project: Path, daemon: Daemon) -> None:
    done = subprocess.run(
        [str(PHP), "page.php"], cwd=project, env={**os.environ, **daemon.variables}, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    answer, _, after = done.stdout.partition("\n")
    number, worker, argv = json.loads(answer)
    assert (number, worker) == (42, f"{project}/vendor/sidecar/client/src/Worker.php")
    assert argv == [f"{project}/vendor/sidecar/client/bin/sidecar-php-worker"]
    assert after == "and after"


@pytest.mark.parametrize("folder", [CLIENT, CLIENT / "compat"], ids=["client", "crowdstar"])
def test_what_composer_reads_is_valid(folder: Path, tmp_path: Path) -> None:
    env = {**os.environ, "COMPOSER_HOME": str(tmp_path), "COMPOSER_ALLOW_SUPERUSER": "1"}
    done = subprocess.run(
        ["composer", "validate", "--no-interaction", "--no-check-lock", str(folder / "composer.json")],
        env=env, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_comes_to_the_project_s_bin_is_there_and_can_be_run(project: Path) -> None:
    about = json.loads((CLIENT / "composer.json").read_text())
    assert about["bin"]
    for path in about["bin"]:
        assert os.access(project / "vendor" / "bin" / Path(path).name, os.X_OK)


def test_no_class_of_the_client_is_looked_for_on_the_disk(project: Path) -> None:
    listed = "echo json_encode((require 'vendor/autoload.php')->getClassMap());"
    done = subprocess.run([str(PHP), "-r", listed], cwd=project, capture_output=True, text=True, check=True)
    source = CLIENT / "src"
    files = [path.relative_to(source).with_suffix("") for path in source.rglob("*.php") if path.name[0].isupper()]
    assert len(files) > 20
    assert {"Sidecar\\" + str(file).replace("/", "\\") for file in files} <= json.loads(done.stdout).keys()
