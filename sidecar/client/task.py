"""`@task`: a function that stays a function, and can be submitted.

@task(queue="mail", timeout=30)
def send(order_id): ...

send(7)           runs it here and now
send.submit(7)    hands it off
"""

from __future__ import annotations

from .door import door_of
from .options import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Generic, ParamSpec, TypeVar, Unpack, overload

    from .handle import Handle, Prepared
    from .terms import Given

    P = ParamSpec("P")
    R = TypeVar("R")

    class _Function(Generic[P, R]):
        """Carries the parameters."""
else:  # what only a type checker needs costs no import
    P = R = None
    _Function = {(P, R): object}


class Task(_Function[P, R]):
    """A function with options; calls run in place, `submit` hands off. Has the function's name, module, docstring."""

    __wrapped__: Callable[P, R]

    def __init__(self, function: Callable[P, R], options: Options) -> None:
        from functools import update_wrapper

        update_wrapper(self, function)
        self._options = options

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it here and now."""
        return self.__wrapped__(*args, **kwargs)

    def submit(self, *args: P.args, **kwargs: P.kwargs) -> Handle:
        """Hand off one job of it. Raises what `submit` raises."""
        return self._options.submit(self, *args, **kwargs)

    def prepare(self, *args: P.args, **kwargs: P.kwargs) -> Prepared:
        """Make one job of it, to be sent later."""
        return self._options.prepare(self, *args, **kwargs)

    def options(self, **given: Unpack[Given]) -> Task[P, R]:
        """Return the same function with other options on top of its own."""
        return Task(self.__wrapped__, self._options.over(given))

    def __repr__(self) -> str:
        return f"<task {self.__module__}:{self.__wrapped__.__qualname__}>"


if TYPE_CHECKING:

    @overload
    def task(function: Callable[P, R], /) -> Task[P, R]: ...
    @overload
    def task(base: Options | None = None, /, **given: Unpack[Given]) -> Callable[[Callable[P, R]], Task[P, R]]: ...
    def task(base: Any = None, /, **given: Any) -> Any:
        """See below."""
else:

    def task(base=None, /, **given):
        """Make a function submittable: `@task`, `@task(queue="mail")`, or `@task(options_made_elsewhere, timeout=3)`.

        Raises TypeError and ValueError as `options` does, when the module is imported.
        """
        if base is not None and not isinstance(base, Options):
            if not callable(base):
                raise TypeError(f"cannot make a task of {base!r}: use @task, or @task(queue=..., ...)")
            return Task(base, Options(door_of(), given))
        made = base.over(given) if base is not None else Options(door_of(), given)
        return lambda function: Task(function, made)
