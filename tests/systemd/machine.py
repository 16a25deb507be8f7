"""A machine with a real systemd: a container over a copy of this one's files, booted in a second or two."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from tests.conftest import ROOT

PLACE = Path("/dev/shm")  # noqa: S108 - an overlay's upper folder must not lie in its lower one
SMALL_TARGET = """[Unit]
Requires=sysinit.target sockets.target
After=sysinit.target sockets.target
AllowIsolate=yes
"""
LAUNCHER = """#!/opt/otolith/bin/python
from otolith.cli.main import main
main()
"""
NSPAWN = ["--quiet", "--private-network", "--register=no", "--keep-unit"]
NSPAWN += ["--link-journal=no", "--console=pipe"]
KERNEL = ["systemd.unit=small.target", "systemd.journald.forward_to_console=0"]
BOOT_S = 30.0


class BootError(Exception):
    """The kernel, or whatever this runs in, does not let a container boot."""


class Machine:
    """Booted while entered. The tree under test is installed in /opt/otolith, its units in systemd's folder."""

    def __init__(self) -> None:
        self._folder = PLACE / f"otolith-machine-{os.getpid()}"
        self.root = self._folder / "root"
        self._nspawn: subprocess.Popen[str] | None = None
        self._leader = 0

    def run(self, *command: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """A command inside, by root; finished."""
        inside = ["nsenter", f"--target={self._leader}", "--mount", "--uts", "--ipc", "--net", "--pid", "--", *command]
        return subprocess.run(
            inside, capture_output=True, text=True, timeout=timeout_s, check=False, env={"PATH": os.environ["PATH"]}
        )

    def systemctl(self, *arguments: str) -> str:
        """What systemctl says, which must be content."""
        done = self.run("systemctl", *arguments)
        assert done.returncode == 0, (arguments, done.stdout, done.stderr, self.journal())
        return done.stdout

    def show(self, unit: str) -> dict[str, str]:
        """A unit's properties."""
        return dict(line.split("=", 1) for line in self.systemctl("show", unit).splitlines())

    def journal(self, unit: str = "otolith*") -> str:
        """What was logged of a unit, with systemd's own words of it."""
        return self.run("journalctl", "--no-pager", "--output=cat", f"--unit={unit}").stdout

    def wait_for(self, unit: str, is_so: Callable[[dict[str, str]], bool], timeout_s: float = 60) -> dict[str, str]:
        """A unit's properties, once they are as wanted."""
        deadline_s = time.monotonic() + timeout_s
        while not is_so(shown := self.show(unit)):
            assert time.monotonic() < deadline_s, (unit, _short(shown), self.journal(unit))
            time.sleep(0.1)
        return shown

    def write(self, path: str, text: str) -> None:
        """A file inside, for everybody to read."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o644)

    def __enter__(self) -> Self:
        try:
            self._mount()
            self._install()
            self._boot()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._nspawn is not None:
            self._nspawn.kill()  # its children go with it
            self._nspawn.communicate()
        subprocess.run(["umount", "--lazy", self.root], check=False, capture_output=True)
        subprocess.run(["umount", "--lazy", self._folder], check=False, capture_output=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _mount(self) -> None:
        self._folder.mkdir()
        _must("mount", "-t", "tmpfs", "tmpfs", str(self._folder))
        for name in ("upper", "work", "root"):
            (self._folder / name).mkdir()
        layers = f"lowerdir=/,upperdir={self._folder}/upper,workdir={self._folder}/work"
        _must("mount", "-t", "overlay", "overlay", "-o", layers, str(self.root))

    def _install(self) -> None:
        """An environment by hand: this interpreter, its packages and our tree, where ProtectHome does not hide them."""
        site = self.root / f"opt/otolith/lib/python{sysconfig.get_python_version()}/site-packages"
        site.mkdir(parents=True)
        (site / "tree.pth").write_text("/opt/tree/daemon\n/opt/tree/training\n/opt/packages\n")
        home = "/opt/python/bin" if self._brings_python else str(Path(sys.base_prefix) / "bin")
        (self.root / "opt/otolith/pyvenv.cfg").write_text(f"home = {home}\n")
        (self.root / "opt/otolith/bin").mkdir()
        name = f"python{sysconfig.get_python_version()}"
        (self.root / "opt/otolith/bin/python").symlink_to(f"{home}/{name}")
        self.write("/opt/otolith/bin/otolith", LAUNCHER)
        (self.root / "opt/otolith/bin/otolith").chmod(0o755)
        for place in ("opt/tree", "opt/packages", "opt/python"):
            (self.root / place).mkdir(exist_ok=True)
        self.write("/etc/systemd/system/small.target", SMALL_TARGET)

    def _boot(self) -> None:
        binds = [f"--bind-ro={ROOT}:/opt/tree", f"--bind-ro={sysconfig.get_paths()['purelib']}:/opt/packages"]
        if self._brings_python:
            binds.append(f"--bind-ro={sys.base_prefix}:/opt/python")
        self._nspawn = subprocess.Popen(
            [
                "systemd-nspawn",
                f"--directory={self.root}",
                f"--machine={self._folder.name}",
                "--boot",
                *NSPAWN,
                *binds,
                *KERNEL,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children")
        deadline_s = time.monotonic() + BOOT_S
        while time.monotonic() < deadline_s and self._nspawn.poll() is None:
            for child in children.read_text().split():
                self._leader = int(child)
                if self.run("systemctl", "is-active", "small.target").stdout.strip() == "active":
                    return self._probe()
            time.sleep(0.1)
        self._nspawn.kill()
        said, _ = self._nspawn.communicate()
        self._nspawn = None
        raise BootError(f"systemd-nspawn: {said[-300:].strip() or 'nothing was booted, and nothing was said'}")

    def _probe(self) -> None:
        """May a unit be boxed in as ours is? Inside another container, the kernel may refuse that too."""
        ours = (ROOT / "systemd/otolith.service").read_text()
        kept = [line for line in ours.splitlines() if not line.startswith(("Type=", "Exec", "Watchdog", "Restart"))]
        box = "\n".join(kept).replace("[Service]", "[Service]\nType=oneshot\nExecStart=/bin/true")
        self.write("/etc/systemd/system/probe.service", box.replace("=otolith\n", "=probe\n"))
        if self.run("systemctl", "start", "probe.service").returncode:
            raise BootError(f"a unit is not run as boxed in as ours: {self.journal('probe.service')[-300:].strip()}")

    @property
    def _brings_python(self) -> bool:
        """Is the interpreter somewhere that the unit hides?"""
        return not sys.base_prefix.startswith("/usr")


def _must(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BootError(f"{command[0]}: {done.stderr.strip()}")


def _short(shown: dict[str, str]) -> dict[str, str]:
    return {name: shown[name] for name in ("ActiveState", "SubState", "Result", "NRestarts", "StatusText", "MainPID")}
