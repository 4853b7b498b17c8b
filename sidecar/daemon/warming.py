"""Which modules get a warm zygote, one that has imported them already; and why the others have none.

Policy alone: `Zygotes` knows how one is asked for and ended, the zygote itself whether forking from it is safe. Jobs
never wait for any of this: until its module is warm, and whenever it is not, a job runs cold, which is always right.

    unknown --a job tells that its import took long--> cold --asked for again--> warming --> warm
                                                        ^--------- failed, died, evicted -------'

A job tells only an import over 5 ms, so what is cheap to import never comes here. One that gives its job an environment
or a folder of its own gets that before the import: it runs cold. What has failed is tried again, after pauses that
grow: a deploy may have been in progress; a reload forgets them.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from .zygote import Zygote
    from .zygotes import Zygotes

log = logging.getLogger("sidecar")

MOST = 8  # warm zygotes
ASKED = 2  # times, before one is made
SETTLED = 10.0  # seconds without a job until one may go for another: nine busy modules must not chase each other
RESTLESS = 10  # times in a row that its files may change within that time
_KNOWN = 256  # modules remembered
_FIRST_PAUSE, _LONGEST_PAUSE, _GROWTH = 2.0, 600.0, 4
_PATIENCE, _SLOWER = 5.0, 20  # a warm zygote gets so many seconds, and so many times what the import took a job


class Module:
    """One module of one runtime."""

    def __init__(self, key: str, name: str) -> None:
        self.key = key
        self.name = name
        self.took = 0.0  # seconds, of the import in the last job that told
        self.asked = 0
        self.used = 0.0
        self.reason: str | None = None  # why it stays cold
        self.until = 0.0
        self.pause = 0.0
        self.since = 0.0  # when it became warm
        self.edits = 0  # changes of its files in a row, each soon after it became warm


class Warming:
    """What is known of modules whose import takes long."""

    def __init__(self, zygotes: Zygotes, clock: Callable[[], float] = trio.current_time) -> None:
        self._zygotes = zygotes
        self._clock = clock
        self._modules: OrderedDict[tuple[str, str], Module] = OrderedDict()
        self._keys: set[str] = set()

    def _module(self, key: str, name: str) -> Module:
        module = self._modules.get((key, name))
        if module is None:
            module = self._modules[key, name] = Module(key, name)
            self._keys.add(key)
            if len(self._modules) > _KNOWN:
                self._modules.popitem(last=False)
                self._keys = {key for key, _ in self._modules}
        return module

    # -- what jobs ask for ----------------------------------------------------------------------------------------

    def concerns(self, key: str) -> bool:
        """Tell whether anything is known of this runtime's modules."""
        return key in self._keys

    def learn(self, key: str, call: str, took: float) -> None:
        """Note that a job had to import its module, and that it took long (seconds)."""
        module = self._module(key, call.partition(":")[0])
        module.took = took
        self._ask(module)

    def pick(self, cold: Zygote, plan: dict[str, Any]) -> Zygote:
        """Return the zygote for a job: its module's warm one, or `cold`."""
        name = plan["call"].partition(":")[0]
        module = self._modules.get((cold.key, name))
        if module is None or "env" in plan or "cwd" in plan:
            return cold
        warm = self._ask(module)
        return warm if warm is not None and warm.ready else cold

    def _ask(self, module: Module) -> Zygote | None:
        module.asked += 1
        module.used = self._clock()
        self._modules.move_to_end((module.key, module.name))
        warm = self._zygotes.get_warm(module.key, module.name)
        if warm is None and module.asked >= ASKED and module.until <= module.used and self._make_room(module):
            self._zygotes.want_warm(module.key, module.name)
        return warm

    def _make_room(self, wanted: Module) -> bool:
        """Let the least recently used go when there are enough; False when none may."""
        coming = self._zygotes.coming_warm()
        warm = [each for each in self._zygotes.all_warm() if each.ready]
        if (wanted.key, wanted.name) in coming:
            return False
        if len(warm) + len(coming) < MOST:
            return True
        modules = [(self._module(each.runtime, each.module), each) for each in warm]
        oldest, zygote = min(modules, key=lambda pair: pair[0].used, default=(wanted, None))
        if zygote is None or wanted.used - oldest.used < SETTLED:
            return False
        oldest.asked = 0
        self._zygotes.replace(zygote)
        return True

    def patience(self, key: str, name: str) -> float:
        """Return how long a warm zygote may take to come up, seconds."""
        module = self._modules.get((key, name))
        return _PATIENCE + _SLOWER * module.took if module else 60.0

    # -- what became of it ----------------------------------------------------------------------------------------

    def ready(self, zygote: Zygote) -> None:
        """A warm zygote has come up, or was there before this daemon."""
        module = self._module(zygote.runtime, zygote.module)
        module.asked = max(module.asked, ASKED)
        module.reason = None
        module.since = self._clock()

    def changed(self, zygote: Zygote) -> None:
        """Its files have changed on disk: what was wrong with them may be mended. Once for each zygote."""
        if zygote.old:
            return
        module = self._module(zygote.runtime, zygote.module)
        module.edits = module.edits + 1 if self._clock() - module.since < SETTLED else 0
        if module.edits > RESTLESS:  # jobs that write what they import, say
            return self.failed(module.key, module.name, "its files change all the time")
        module.pause = module.until = 0.0

    def failed(self, key: str, name: str, reason: str) -> None:
        """No warm zygote came up, or it died: the module is cold, for a while at least."""
        module = self._module(key, name)
        if module.reason != reason:
            log.warning("module %s stays cold: %s", name, reason)
        module.reason = reason
        module.pause = min(module.pause * _GROWTH, _LONGEST_PAUSE) if module.pause else _FIRST_PAUSE
        module.until = self._clock() + module.pause

    # -- what people ask ------------------------------------------------------------------------------------------

    def why_cold(self, key: str, call: str) -> str | None:
        """Return why this call's module is imported anew by each job; None when it is not, or need not be."""
        module = self._modules.get((key, call.partition(":")[0]))
        return module.reason if module else None

    def view(self) -> list[dict[str, Any]]:
        """Show every module that was asked for often enough, or failed."""
        return [
            {
                "module": module.name,
                "runtime": module.key,
                "state": self._state(module),
                "import": module.took,
                "reason": module.reason,
            }
            for module in self._modules.values()
        ]

    def _state(self, module: Module) -> str:
        warm = self._zygotes.get_warm(module.key, module.name)
        if warm is not None and warm.ready:
            return "warm"
        return "warming" if warm or (module.key, module.name) in self._zygotes.coming_warm() else "cold"
