"""The checks themselves: each must see the mistake that it is there for.

Usage: .cache/deploy/bin/python -m unittest discover -s tests/deploy, with BINARY naming a
clickhouse-backupd. Where a tool is missing, what needs it is skipped here; check.py tells of it.
"""

import copy
import os
import tempfile
import unittest
from pathlib import Path

import alongside
import database
import environment
import image
import manifests
import page
import rights
import schemas
from tools import Missing

BINARY = Path(os.environ.get("BINARY", "target/debug/clickhouse-backupd")).resolve()


def finds(check, *arguments):
    try:
        return check(*arguments)
    except Missing as missing:
        raise unittest.SkipTest(str(missing))


class Manifests(unittest.TestCase):
    def setUp(self):
        self.objects = copy.deepcopy(finds(manifests.render, "flux-apps/clickhouse-backup"))

    def is_seen(self, part, check=manifests.object_mistakes):
        found = finds(check, self.objects)
        self.assertTrue(any(part in each for each in found), found)

    def test_what_is_right_is_right(self):
        self.assertEqual(manifests.object_mistakes(self.objects), [])

    def test_names_and_labels_of_before(self):
        manifests.deployment(self.objects)["metadata"]["name"] = "clickhouse-backupd"
        self.is_seen("Deployment: ['clickhouse-backupd']")
        manifests.of_kind(self.objects, "Service")[0]["spec"]["ports"][0]["port"] = 80
        self.is_seen("Service.ports[0].port")
        del manifests.of_kind(self.objects, "Service")[0]["metadata"]["labels"]["app"]
        self.is_seen("Service clickhouse-backup lacks the label")
        self.objects[0]["metadata"]["namespace"] = "default"
        self.is_seen("is in the namespace default")

    def test_a_selector_that_cannot_be_changed(self):
        labels = manifests.deployment(self.objects)["spec"]["selector"]["matchLabels"]
        labels["app.kubernetes.io/name"] = "clickhouse-backupd"
        self.is_seen("Deployment.selector.matchLabels")

    def test_two_at_once(self):
        manifests.deployment(self.objects)["spec"]["strategy"] = {"type": "RollingUpdate"}
        self.is_seen("Deployment.strategy.type")
        manifests.deployment(self.objects)["spec"]["replicas"] = 2
        self.is_seen("Deployment.replicas")

    def test_rights(self):
        manifests.container(self.objects)["securityContext"]["readOnlyRootFilesystem"] = False
        self.is_seen("readOnlyRootFilesystem")
        del manifests.pod(self.objects)["enableServiceLinks"]
        self.is_seen("enableServiceLinks")

    def test_an_edit_that_never_arrives(self):
        manifests.container(self.objects)["volumeMounts"][0]["subPath"] = "config.toml"
        self.is_seen("subPath")
        for each in manifests.of_kind(self.objects, "ConfigMap"):
            each["metadata"]["name"] += "-5f6c8k"
        self.is_seen("there is no ConfigMap clickhouse-backup-config")

    def test_a_dashboard_that_flux_would_empty(self):
        for each in manifests.of_kind(self.objects, "ConfigMap"):
            each["metadata"].pop("annotations", None)
            each["data"] = {**each["data"], "more.json": '"${datasource}"'}
        self.is_seen("lacks the annotation")

    def test_a_memory_that_is_lost(self):
        for each in manifests.of_kind(self.objects, "ConfigMap"):
            if "config.toml" in each["data"]:
                each["data"]["config.toml"] = '[destination]\ndisk = "s3_backup"\n'
        self.is_seen("lost with the pod")

    def test_secrets_that_nobody_makes(self):
        manifests.of_kind(self.objects, "ExternalSecret")[1]["spec"]["data"].pop()
        self.is_seen("nothing makes clickhouse-backup-secrets with CLICKHOUSE_PASSWORD")
        self.objects = [each for each in self.objects if each["kind"] != "ExternalSecret"]
        self.assertEqual(manifests.object_mistakes(self.objects), [])
        manifests.container(self.objects)["env"][0]["valueFrom"]["secretKeyRef"]["key"] = "HOST"
        self.is_seen("nothing makes clickhouse-backup-secrets with HOST")

    def test_a_network_that_is_shut(self):
        manifests.of_kind(self.objects, "NetworkPolicy")[0]["spec"]["egress"].pop()
        self.is_seen("egress to TCP 443")
        manifests.of_kind(self.objects, "NetworkPolicy")[0]["spec"]["ingress"][0].pop("from")
        self.is_seen("lets everybody in")

    def test_a_monitor_of_something_else(self):
        manifests.of_kind(self.objects, "ServiceMonitor")[0]["spec"]["endpoints"][0]["port"] = "metrics"
        self.is_seen("the Service has no port metrics")

    def test_keys_that_kubernetes_does_not_know(self):
        manifests.container(self.objects)["imagePullPollicy"] = "Always"
        self.is_seen("imagePullPollicy", schemas.built_in_mistakes)
        self.is_seen("imagePullPollicy", schemas.published_mistakes)

    def test_keys_and_values_that_operators_do_not_know(self):
        manifests.of_kind(self.objects, "ServiceMonitor")[0]["spec"]["endpoints"][0]["intervall"] = "30s"
        self.is_seen("intervall", schemas.published_mistakes)
        manifests.of_kind(self.objects, "ExternalSecret")[0]["spec"]["refreshInterval"] = 1
        self.is_seen("refreshInterval", schemas.published_mistakes)
        self.objects = [{"apiVersion": "monitoring.coreos.com/v1", "kind": "ServiceMonitors", "metadata": {"name": "x"}}]
        self.is_seen("no schema", schemas.published_mistakes)

    def test_variables_and_a_configuration_that_the_daemon_does_not_know(self):
        def check(objects):
            return environment.mistakes_in_manifests(objects, BINARY)

        variables = manifests.container(self.objects)["env"]
        variables.append({"name": "CLICKHOUSE_USER", "value": "x"})
        self.is_seen("does not know the variable CLICKHOUSE_USER", check)
        variables[-1] = {"name": "BACKUPD_CLICKHOUSE__USR", "value": "x"}
        self.is_seen("BACKUPD_CLICKHOUSE__USR", check)
        variables[-1] = {"name": "REMOTE_STORAGE", "value": "s3"}
        self.is_seen("REMOTE_STORAGE", check)
        variables.pop()
        manifests.container(self.objects)["volumeMounts"][1]["mountPath"] = "/secrets"
        self.is_seen("/run/secrets/clickhouse/password is not mounted", check)
        for each in manifests.of_kind(self.objects, "ConfigMap"):
            if "config.toml" in each["data"]:
                each["data"]["config.toml"] += "keep_lasst = 3\n"
        self.is_seen("keep_lasst", check)


class Alongside(unittest.TestCase):
    def test_an_image_that_breaks_a_promise(self):
        text = image.DOCKERFILE.read_text()
        self.assertEqual(image.mistakes(text), [])
        for old, new, part in (
            ("USER 10001:10001", "USER root", "USER"),
            ('CMD ["server"]', 'CMD ["--help"]', "CMD"),
            ("0.0.0.0:7171", "127.0.0.1:7171", "not reachable"),
            ("FROM debian:bookworm-slim", "FROM debian:trixie-slim", "the stages are of"),
            ("rust:1.95", "rust:1.80", "needs Rust"),
            ("COPY src src", "COPY benches src", "not let in"),
        ):
            self.assertIn(old, text)
            found = image.mistakes(text.replace(old, new))
            self.assertTrue(any(part in each for each in found), (new, found))

    def test_a_laptop_that_is_open(self):
        compose = alongside.compose()
        compose["services"]["grafana"]["ports"] = ["3000:3000"]
        compose["services"]["prometheus"]["imagge"] = "x"
        compose["services"]["clickhouse"]["volumes"].append("./nowhere:/x")
        compose["services"]["clickhouse"]["environment"]["S3_BACKUP_ENDPOINT"] = "http://s3:3900/other/"
        found = "\n".join(alongside.compose_mistakes_in(compose))
        for part in ("open to the network", "imagge", "./nowhere is not there", "http://s3:3900/other/"):
            self.assertIn(part, found)

    def test_a_unit_that_is_open_or_misspelt(self):
        text = alongside.UNIT.read_text()
        for old, new, part in (
            ("ProtectHome=", "ProtectHoome=", "ProtectHoome"),
            ("Type=exec", "Type=exceptional", "exceptional"),
            ("ProtectSystem=", "#", "exposure"),
        ):
            self.assertIn(old, text)
            broken = text.replace(old, new)
            if part == "exposure":
                broken = "\n".join(line for line in broken.splitlines() if not line.startswith(("Protect", "System", "Capability")))
            found = finds(alongside.unit_mistakes_in, broken, BINARY)
            self.assertTrue(any(part in each for each in found), (new, found))


class Page(unittest.TestCase):
    def test_a_file_that_was_moved(self):
        text = page.PAGE.read_text()
        self.assertEqual(page.mistakes(text), [])
        self.assertIn("deploy/systemd/other.service is not there", page.mistakes(text + "deploy/systemd/other.service\n"))
        self.assertIn("deploy/image-rooot is not there", page.mistakes(text.replace("`image-root`", "`image-rooot`")))
        self.assertIn("it names nothing any more", page.mistakes("## First"))


class Database(unittest.TestCase):
    def test_a_table_without_a_grant(self):
        text = (database.FOLDER / "backup-user.sql").read_text()
        self.assertEqual(database.grant_mistakes(text), [])
        found = database.grant_mistakes(text.replace("system.disks", "system.discs"))
        self.assertEqual(found, ["no grant to read system.disks"])

    def test_a_statement_that_is_none(self):
        found = finds(database.refused, ["GRANT BACKUPS ON *.* TO x", "GRANT BACKUP ON *.* TO x"])
        self.assertEqual(len(found), 1, found)
        self.assertIn("GRANT BACKUPS", found[0])

    def test_rights_that_are_too_few_or_too_many(self):
        backup = rights.granted("backup-user.sql")
        restore = rights.granted("restore-user.sql")
        self.assertTrue(backup and restore)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            finds(rights.seed, folder)
            few = [each for each in backup if "DISK" not in each]
            with rights.engine(folder, few) as url, rights.Daemon(BINARY, folder, url) as daemon:
                self.assertIn("WRITE ON DISK", rights.backing_up(daemon)[0])
            with rights.engine(folder, backup + restore) as url:
                self.assertIn("may do DROP TABLE shop.customers", rights.allowed(url))


if __name__ == "__main__":
    unittest.main()
