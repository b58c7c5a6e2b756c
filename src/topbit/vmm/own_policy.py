"""How does a VMM of one's own behave? A class in a Python file, in place of the named conventions.

    # mine.py: topbit run seed --vmm mine.py
    from topbit.vmm.policy import VmmPolicy

    class Mine(VmmPolicy):
        def iovas(self, plain, alias):
            return [alias] if plain < 0x7000_0000 else [plain]

`VmmPolicy` says what each method is asked; what a class leaves out is as the scenario's table `vmm`
says. The file is the user's own and is run as it is; what it answers is checked, so that a mistake
in it is told as such.
"""

from __future__ import annotations

import dataclasses
import runpy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from topbit.arch.ipa import DmaAddr, Iova, Ipa
from topbit.errors import InputError, RunError
from topbit.vmm.policy import VmmPolicy

PAGE = 4096
HIGHEST = 1 << 64


def load(path: Path, base: VmmPolicy) -> VmmPolicy:
    """Which policy does the file hold? With the attributes of `base`, the scenario's.

    Raises:
        InputError: it cannot be read or run, or it does not hold one class on `VmmPolicy`.
    """
    where = f"--vmm {path}"
    try:
        held = runpy.run_path(str(path), run_name="topbit_policy")
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=where) from error
    except Exception as error:
        raise InputError(f"cannot be run: {_told(error)}", where=where) from error
    found = [
        value
        for value in held.values()
        if isinstance(value, type) and issubclass(value, VmmPolicy) and value is not VmmPolicy
    ]
    if len(found) != 1:
        raise InputError(
            f"holds {len(found)} classes on VmmPolicy",
            where=where,
            hint="from topbit.vmm.policy import VmmPolicy; class Mine(VmmPolicy): ...",
        )
    fields = {f.name: getattr(base, f.name) for f in dataclasses.fields(VmmPolicy)}
    return _checked(found[0], where)(**fields)


def _checked(own: type[VmmPolicy], where: str) -> type[VmmPolicy]:
    """The class, with its answers checked."""

    def ask(name: str, question: Callable[[], Any]) -> Any:
        try:
            return question()
        except Exception as error:
            raise RunError(f"{own.__name__}.{name} failed: {_told(error)}", where=where) from error

    def bad(name: str, answer: object, wanted: str) -> RunError:
        return RunError(f"{own.__name__}.{name} answered {answer!r}, not {wanted}", where=where)

    class Checked(own):  # type: ignore[misc, valid-type]
        __slots__ = ()

        def iovas(self, plain: Iova, alias: Iova) -> Sequence[Iova]:
            answer = ask("iovas", lambda: list(super(Checked, self).iovas(plain, alias)))
            for iova in answer:
                if not isinstance(iova, int) or not 0 <= iova < HIGHEST or iova % PAGE:
                    raise bad("iovas", iova, "addresses of 4 KiB pages")
            return [Iova(iova) for iova in answer]

        def looked_up(self, address: DmaAddr, masked: Ipa) -> Ipa | None:
            answer = ask("looked_up", lambda: super(Checked, self).looked_up(address, masked))
            if answer is None:
                return None
            if not isinstance(answer, int) or not 0 <= answer < HIGHEST:
                raise bad("looked_up", answer, "an address or None")
            return Ipa(answer)

        def goes_on(self, failed: str) -> bool:
            return bool(ask("goes_on", lambda: super(Checked, self).goes_on(failed)))

        @property
        def vfio_first(self) -> bool:
            return bool(ask("vfio_first", lambda: super(Checked, self).vfio_first))

    Checked.__name__ = own.__name__
    return Checked


def _told(error: Exception) -> str:
    """What went wrong, and on which line of the file?"""
    trace, line = error.__traceback__, 0
    while trace is not None:
        if trace.tb_frame.f_globals.get("__name__") == "topbit_policy":
            line = trace.tb_lineno
        trace = trace.tb_next
    at = f" (line {line})" if line else ""
    return f"{type(error).__name__}: {error}{at}"
