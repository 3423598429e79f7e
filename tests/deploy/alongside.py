"""What runs the daemon without Kubernetes: compose.yaml and the systemd unit."""

import importlib.resources
import json
import tempfile
from pathlib import Path

import jsonschema
import yaml

from tools import DEPLOY, ROOT, run, tool, version

COMPOSE = DEPLOY / "compose.yaml"
UNIT = DEPLOY / "systemd/clickhouse-backupd.service"
BINARY = "/usr/bin/clickhouse-backupd"
# `systemd-analyze security` in tenths: from 0 (nothing is open) to 100.
EXPOSURE_MAX = 20


def compose():
    return yaml.safe_load(COMPOSE.read_text())


def compose_mistakes():
    return compose_mistakes_in(compose())


def compose_mistakes_in(found):
    schema = json.loads(importlib.resources.files("compose").joinpath("config/compose_spec.json").read_text())
    # The published one is of 2021, before a project could have a name of its own.
    schema["properties"]["name"] = {"type": "string"}
    wrong = [
        f"{'/'.join(map(str, error.path))}: {error.message}" for error in jsonschema.Draft7Validator(schema).iter_errors(found)
    ]
    services = found["services"]
    missing = {"clickhouse", "s3", "clickhouse-backup", "prometheus", "grafana"} - set(services)
    wrong += [f"there is no {name}" for name in sorted(missing)]
    for name, service in services.items():
        wrong += [f"{name} is open to the network: {port}" for port in service.get("ports", []) if not port.startswith("127.0.0.1:")]
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith(".") and not (DEPLOY / source).exists():
                wrong.append(f"{name}: {source} is not there")
            if not source.startswith(".") and source not in found["volumes"]:
                wrong.append(f"{name}: there is no volume {source}")
        wrong += [f"{name} waits for {other}" for other in service.get("depends_on", []) if other not in services]
        if service["image"].endswith(":latest") or ":" not in service["image"]:
            wrong.append(f"{name}: {service['image']} is not one version")
    if missing:
        return wrong
    return wrong + _daemon_mistakes(services) + _monitoring_mistakes(services)


def _daemon_mistakes(services):
    daemon = services["clickhouse-backup"]
    wrong = []
    if daemon["image"] != f"clickhouse-backupd:{version()}":
        wrong.append(f"the image is {daemon['image']}")
    if not daemon.get("read_only") or daemon.get("cap_drop") != ["ALL"]:
        wrong.append("the daemon has more rights than it needs")
    if any(volume.endswith((".toml", ".toml:ro")) for volume in daemon["volumes"]):
        wrong.append("the configuration is mounted as a file, and never sees an edit")
    # Each side names the bucket in its own way.
    place = services["clickhouse"]["environment"]["S3_BACKUP_ENDPOINT"]
    text = (DEPLOY / "compose/backupd/config.toml").read_text()
    endpoint, _, path = place.removeprefix("http://").partition("/")
    for part in (f'url = "s3://{path.rstrip("/")}"', f's3.endpoint = "http://{endpoint}"'):
        if part not in text:
            wrong.append(f"ClickHouse writes to {place}, and the daemon's configuration lacks {part}")
    return wrong


def _monitoring_mistakes(services):
    prometheus = yaml.safe_load((DEPLOY / "compose/prometheus.yml").read_text())
    targets = [target for job in prometheus["scrape_configs"] for static in job["static_configs"] for target in static["targets"]]
    wrong = [] if targets == ["clickhouse-backup:7171"] else [f"Prometheus scrapes {targets}"]
    mounted = {volume.split(":")[1] for volume in services["prometheus"]["volumes"]}
    wrong += [f"Prometheus lacks {file}" for file in prometheus["rule_files"] if file not in mounted]
    provisioning = ROOT / "dashboards/provisioning"
    providers = [yaml.safe_load(file.read_text()) for file in sorted(provisioning.glob("dashboards/*.y*ml"))]
    paths = [each["options"]["path"] for provider in providers for each in provider["providers"]]
    folders = {str(Path(volume.split(":")[1]).parent) for volume in services["grafana"]["volumes"] if volume.split(":")[0].endswith(".json")}
    if set(paths) != folders:
        wrong.append(f"Grafana is provisioned from {paths}, and the dashboard is mounted in {sorted(folders)}")
    sources = [yaml.safe_load(file.read_text()) for file in sorted(provisioning.glob("datasources/*.y*ml"))]
    urls = [each["url"] for source in sources for each in source["datasources"]]
    if urls != ["http://prometheus:9090"]:
        wrong.append(f"Grafana asks {urls}, and Prometheus is http://prometheus:9090")
    return wrong


def unit_mistakes(binary):
    return unit_mistakes_in(UNIT.read_text(), binary)


def unit_mistakes_in(text, binary):
    analyze = tool("systemd-analyze", "Debian: apt-get install systemd")
    wrong = [] if f"ExecStart={BINARY} server" in text else [f"it does not start {BINARY}"]
    with tempfile.TemporaryDirectory() as folder:
        unit = Path(folder) / UNIT.name
        # A program that is not there is a mistake to systemd.
        unit.write_text(text.replace(BINARY, str(binary)))
        code, out, error = run([analyze, "verify", unit])
        # An unknown key is only a line here, and exit code 0.
        wrong += (out + error).splitlines() or ([f"verify ends with {code}"] if code else [])
        code, out, error = run([analyze, "security", "--offline=true", f"--threshold={EXPOSURE_MAX}", "--no-pager", unit])
        if code:
            wrong.append((error or out).strip().splitlines()[-1])
    return wrong
