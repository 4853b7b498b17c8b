"""How long the provider waits for its 200, with the work and without: `python -m tests.php.callback_figures`.

The pages of clients/php/examples/callback under nginx and PHP-FPM, whose job here takes 200 ms: handed off, not done at
all, and done in the page. Medians of alternated callbacks, in milliseconds.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from ..daemon_process import Daemon
from .test_example_callback import HAND_OFF, SECRET, WORK_HERE, Shop, changed, copied, payment
from .web import serving

ROUNDS = 150


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="sc-") as name:
        pages = copied(Path(name) / "pages")
        changed(pages / "Payment.php", "$shop->exec('COMMIT');", "$shop->exec('COMMIT'); usleep(200_000);")
        for page, instead in (("without", ""), ("inside", WORK_HERE)):
            (pages / f"{page}.php").write_text((pages / "callback.php").read_text())
            changed(pages / f"{page}.php", HAND_OFF, instead)
        daemon = Daemon(slots=2)
        try:
            daemon.start()
            env = {**daemon.variables, "SHOP_DATABASE": f"sqlite:{name}/shop.sqlite", "SHOP_SECRET": SECRET}
            with serving("fpm", env, pages) as web:
                measure(Shop(web, Path(name) / "shop.sqlite"))
        finally:
            daemon.close()


def measure(shop: Shop) -> None:
    """Print the median of each page."""
    took: dict[str, list[float]] = {"callback": [], "without": [], "inside": []}
    for round in range(ROUNDS):
        for page, times in took.items():
            if page == "inside" and round % 10:
                continue  # a tenth of them is enough of 200 ms each
            begun = time.perf_counter()
            assert shop.call_back(payment(f"{page}-{round}"), page=page) == (200, "ok\n")
            times.append((time.perf_counter() - begun) * 1000)
    for page, times in took.items():
        cut = statistics.quantiles(times, n=20)
        print(
            f"{page:8} n={len(times):3} median {statistics.median(times):7.2f} ms, 5 % {cut[0]:.2f}, 95 % {cut[-1]:.2f}"
        )


if __name__ == "__main__":
    main()
