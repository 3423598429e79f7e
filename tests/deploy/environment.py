"""Variables are ones that the daemon knows, and its configuration is valid with them."""

import re
import tempfile
import tomllib
from pathlib import Path

import image
import manifests
from tools import DEPLOY, ROOT, plain_environment, run

# What a variable holds that comes from a Secret.
SAMPLES = {"CLICKHOUSE_HOST": "clickhouse", "CLICKHOUSE_PORT": "8123", "CLICKHOUSE_USERNAME": "backup"}
# What `config check` may say about a configuration that is deployed as it should be: the API has no
# credentials, as before, and without a view nothing is removed.
EXPECTED_WARNINGS = ("api: whoever reaches 0.0.0.0:7171 ",)
EXPECTED_WITHOUT_VIEW = ("retention only plans, ",)


def old_variables():
    """Variables of the server we replace that are taken: the last column of the table of all keys,
    which a test of the daemon compares with its own, and the one that is no key."""
    page = (ROOT / "docs/configuration.md").read_text().split("## Every key")[1]
    names = {name for row in page.splitlines() if row.startswith("| `") for name in re.findall(r"`([A-Z_]+)`", row.split("|")[-2])}
    embedded = re.search(r'const EMBEDDED: &str = "([A-Z_]+)"', (ROOT / "src/config/replaced.rs").read_text())
    return names | {embedded.group(1)}


def unknown_variables(names):
    """Variables that mean nothing to the daemon. Of `BACKUPD_…` it says so by itself."""
    known = old_variables()
    return [f"the daemon does not know the variable {name}" for name in names if name not in known and not name.startswith("BACKUPD_")]


def check_mistakes(binary, variables, toml):
    """What `config check` says against a configuration, with exactly these variables."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.toml"
        secret = Path(folder) / "secret"
        secret.write_text("secret")
        # The files of secrets are not here; that they are mounted is checked apart.
        file.write_text(re.sub(r'(_file = )"/run/secrets/[^"]*"', rf'\1"{secret}"', toml))
        code, out, error = run([binary, "config", "check", "--config", file], env=plain_environment() | variables)
    said = (out + error).replace(folder + "/", "").splitlines()
    if code:
        return said or [f"config check ends with {code}"]
    expected = EXPECTED_WARNINGS
    if "url" not in tomllib.loads(toml)["destination"]:
        expected += EXPECTED_WITHOUT_VIEW
    warnings = [line.removeprefix("warning: ") for line in said if line.startswith("warning: ")]
    return [f"config check warns: {each}" for each in warnings if not each.startswith(expected)]


def mistakes_in_manifests(objects, binary):
    variables = {}
    for each in manifests.container(objects).get("env", []):
        variables[each["name"]] = each.get("value") or SAMPLES.get(each["name"], "secret")
    mistakes = unknown_variables(image.variables() | variables)
    if manifests.container(objects).get("envFrom"):
        mistakes.append("envFrom hides which variables there are")
    toml = manifests.config_toml(objects)
    asked = set(re.findall(r'_file = "([^"]*)"', toml))
    mistakes += [f"{path} is not mounted" for path in sorted(asked - manifests.secret_files(objects))]
    mistakes += [f"nothing reads {path}" for path in sorted(manifests.secret_files(objects) - asked)]
    return mistakes + check_mistakes(binary, image.variables() | variables, toml)


def mistakes_in_compose(compose, binary):
    variables = {name: str(value) for name, value in compose["services"]["clickhouse-backup"]["environment"].items()}
    toml = (DEPLOY / "compose/backupd/config.toml").read_text()
    return unknown_variables(image.variables() | variables) + check_mistakes(binary, image.variables() | variables, toml)
