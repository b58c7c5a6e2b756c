"""Which tree is it with a patch applied? A copy: the tree itself is never changed.

Of the tree only the files that are judged are copied, and of the patch only what it does to them
is applied (`git apply --include`).
"""

from __future__ import annotations

import email
import email.policy
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from topbit.errors import InputError, MissingToolError
from topbit.kernel_tree.tree import FILES, SourceTree

SEPARATOR = re.compile(rb"^From \S+ .*\d{4}\n", re.M)  # between the mails of an mbox
HEADERS = re.compile(rb"\A(?:[A-Za-z-]+:[^\n]*\n(?:[ \t][^\n]*\n)*)+\n")


def diff_of(data: bytes) -> bytes:
    """Which diffs are in a patch, a mail, or an mbox of several? Transfer encodings are undone."""
    parts = [part for part in SEPARATOR.split(data.replace(b"\r\n", b"\n")) if part.strip()]
    return b"\n".join(map(_body, parts))


def _body(part: bytes) -> bytes:
    if not HEADERS.match(part):
        return part
    message = email.message_from_bytes(part, policy=email.policy.compat32)
    texts = [one for one in message.walk() if one.get_content_maintype() == "text"]
    bodies = [one.get_payload(decode=True) for one in texts]
    return b"\n".join(body for body in bodies if isinstance(body, bytes))


@contextmanager
def patched(tree: SourceTree, data: bytes, where: str) -> Iterator[SourceTree]:
    """Have a copy of the tree with a patch, as long as the block lasts.

    Args:
        tree: what the patch is for.
        data: a patch, a mail or an mbox.
        where: names it in errors.

    Raises:
        MissingToolError: git is missing.
        InputError: it does not apply, or changes nothing that is judged.
    """
    git = shutil.which("git")
    if git is None:
        raise MissingToolError("git is missing, which applies patches", hint="install git")
    diff = diff_of(data)
    changed = set(re.findall(rb"^\+\+\+ b/(\S+)", diff, re.M))
    if changed.isdisjoint(name.encode() for name in FILES):
        raise InputError(
            "changes none of the files that are judged", where=where, hint=", ".join(FILES[1:])
        )
    with tempfile.TemporaryDirectory(prefix="topbit-patch-") as name:
        copy = Path(name) / "tree"
        for file in filter(tree.has, FILES):
            place = copy / file
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(tree.root / file, place)
        done = subprocess.run(
            [git, "apply", *(f"--include={file}" for file in FILES), "-"],
            cwd=copy,
            input=diff,
            capture_output=True,
            env={"PATH": str(Path(git).parent), "GIT_CEILING_DIRECTORIES": name, "LC_ALL": "C"},
        )
        if done.returncode:
            reason = done.stderr.decode(errors="replace").strip().splitlines()
            raise InputError(
                f"does not apply: {reason[0] if reason else 'git gave no reason'}",
                where=where,
                hint=f"--tree must be what it is for; this one is Linux {tree.release}",
            )
        yield SourceTree(copy)
