"""Checks everything below deploy/ as far as it can be checked without a cluster.

Usage: .cache/deploy/bin/python tests/deploy/check.py --binary target/debug/clickhouse-backupd
Each check is a function that gives the mistakes it found. What this machine lacks is named, and
counts as a mistake where CI is set.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import alongside
import database
import environment
import image
import manifests
import page
import rights
import schemas
from tools import Missing, ROOT


def checks(binary):
    """Name and function of every check, in the order of what they build on."""
    yield "generated files are those of dashboards/", manifests.generated_mistakes
    for folder in manifests.KUSTOMIZATIONS:
        yield f"{folder}: what it means", lambda folder=folder: manifests.object_mistakes(
            manifests.render(folder)
        )
        yield f"{folder}: environment and configuration", lambda folder=folder: environment.mistakes_in_manifests(
            manifests.render(folder), binary
        )
    yield "Flux Kustomization", manifests.flux_mistakes
    yield "schemas of Kubernetes", lambda: schemas.built_in_mistakes(manifests.all_objects())
    yield "published schemas", lambda: schemas.published_mistakes(manifests.all_objects())
    yield "Dockerfile", image.mistakes
    yield "Dockerfile: hadolint", image.lint_mistakes
    yield "compose.yaml", alongside.compose_mistakes
    yield "compose.yaml: environment and configuration", lambda: environment.mistakes_in_compose(
        alongside.compose(), binary
    )
    yield "systemd unit", lambda: alongside.unit_mistakes(binary)
    yield "docs/deploy.md", page.mistakes
    yield "statements for ClickHouse", database.statement_mistakes
    yield "configuration for ClickHouse", database.configuration_mistakes
    yield "rights in ClickHouse: what is granted suffices", lambda: rights.mistakes(binary)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True, type=Path, help="a clickhouse-backupd that was built")
    binary = parser.parse_args().binary.resolve()
    in_ci = bool(os.environ.get("CI"))
    wrong = 0
    for name, check in checks(binary):
        try:
            mistakes = check()
        except Missing as missing:
            print(f"NOT CHECKED {name}: {missing}")
            mistakes = ["not checked, and CI is set"] if in_ci else None
        except (AssertionError, subprocess.TimeoutExpired) as error:
            mistakes = [str(error)]
        if mistakes == []:
            print(f"ok {name}")
        for mistake in mistakes or []:
            print(f"WRONG {name}: {mistake}")
            wrong += 1
    print(f"{wrong} mistakes in {ROOT / 'deploy'}" if wrong else "deploy/ is as it should be")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
