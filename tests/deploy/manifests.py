"""What the manifests mean: names that others count on, and what bites in clusters."""

import functools
import json
import tempfile
import tomllib
from pathlib import Path

import yaml

import page
from tools import KUBERNETES, run, tool, version

KUSTOMIZATIONS = [
    "flux-apps/clickhouse-backup",
    "flux-clusters/example/apps/clickhouse-backup",
    "without-view",
    "without-operators",
]
FLUX = "flux-clusters/example/apps/clickhouse-backup.yaml"
NAME = "clickhouse-backup"
NAMESPACE = "clickhouse"
CONFIG = "clickhouse-backup-config"
PORT = 7171
SUBSTITUTE = "kustomize.toolkit.fluxcd.io/substitute"
# `kubectl apply` puts the whole object into an annotation, and those end here.
APPLIED_BYTES_MAX = 262_144


@functools.cache
def _rendered(folder):
    kubectl = tool("kubectl", "renders kustomizations; 1.27 or newer")
    code, out, error = run([kubectl, "kustomize", KUBERNETES / folder])
    if code or error:
        raise AssertionError(f"kubectl kustomize {folder}: {error or code}")
    return out


def render(folder):
    """The objects of a kustomization."""
    return [each for each in yaml.safe_load_all(_rendered(folder)) if each]


def flux_objects():
    return [each for each in yaml.safe_load_all((KUBERNETES / FLUX).read_text()) if each]


def all_objects():
    """Every different object of every kustomization, and the one for Flux."""
    rendered = [each for folder in KUSTOMIZATIONS for each in render(folder)] + flux_objects()
    return list({json.dumps(each, sort_keys=True): each for each in rendered}.values())


def object_mistakes(objects):
    """Everything that is wrong with the objects of one kustomization."""
    mistakes = [
        f"{each['kind']} {each['metadata']['name']} is in the namespace {each['metadata'].get('namespace')}"
        for each in objects
        if each["metadata"].get("namespace") != NAMESPACE
    ]
    if not of_kind(objects, "Deployment"):
        return mistakes + ["there is no Deployment"]
    for check in (_labels, _deployment, _pod, _container, _service, _state, _secrets, _config, _network, _monitoring, _flux):
        mistakes += check(objects)
    return mistakes


def of_kind(objects, kind):
    return [each for each in objects if each["kind"] == kind]


def deployment(objects):
    return of_kind(objects, "Deployment")[0]


def pod(objects):
    return deployment(objects)["spec"]["template"]["spec"]


def container(objects):
    return pod(objects)["containers"][0]


def config_toml(objects):
    """The text of the configuration, as it lies in the ConfigMap."""
    found = [each for each in of_kind(objects, "ConfigMap") if each["metadata"]["name"] == CONFIG]
    return found[0]["data"]["config.toml"] if found else ""


def unlike(wanted, found, where):
    """What differs from the wanted values, key by key."""
    return [
        f"{where}.{key} is {found.get(key)!r} and not {value!r}" for key, value in wanted.items() if found.get(key) != value
    ]


def _labels(objects):
    mistakes = []
    for kind in ("Deployment", "Service"):
        names = [each["metadata"]["name"] for each in of_kind(objects, kind)]
        if names != [NAME]:
            mistakes.append(f"{kind}: {names} and not {[NAME]}")
    for each in objects:
        if each["metadata"].get("labels", {}).get("app") != NAME:
            mistakes.append(f"{each['kind']} {each['metadata']['name']} lacks the label app={NAME}")
    labels = deployment(objects)["spec"]["template"]["metadata"].get("labels", {})
    return mistakes + unlike({"app": NAME}, labels, "labels of the pod")


def _deployment(objects):
    spec = deployment(objects)["spec"]
    mistakes = unlike({"replicas": 1}, spec, "Deployment")
    # It cannot be changed in a Deployment that is there already.
    mistakes += unlike({"matchLabels": {"app": NAME}}, spec["selector"], "Deployment.selector")
    return mistakes + unlike({"type": "Recreate"}, spec["strategy"], "Deployment.strategy")


def _pod(objects):
    spec = pod(objects)
    mistakes = unlike({"enableServiceLinks": False, "automountServiceAccountToken": False}, spec, "pod")
    mistakes += unlike({"runAsNonRoot": True, "runAsUser": 10001}, spec.get("securityContext", {}), "pod.securityContext")
    accounts = [each["metadata"]["name"] for each in of_kind(objects, "ServiceAccount")]
    if spec.get("serviceAccountName") not in accounts:
        mistakes.append(f"the ServiceAccount {spec.get('serviceAccountName')} is not there")
    if spec.get("initContainers"):
        mistakes.append("an init container keeps the daemon from saying what is wrong")
    return mistakes


def _container(objects):
    found = container(objects)
    mistakes = unlike({"args": ["server"]}, found, "container")
    if "command" in found:
        mistakes.append("the command of the image is replaced")
    image = found["image"].rpartition(":")
    if image[0].rpartition("/")[2] != "clickhouse-backupd" or image[2] != version():
        mistakes.append(f"the image is {found['image']}, and this is clickhouse-backupd:{version()}")
    if found["ports"] != [{"name": "http", "containerPort": PORT}]:
        mistakes.append(f"ports are {found['ports']}")
    for probe, path in (("startupProbe", "/livez"), ("readinessProbe", "/readyz"), ("livenessProbe", "/livez")):
        mistakes += unlike({"path": path, "port": "http"}, found.get(probe, {}).get("httpGet", {}), probe)
    wanted = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    mistakes += unlike(wanted, found.get("securityContext", {}), "container.securityContext")
    for key in ("requests", "limits"):
        if "memory" not in found.get("resources", {}).get(key, {}):
            mistakes.append(f"resources.{key} has no memory")
    return mistakes


def _service(objects):
    mistakes = []
    for each in of_kind(objects, "Service"):
        spec = each["spec"]
        mistakes += unlike({"selector": {"app": NAME}, "type": "ClusterIP"}, spec, "Service")
        mistakes += unlike({"name": "http", "port": PORT, "targetPort": "http"}, spec["ports"][0], "Service.ports[0]")
    return mistakes


def _state(objects):
    """The memory is on a volume that stays, or comes back from the destination."""
    volumes = {each["name"]: each for each in pod(objects)["volumes"]}
    mounts = {each["name"]: each for each in container(objects)["volumeMounts"]}
    mistakes = [f"the volume {name} is not there" for name in mounts if name not in volumes]
    mistakes += [f"the volume {name} is not mounted" for name in volumes if name not in mounts]
    if "state" not in volumes or mounts.get("state", {}).get("mountPath") != "/var/lib/clickhouse-backupd":
        return mistakes + ["nothing is mounted at /var/lib/clickhouse-backupd"]
    has_view = "url" in tomllib.loads(config_toml(objects)).get("destination", {})
    claim = volumes["state"].get("persistentVolumeClaim", {}).get("claimName")
    claims = [each["metadata"]["name"] for each in of_kind(objects, "PersistentVolumeClaim")]
    if claim and claim not in claims:
        mistakes.append(f"the claim {claim} is not there")
    if not has_view and not claim:
        mistakes.append("without destination.url the state lies in an emptyDir, and is lost with the pod")
    for each in of_kind(objects, "PersistentVolumeClaim"):
        if each["metadata"].get("annotations", {}).get("kustomize.toolkit.fluxcd.io/prune") != "disabled":
            mistakes.append(f"Flux would remove the claim {each['metadata']['name']} with the application")
    return mistakes


def _secrets(objects):
    """Every Secret that the pod reads is made, with that key."""
    keys = secrets_made(objects)
    read = []
    for variable in container(objects).get("env", []):
        reference = variable.get("valueFrom", {}).get("secretKeyRef")
        if reference:
            read.append((reference["name"], reference["key"]))
    for volume in pod(objects)["volumes"]:
        secret = volume.get("secret")
        if secret:
            read += [(secret["secretName"], item["key"]) for item in secret.get("items", [{"key": None}])]
    mistakes = []
    for name, key in read:
        if name not in keys or (key and key not in keys[name]):
            mistakes.append(f"nothing makes {name} with {key}")
    unused = set(keys) - {name for name, _ in read}
    return mistakes + [f"nothing reads the Secret {name}" for name in unused]


def secrets_made(objects):
    """Keys of the Secrets that operators make, or, where there are none, the reader of docs/deploy.md."""
    external = of_kind(objects, "ExternalSecret")
    return {
        each["spec"]["target"]["name"]: {data["secretKey"] for data in each["spec"]["data"]} for each in external
    } or page.secrets_made()


def secret_files(objects):
    """Paths of the files with secrets that the container sees."""
    items = {}
    keys = secrets_made(objects)
    for volume in pod(objects)["volumes"]:
        secret = volume.get("secret")
        if secret and "items" in secret:
            items[volume["name"]] = [item["path"] for item in secret["items"]]
        elif secret:
            items[volume["name"]] = keys.get(secret["secretName"], [])
    mounts = container(objects)["volumeMounts"]
    return {f"{mount['mountPath']}/{path}" for mount in mounts for path in items.get(mount["name"], [])}


def _config(objects):
    """An edit of the ConfigMap arrives: its name never changes, and it is mounted as a folder."""
    mistakes = []
    if not config_toml(objects):
        mistakes.append(f"there is no ConfigMap {CONFIG} with config.toml")
    volumes = [each["name"] for each in pod(objects)["volumes"] if each.get("configMap", {}).get("name") == CONFIG]
    mounts = [each for each in container(objects)["volumeMounts"] if each["name"] in volumes]
    if [each["mountPath"] for each in mounts] != ["/etc/clickhouse-backupd"]:
        mistakes.append(f"the ConfigMap {CONFIG} is not mounted at /etc/clickhouse-backupd")
    for each in container(objects)["volumeMounts"]:
        if "subPath" in each or "subPathExpr" in each:
            mistakes.append(f"{each['mountPath']} is mounted by subPath, and never sees an edit")
    return mistakes


def _network(objects):
    """What the daemon needs passes, and its port is reached by whom it is for."""
    policies = of_kind(objects, "NetworkPolicy")
    if not policies:
        return ["there is no NetworkPolicy"]
    spec = policies[0]["spec"]
    mistakes = unlike({"podSelector": {"matchLabels": {"app": NAME}}}, spec, "NetworkPolicy")
    mistakes += unlike({"policyTypes": ["Ingress", "Egress"]}, spec, "NetworkPolicy")
    for rule in spec["ingress"]:
        if not rule.get("from"):
            mistakes.append("an ingress rule lets everybody in")
        if [each["port"] for each in rule["ports"]] != ["http"]:
            mistakes.append("an ingress rule is not about the port http")
    out = {(each.get("protocol", "TCP"), each["port"]) for rule in spec["egress"] for each in rule.get("ports", [])}
    wanted = {("UDP", 53), ("TCP", 53), ("TCP", 8123)}
    endpoint = tomllib.loads(config_toml(objects)).get("destination", {}).get("s3", {}).get("endpoint", "")
    if endpoint.startswith("https://"):
        wanted.add(("TCP", 443))
    return mistakes + [f"egress to {protocol} {port} is not allowed" for protocol, port in sorted(wanted - out)]


def _monitoring(objects):
    mistakes = []
    ports = {port["name"] for each in of_kind(objects, "Service") for port in each["spec"]["ports"]}
    for each in of_kind(objects, "ServiceMonitor"):
        if each["spec"]["selector"]["matchLabels"] != {"app": NAME}:
            mistakes.append("the ServiceMonitor selects something else")
        for endpoint in each["spec"]["endpoints"]:
            mistakes += unlike({"path": "/metrics"}, endpoint, "ServiceMonitor")
            if endpoint["port"] not in ports:
                mistakes.append(f"the Service has no port {endpoint['port']}")
    dashboards = [
        each for each in of_kind(objects, "ConfigMap") if each["metadata"]["labels"].get("grafana_dashboard") == "1"
    ]
    if [each["metadata"]["name"] for each in dashboards] != ["clickhouse-backup-dashboard"]:
        mistakes.append("there is no ConfigMap clickhouse-backup-dashboard with the label grafana_dashboard")
    for each in dashboards:
        if len(json.dumps(each)) > APPLIED_BYTES_MAX:
            mistakes.append(f"{each['metadata']['name']} is too large for kubectl apply")
        for text in each["data"].values():
            json.loads(text)
    return mistakes


def _flux(objects):
    """Flux puts values in the place of ${…} wherever it is not told to let be."""
    return [
        f"{each['kind']} {each['metadata']['name']} has ${{…}}, and lacks the annotation {SUBSTITUTE}: disabled"
        for each in objects
        if "${" in json.dumps(each) and each["metadata"].get("annotations", {}).get(SUBSTITUTE) != "disabled"
    ]


def flux_mistakes():
    objects = flux_objects()
    if [each["kind"] for each in objects] != ["Kustomization"]:
        return [f"{FLUX} has {len(objects)} objects"]
    spec = objects[0]["spec"]
    mistakes = unlike({"prune": True, "wait": True, "dependsOn": [{"name": "clickhouse"}]}, spec, "Kustomization")
    if not (KUBERNETES / spec["path"] / "kustomization.yaml").exists():
        mistakes.append(f"{spec['path']} is no folder with a kustomization")
    if spec["path"].removeprefix("./") not in KUSTOMIZATIONS:
        mistakes.append(f"{spec['path']} is not checked")
    return mistakes


def generated_mistakes():
    """The copies of dashboards/ in the base are what `generate` makes of it today."""
    base = KUBERNETES / KUSTOMIZATIONS[0]
    with tempfile.TemporaryDirectory() as folder:
        code, _, error = run([KUBERNETES / "generate", folder])
        if code:
            return [error.strip()]
        made = sorted(Path(folder).iterdir())
        return [
            f"{file.name} is not what dashboards/ gives: run deploy/kubernetes/generate"
            for file in made
            if not (base / file.name).exists() or (base / file.name).read_bytes() != file.read_bytes()
        ] or ([] if made else ["generate made nothing"])
