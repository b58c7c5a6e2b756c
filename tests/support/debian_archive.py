"""A small signed Debian archive in a folder, for tests that must not need a network."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import weakref
from pathlib import Path


class Archive:
    """One suite, one component (main), served as file://; `publish()` after every change."""

    def __init__(self, folder: Path, suite: str, architecture: str) -> None:
        self.folder, self.suite, self.architecture = folder, suite, architecture
        self.uri = f"file://{folder}/debian"
        self.keyring = folder / "keyring.gpg"
        # Not below `folder`: the names of the agent's sockets there may get too long (unix(7)).
        self.home = Path(tempfile.mkdtemp(prefix="gpg-"))
        weakref.finalize(self, shutil.rmtree, self.home, ignore_errors=True)
        self.pool = folder / "debian/pool"
        self.pool.mkdir(parents=True)
        self._gpg("--quick-generate-key", "--passphrase", "", "Test <test@invalid>", "ed25519")
        self._gpg("--export", "--output", str(self.keyring))

    def add(self, name: str, version: str, files: dict[str, str], depends: str = "") -> Path:
        build = self.folder / "build" / f"{name}_{version}"
        (build / "DEBIAN").mkdir(parents=True)
        control = (
            f"Package: {name}\nVersion: {version}\nArchitecture: {self.architecture}\n"
            f"Maintainer: Test <test@invalid>\nDescription: test\n"
        )
        (build / "DEBIAN/control").write_text(
            control + (f"Depends: {depends}\n" if depends else "")
        )
        for path, content in files.items():
            target = build / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content)
            target.chmod(0o755)
        deb = self.pool / f"{name}_{version}_{self.architecture}.deb"
        _run("dpkg-deb", "--root-owner-group", "--build", str(build), str(deb))
        return deb

    def publish(self, *, sign: bool = True) -> None:
        suite = self.folder / "debian/dists" / self.suite
        index = suite / f"main/binary-{self.architecture}/Packages"
        index.parent.mkdir(parents=True, exist_ok=True)
        index.write_text("\n".join(self._stanza(deb) for deb in sorted(self.pool.iterdir())))
        data = index.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        release = (
            f"Origin: Debian\nLabel: Debian\nSuite: {self.suite}\nCodename: {self.suite}\n"
            f"Date: Sat, 01 Jan 2022 00:00:00 UTC\nArchitectures: {self.architecture}\n"
            f"Components: main\nSHA256:\n {digest} {len(data)} {index.relative_to(suite)}\n"
        )
        (suite / "Release").write_text(release)
        (suite / "InRelease").unlink(missing_ok=True)
        if sign:
            self._gpg("--clearsign", "--output", str(suite / "InRelease"), str(suite / "Release"))
            _run("gpgconf", "--homedir", str(self.home), "--kill", "gpg-agent")

    def _stanza(self, deb: Path) -> str:
        data = deb.read_bytes()
        return _run("dpkg-deb", "--field", str(deb)) + (
            f"Filename: {deb.relative_to(self.folder / 'debian')}\nSize: {len(data)}\n"
            f"SHA256: {hashlib.sha256(data).hexdigest()}\n"
        )

    def _gpg(self, *arguments: str) -> None:
        _run("gpg", "--batch", "--quiet", "--homedir", str(self.home), *arguments)


def _run(*command: str) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
