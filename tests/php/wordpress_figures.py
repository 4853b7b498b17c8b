"""How long a visitor waits who asks WordPress for another password: `python -m tests.php.wordpress_figures`.

A real WordPress under nginx and PHP-FPM, on a real MariaDB, before a mail server that takes 500 ms, or no time; with
the plugin of clients/php/examples/wordpress and without. Medians of alternated posts, in milliseconds; the same
processors run the jobs.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from ..daemon_process import Daemon
from .mariadb import serving_mariadb
from .test_example_wordpress import forgets_password
from .wordpress import Shop, WordPress, install

ROUNDS = 30
_SENDMAIL = "#!/bin/sh\nsleep $(cat {folder}/seconds)\ncat > /dev/null\n"
_WAYS = {
    "with the plugin, the mail server takes 500 ms": (True, 0.5),
    "without it": (False, 0.5),
    "without it, and the mail server takes no time": (False, 0.0),
}


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="sc-", dir="/tmp") as name, serving_mariadb() as server:
        daemon = Daemon(slots=2)
        try:
            site = WordPress(Path(name) / "site", server)
            install(site)
            measure(Shop(site, daemon.start(), Path(name)))
        finally:
            daemon.close()


def measure(shop: Shop) -> None:
    """Print the median of each way."""
    (shop.folder / "sendmail").write_text(_SENDMAIL.format(folder=shop.folder))
    plugin = shop.plugin.read_text()
    took: dict[str, list[float]] = {way: [] for way in _WAYS}
    with shop.served() as web:
        for _ in range(ROUNDS):
            for way, (is_there, seconds) in _WAYS.items():
                shop.plugin.write_text(plugin) if is_there else shop.plugin.unlink(missing_ok=True)
                (shop.folder / "seconds").write_text(str(seconds))
                begun = time.perf_counter()
                assert forgets_password(web) == (302, "")
                took[way].append((time.perf_counter() - begun) * 1000)
    for way, times in took.items():
        cut = statistics.quantiles(times, n=20)
        print(f"{way:46} median {statistics.median(times):6.1f} ms, 5 % {cut[0]:.1f}, 95 % {cut[-1]:.1f}")


if __name__ == "__main__":
    main()
