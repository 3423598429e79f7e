"""docs/deploy.md: what it tells a reader to type is about files and keys that are there."""

import re

from tools import ROOT

PAGE = ROOT / "docs/deploy.md"
# What kubectl calls the Deployment, and no file.
RESOURCE = "deploy/clickhouse-backup"


def commands(text=None):
    """The lines of every `sh` block, with those that go on joined."""
    text = PAGE.read_text() if text is None else text
    blocks = re.findall(r"^\s*```sh\n(.*?)^\s*```", text, re.MULTILINE | re.DOTALL)
    return [line.strip() for block in blocks for line in re.sub(r"\\\n\s*", " ", block).splitlines()]


def secrets_made(text=None):
    """The Secrets that a reader makes by hand, with their keys."""
    made = {}
    for line in commands(text):
        found = re.match(r"kubectl create secret generic -n clickhouse (\S+)", line)
        if found:
            made[found.group(1)] = set(re.findall(r"--from-(?:literal|file)=([\w.-]+)", line))
    return made


def mistakes(text=None):
    text = PAGE.read_text() if text is None else text
    named = set(re.findall(r"\b(?:deploy|config|dashboards|tests)/[\w./-]*\w", text))
    wrong = [f"{path} is not there" for path in sorted(named) if path != RESOURCE and not (ROOT / path).exists()]
    table = re.findall(r"^\| ((?:`[^|]*`(?:, )?)+) \|", text.split("## First")[0], re.MULTILINE)
    entries = [entry for row in table for entry in re.findall(r"`([^`]+)`", row)]
    wrong += [f"deploy/{entry} is not there" for entry in entries if not (ROOT / "deploy" / entry).exists()]
    if not named or not entries or not secrets_made(text):
        wrong.append("it names nothing any more")
    return wrong
