"""Options bound to a daemon: what `submit` and `options(...)` are, and the way every job takes out of this process.

The hot path is `Options.submit`: with a plan at hand it packs the arguments, joins five pieces and makes one system
call; everything unusual about a job or about the daemon leaves it for `prepare(...).send()`.
"""

from __future__ import annotations

from _socket import MSG_NOSIGNAL
from time import time

from . import ids, runtime, terms
from .door import Door
from .handle import Handle, Prepared
from .handoff import Handoff
from .pack import args_document
from .plan import ARGS, Parcel, Plan, args_field
from .target import Named

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, NoReturn, Unpack

    Target = Callable[..., Any] | str | Sequence[Any] | Named

_PLANS = 1024  # more targets than that are made up on the way: start over


class Options:
    """A set of options; immutable, made by `options(...)`, good for any number of jobs and threads."""

    __slots__ = ("_checked", "_door", "_handoff", "_plans")
    _checked: dict[str, Any]
    _door: Door
    _handoff: Handoff
    _plans: dict[Any, Plan]

    def __init__(self, door: Door, given: Mapping[str, Any]) -> None:
        put = object.__setattr__
        put(self, "_checked", terms.check(given))
        put(self, "_door", door)
        put(self, "_handoff", door.handoff)
        put(self, "_plans", {})

    def submit(self, fn: Target, /, *args: Any, **kwargs: Any) -> Handle:
        """Hand a job over and return its handle at once. `fn` is a function, "package.module:function", a list
        (a command with its words), or `named(...)`. All other arguments are the function's.

        Raises TypeError or ValueError for what cannot go along, NotAllowed, and Unavailable or NoSpace where
        `on_unavailable` leaves no other way.
        """
        try:
            plan = self._plans[fn]
        except (KeyError, TypeError):  # TypeError: a list has no hash
            plan = None
        if plan is None or kwargs or not plan.is_direct or plan.record is not runtime.current():
            return self.prepare(fn, *args, **kwargs).send()
        document = args_document(args)
        size = len(document)
        id = ids.make()
        message = b"".join((plan.head, id, ARGS[size] if size < 256 else args_field(size), document))
        try:
            self._handoff.send(message, MSG_NOSIGNAL)
        except OSError:  # not open yet, no room, too large, another daemon: whatever it is, `send` knows
            return Prepared(plan.wrapped(id, message), self._door).send()
        return Handle(id, "sent", self._door)

    def prepare(self, fn: Target, /, *args: Any, **kwargs: Any) -> Prepared:
        """Make a job as `submit` does and hand nothing over: `handle.id` is valid, `handle.send()` does the rest."""
        return Prepared(self.parcel(fn, args, kwargs), self._door)

    def parcel(self, fn: Target, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Parcel:
        """Pack one job."""
        return self._plan(fn).parcel(ids.make(), args, kwargs, time())

    def options(self, **given: Unpack[terms.Given]) -> Options:
        """Return these options with others on top."""
        return self.over(given)

    def over(self, given: Mapping[str, Any]) -> Options:
        """Return these options with `given` on top; a delay replaces an instant and the reverse."""
        made = Options(self._door, given)
        object.__setattr__(made, "_checked", merged(self._checked, made._checked))
        return made

    @property
    def door(self) -> Door:
        """The daemon that these are bound to."""
        return self._door

    def _plan(self, fn: Target) -> Plan:
        record = runtime.current()
        if isinstance(fn, (list, tuple)):
            return Plan(fn, self._checked, record)
        plan = self._plans.get(fn)
        if plan is None or plan.record is not record:
            own = getattr(fn, "_options", None)  # of a @task: what is said here wins over what is said there
            checked = merged(own._checked, self._checked) if isinstance(own, Options) else self._checked
            if len(self._plans) >= _PLANS:
                self._plans.clear()
            plan = self._plans[fn] = Plan(fn, checked, record)
        return plan

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"cannot set {name}: options do not change, options(...) makes others")

    def __repr__(self) -> str:
        return f"options({', '.join(f'{name}={value!r}' for name, value in self._checked.items())})"


def merged(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """Return checked options with others on top; of `delay` and `run_at`, one thing said twice, the last holds.

    Raises ValueError where the two contradict each other.
    """
    made = {**base, **top}
    if "delay" in top:
        made.pop("run_at", None)
    if "run_at" in top:
        made.pop("delay", None)
    terms.refuse_twice(made)
    return made
