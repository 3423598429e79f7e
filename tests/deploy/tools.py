"""Where things are, and running what others wrote."""

import os
import shutil
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
# Where tests/deploy/install put it.
HOME = Path(os.environ.get("DEPLOY_HOME", ROOT / ".cache/deploy"))
# Longest run of a tool; there to end a hung one.
RUN_SECONDS_MAX = 120


class Missing(Exception):
    """This machine lacks what the check needs."""


def tool(name, why):
    """The path of a program, of our own installation first."""
    ours = HOME / "bin" / name
    found = str(ours) if ours.exists() else shutil.which(name)
    if not found:
        raise Missing(f"{name} is missing ({why})")
    return found


def run(command, **options):
    """Runs a program to its end, and gives its exit code and what it wrote, as text."""
    done = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        timeout=RUN_SECONDS_MAX,
        **options,
    )
    return done.returncode, done.stdout, done.stderr


def version():
    """The version of the daemon, of Cargo.toml."""
    return tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]


def plain_environment():
    """Of this process only what a program needs to run, so that nothing leaks into a configuration."""
    return {"PATH": os.environ["PATH"]}
