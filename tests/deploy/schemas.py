"""Objects against the schemas of their kinds: Kubernetes' own, and those that others publish."""

import json
import shutil
import tempfile
from pathlib import Path

import yaml

from tools import HOME, Missing, run, tool

# The oldest Kubernetes that the manifests are for, and one of the newest.
VERSIONS = ("1.28", "1.32", "1.37")
# Groups of kinds that Kubernetes does not have by itself.
PUBLISHED = ("monitoring.coreos.com", "external-secrets.io", "kustomize.toolkit.fluxcd.io")
SCRIPT = Path(__file__).with_name("objects.mjs")


def is_built_in(each):
    return not each["apiVersion"].startswith(PUBLISHED)


def built_in_mistakes(objects):
    """Kubernetes' own schemas, in which an unknown key is a mistake, too."""
    mistakes = []
    kubernetes_validate = tool("kubernetes-validate", "tests/deploy/install brings it")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "objects.yaml"
        file.write_text(yaml.safe_dump_all([each for each in objects if is_built_in(each)]))
        for version in VERSIONS:
            code, out, error = run([kubernetes_validate, "--strict", "-k", version, file])
            if code:
                mistakes.append(f"Kubernetes {version}: {(out + error).strip()}")
            elif "WARN" in out + error:
                mistakes.append(f"Kubernetes {version} leaves something out: {(out + error).strip()}")
    return mistakes


def published_mistakes(objects):
    """Every object by the published schemas: its values by the validators, its keys by the compiler."""
    node = tool("node", "runs the published schemas of Flux, External Secrets and Prometheus")
    home = HOME / "node"
    if not home.exists():
        raise Missing("the packages of node are missing (run tests/deploy/install where npm is)")
    with tempfile.TemporaryDirectory(dir=home) as folder:
        script = shutil.copy(SCRIPT, folder)
        (source, program) = (Path(folder) / "objects.json", Path(folder) / "objects.ts")
        source.write_text(json.dumps(objects))
        code, out, error = run([node, script, "validate", source])
        mistakes = [f"the validators: {error}"] if code else out.splitlines()
        code, _, error = run([node, script, "program", source, program])
        if code:
            return mistakes + [f"writing the program: {error}"]
        tsc = home / "node_modules/typescript/bin/tsc"
        options = ["--noEmit", "--strict", "--skipLibCheck", "--target", "es2022", "--module", "nodenext"]
        code, out, error = run([node, tsc, *options, program])
        if code:
            mistakes += (out + error).splitlines()
    return mistakes
