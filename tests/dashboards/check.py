"""What can be said of the dashboard and the rules without running anything.

Usage: check.py REPOSITORY; prints what is wrong, one line each, and ends with 1 if anything is.
"""

import json
import re
import sys
from pathlib import Path

import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

SEVERITIES = {"critical", "warning", "info"}
ANNOTATIONS = {"summary", "description", "command", "runbook_url"}
COLUMNS = 24  # of Grafana's grid


def differences(before, after, path=""):
    """Where a value did not survive Grafana's own models: keys that they do not know are dropped."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in before:
            if key not in after:
                yield f"dashboard{path}.{key}: Grafana does not know this key"
            else:
                yield from differences(before[key], after[key], f"{path}.{key}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (one, other) in enumerate(zip(before, after)):
            yield from differences(one, other, f"{path}[{index}]")
    elif before != after:
        yield f"dashboard{path}: {before!r} became {after!r}"


def of_schema(dashboard):
    read = Dashboard.from_json(dashboard)
    yield from differences(dashboard, json.loads(JSONEncoder(sort_keys=True).encode(read)))


def of_panels(dashboard):
    panels = dashboard["panels"]
    ids = [panel["id"] for panel in panels]
    if len(set(ids)) != len(ids):
        yield "dashboard: two panels have one id"
    taken = {}
    for panel in panels:
        title, place = panel["title"], panel["gridPos"]
        if place["x"] + place["w"] > COLUMNS:
            yield f"{title}: is wider than the grid"
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                other = taken.setdefault((x, y), title)
                if other != title:
                    yield f"{title}: lies over {other}"
                    break
        if panel["type"] == "row":
            continue
        defaults = panel["fieldConfig"]["defaults"]
        if not panel.get("description", "").endswith("."):
            yield f"{title}: has no description"
        if not defaults.get("unit") or not defaults.get("thresholds"):
            yield f"{title}: has no unit or no thresholds"
        if not panel["targets"]:
            yield f"{title}: asks for nothing"
        for asked in [panel, *panel["targets"]]:
            if asked["datasource"] != {"type": "prometheus", "uid": "${datasource}"}:
                yield f"{title}: does not use the variable of the data source"
        for target in panel["targets"]:
            names = re.findall(r"clickhouse_backupd_\w+(?!\w)(\{[^}]*\})?", target["expr"])
            if any("$namespace" not in (selector or "") for selector in names):
                yield f"{title}: asks for a metric of every namespace"


def of_variables(dashboard):
    names = [variable["name"] for variable in dashboard["templating"]["list"]]
    if names != ["datasource", "namespace", "schedule"]:
        yield f"dashboard: its variables are {names}"


def anchors(page):
    """As they are made of the headings of a page: lower case, spaces are hyphens, no punctuation."""
    headings = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def of_rules(rules, root):
    seen = set()
    for rule in rules:
        name = rule["alert"]
        if name in seen:
            yield f"{name}: is there twice"
        seen.add(name)
        if rule["labels"].get("severity") not in SEVERITIES:
            yield f"{name}: its severity is {rule['labels'].get('severity')!r}"
        if "for" not in rule:
            yield f"{name}: fires at once, for a moment's sake"
        if set(rule["annotations"]) != ANNOTATIONS:
            yield f"{name}: has {sorted(rule['annotations'])}, and not {sorted(ANNOTATIONS)}"
            continue
        if not rule["annotations"]["summary"].endswith("."):
            yield f"{name}: its summary is no sentence"
        page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        text = (root / page).read_text()
        if anchor not in anchors(text):
            yield f"{name}: {page} has no section {anchor}"


def of_tests(rules, tests):
    checks = [check for test in tests["tests"] for check in test["alert_rule_test"]]
    firing = {check["alertname"] for check in checks if check["exp_alerts"]}
    silent = {check["alertname"] for check in checks if not check["exp_alerts"]}
    names = {rule["alert"] for rule in rules}
    for name in sorted(names - firing):
        yield f"{name}: no test shows it firing"
    for name in sorted(names - silent):
        yield f"{name}: no test shows it not firing"
    for name in sorted((firing | silent) - names):
        yield f"{name}: is tested, and is no rule"


def of_runbook(rules, root):
    """A section for an alert that is gone would be followed by somebody."""
    sections = set(re.findall(r"^## (ClickHouseBackup\w+)$", (root / "docs/runbook.md").read_text(), re.MULTILINE))
    for name in sorted(sections - {rule["alert"] for rule in rules}):
        yield f"docs/runbook.md: {name} is no alert"


def main(root):
    register_default_plugins()
    folder = root / "dashboards"
    dashboard = json.loads((folder / "clickhouse-backupd.json").read_text())
    groups = yaml.safe_load((folder / "alerts.yaml").read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    tests = yaml.safe_load((folder / "alerts_test.yaml").read_text())
    wrong = [
        *of_schema(dashboard),
        *of_panels(dashboard),
        *of_variables(dashboard),
        *of_rules(rules, root),
        *of_tests(rules, tests),
        *of_runbook(rules, root),
    ]
    print("\n".join(wrong) if wrong else f"{len(rules)} rules and {len(dashboard['panels'])} panels are in order")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
