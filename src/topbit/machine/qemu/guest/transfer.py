"""Which files does the user put into the guest, and which come out of it at the end?

In: as part of topbit's initramfs. Out: as tar files, through the outbox. What a guest hands out is
not trusted: only plain files are written, and only where the user said.
"""

from __future__ import annotations

import contextlib
import posixpath
import shlex
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from topbit.errors import InputError, UsageError
from topbit.machine.qemu.guest import tar_stream
from topbit.machine.qemu.guest.outbox_program import IN_GUEST, STREAMS
from topbit.machine.qemu.guest.steps import Step

GET = "get"
"""Name of the step that hands the files out."""


@dataclass(frozen=True, slots=True)
class Added:
    """Which file or folder of the user's is where in the guest? (``--add FILE[:PATH]``)"""

    source: Path
    path: str

    @classmethod
    def parse(cls, word: str) -> Added:
        """What does the option say? Without PATH it has its own name in the root folder.

        Raises:
            UsageError: PATH does not begin with /.
            InputError: FILE cannot be read.
        """
        name, colon, path = word.rpartition(":")
        if not colon or Path(word).exists():
            name, path = word, ""
        source = Path(name)
        if not source.exists():
            raise InputError("cannot be read: No such file or directory", where=f"--add {name}")
        return cls(source, _absolute(path, "--add") if path else f"/{source.resolve().name}")

    def sources(self) -> list[Path]:
        """Which files are they outside?"""
        if self.source.is_dir():
            return [path for path in sorted(self.source.rglob("*")) if path.is_file()]
        return [self.source]

    def files(self) -> dict[str, tuple[bytes, int]]:
        """Which files of the initramfs are they? Content and permissions by path.

        Raises:
            InputError: one cannot be read.
        """
        return {
            posixpath.normpath(posixpath.join(self.path, path.relative_to(self.source)))[1:]: (
                _content(path),
                path.stat().st_mode & 0o777,
            )
            for path in self.sources()
        }


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which file or folder of the guest comes out, to where? (``--get PATH[:FILE]``)"""

    path: str
    target: Path

    @classmethod
    def parse(cls, word: str) -> Wanted:
        """What does the option say? Without FILE it gets its own name in the current folder.

        Raises:
            UsageError: PATH does not begin with /.
            InputError: FILE's folder does not exist.
        """
        path, _, name = word.partition(":")
        path = _absolute(path, "--get")
        target = Path(name or PurePosixPath(path).name)
        if not target.parent.is_dir():
            raise InputError("there is no such folder", where=f"--get {word}: {target.parent}")
        return cls(path, target)


def get_step(wanted: list[Wanted], root: str = "") -> Step:
    """How does the guest hand the files out? `root`: the folder that is their root folder."""
    lines = [f". /{STREAMS} || exit 1", "failed=0"]
    for one in wanted:
        folder, name = posixpath.split(root + one.path)
        packed = f"tar -c -f - -C {shlex.quote(folder)} {shlex.quote(name)}"
        lines.append(f"[ -e {shlex.quote(root + one.path)} ] || {{")
        lines.append(f"    echo {shlex.quote(one.path)} is not there; failed=1; }}")
        lines.append(f'{packed} 2>/dev/null | /{IN_GUEST} copy "$out_files"')
    return Step(GET, "\n".join([*lines, "exit $failed"]) + "\n", limit=0)


def unpack(stream: bytes, wanted: list[Wanted]) -> list[str]:
    """Write what came to where it was wanted; which files are it?

    Raises:
        InputError: a file cannot be written.
    """
    written: list[str] = []
    with contextlib.suppress(ValueError):  # cut off
        for file in tar_stream.files(stream):
            target = _target(file.name, wanted)
            if target is not None:
                _write(target, file.data, executable=file.executable)
                written.append(str(target))
    return written


def _target(name: str, wanted: list[Wanted]) -> Path | None:
    parts = PurePosixPath(name).parts
    for one in wanted:
        if parts and parts[0] == PurePosixPath(one.path).name and ".." not in parts:
            return one.target.joinpath(*parts[1:])
    return None


def _write(target: Path, data: bytes, *, executable: bool) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        if executable:
            target.chmod(target.stat().st_mode | 0o111)
    except OSError as error:
        raise InputError(f"cannot write: {error.strerror}", where=f"--get {target}") from error


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=f"--add {path}") from error


def _absolute(path: str, option: str) -> str:
    if not path.startswith("/") or posixpath.normpath(path) in ("/", "//"):
        raise UsageError(
            f"{path!r} is no place in the guest",
            where=option,
            hint="give a path that begins with /",
        )
    return posixpath.normpath(path)
