#!/usr/bin/env python3
"""The base asks for nothing that the binaries do not accept, and a base that does is found out. Arguments: the folder of the binaries."""

import pathlib
import re
import shutil
import sys
import tempfile
import unittest

import manifests

BASE = pathlib.Path(__file__).parent / "base"
GPU = "overlays/gpu"
S3 = "overlays/s3"
BINARIES = sys.argv.pop(1)


class ManifestsTest(unittest.TestCase):
    def complaints_after(self, file, old, new, of="base"):
        """Of a copy of the base (or an overlay) in which `old` (a regular expression) was replaced in one file."""
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(BASE.parent, folder, dirs_exist_ok=True)
            copy = pathlib.Path(folder) / of
            text = (copy / file).read_text()
            changed = re.sub(old, new, text, count=1)
            self.assertNotEqual(text, changed, f"{file} has no {old}")
            (copy / file).write_text(changed)
            return "\n".join(manifests.check(copy, BINARIES))

    def test_the_base_asks_for_nothing_that_the_binaries_do_not_accept(self):
        self.assertEqual(manifests.check(BASE, BINARIES), [])

    def test_the_log_has_one_replica_and_a_volume_of_its_own(self):
        log = manifests.Base(BASE).named("StatefulSet", "sluice-log")
        self.assertEqual(log["spec"]["replicas"], 1)
        self.assertEqual(len(log["spec"]["volumeClaimTemplates"]), 1)

    def test_compactors_and_frontends_share_one_claim_that_many_nodes_may_write(self):
        base = manifests.Base(BASE)
        for name in ("sluice-compactor", "sluice-frontend"):
            volumes = base.named("Deployment", name)["spec"]["template"]["spec"]["volumes"]
            self.assertIn("sluice-objects", [v.get("persistentVolumeClaim", {}).get("claimName") for v in volumes])
        claim = base.named("PersistentVolumeClaim", "sluice-objects")
        self.assertEqual(claim["spec"]["accessModes"], ["ReadWriteMany"])

    def test_an_unknown_flag_is_found(self):
        self.assertIn("--verbose", self.complaints_after("log.yaml", r"args: \[", "args: [--verbose, "))

    def test_an_unknown_program_is_found(self):
        self.assertIn("there is no program sluice-logs", self.complaints_after("log.yaml", r"\[sluice-log\]", "[sluice-logs]"))

    def test_an_unknown_setting_is_found_with_its_line(self):
        self.assertRegex(self.complaints_after("config/log.yaml", r"log_format", "log_farmat"),
                         r"log\.yaml:\d+: server\.log_farmat: no such setting")

    def test_an_unknown_variable_is_found(self):
        self.assertIn("SLUICE_LOG_DATE: no such setting",
                      self.complaints_after("log.yaml", r"( +)ports:", r"\1env: [{name: SLUICE_LOG_DATE, value: x}]\n\1ports:"))

    def test_a_container_port_that_nobody_listens_on_is_found(self):
        self.assertIn("containerPort grpc is 7799", self.complaints_after("log.yaml", r"containerPort: 7701", "containerPort: 7799"))

    def test_a_service_port_that_nobody_listens_on_is_found(self):
        self.assertIn("Service sluice-log: port 7799", self.complaints_after("log.yaml", r"port: 7701\b(?=\n.*targetPort)", "port: 7799"))

    def test_a_server_that_listens_on_loopback_is_found(self):
        self.assertIn("cannot be reached", self.complaints_after("config/frontend.yaml", r"0\.0\.0\.0", "127.0.0.1"))

    def test_a_probe_path_that_does_not_exist_is_found(self):
        self.assertIn("readinessProbe /ready is answered with 404", self.complaints_after("frontend.yaml", "/readyz", "/ready"))

    def test_a_metric_path_that_does_not_exist_is_found(self):
        self.assertIn("prometheus.io/path /metric is answered with 404", self.complaints_after("compactor.yaml", "/metrics", "/metric"))

    def test_a_log_address_that_is_no_service_is_found(self):
        self.assertIn("is not the grpc port of a Service",
                      self.complaints_after("config/compactor.yaml", "sluice-log:7701", "sluice-log:7711"))

    def test_a_folder_outside_the_volumes_is_found(self):
        self.assertIn("is on no writable volume", self.complaints_after("config/log.yaml", "/var/lib/sluice/log", "/srv/log"))

    def test_a_grace_period_shorter_than_the_drain_is_found(self):
        self.assertIn("server.drain_ms", self.complaints_after("log.yaml", "PeriodSeconds: 30", "PeriodSeconds: 20"))

    def test_a_manifest_that_kustomize_would_not_apply_is_found(self):
        self.assertIn("objects.yaml: is not among the resources", self.complaints_after("kustomization.yaml", r" +- objects\.yaml\n", ""))

    def gpu_complaints_after(self, file, old, new):
        return self.complaints_after(file, old, new, GPU)

    def test_the_gpu_overlay_asks_for_nothing_that_the_binaries_do_not_accept(self):
        self.assertEqual(manifests.check(BASE.parent / GPU, BINARIES), [])

    def test_in_the_gpu_overlay_compactors_and_frontends_ask_the_same_embedder(self):
        base = manifests.Base(BASE.parent / GPU)
        configs = [manifests.Workload(base, base.named("Deployment", f"sluice-{name}"), BINARIES) for name in ("compactor", "frontend")]
        printed = [manifests.yaml.safe_load(c.run("--print-config").stdout) for c in configs]
        of_compactor, of_frontend = printed[0]["compactor"]["embedders"]["gpu"], printed[1]["frontend"]["embedders"]["gpu"]
        self.assertEqual(of_compactor["endpoints"], "dns:///sluice-tei:8080")
        for setting in ("protocol", "endpoints"):
            self.assertEqual(of_compactor[setting], of_frontend[setting])

    def test_an_embedder_without_a_gpu_or_a_way_to_its_nodes_is_found(self):
        self.assertIn("one nvidia.com/gpu", self.gpu_complaints_after("tei.yaml", r"nvidia.com/gpu: 1", "nvidia.com/gpu: 2"))
        self.assertIn("does not tolerate", self.gpu_complaints_after("tei.yaml", r"key: nvidia.com/gpu", "key: gpu"))
        self.assertIn("not bound to GPU nodes", self.gpu_complaints_after("tei.yaml", r"nvidia.com/gpu.present", "gpu"))

    def test_an_embedder_that_is_given_too_little_time_or_fetches_its_weights_is_found(self):
        self.assertIn("less than ten minutes", self.gpu_complaints_after("tei.yaml", r"failureThreshold: 360", "failureThreshold: 60"))
        self.assertIn("may fetch weights", self.gpu_complaints_after("tei.yaml", r'value: "1"', 'value: "0"'))
        self.assertIn("on no claimed volume", self.gpu_complaints_after("tei.yaml", r"/weights/model", "some/model"))

    def test_an_embedder_that_is_pinned_to_one_pod_or_not_there_is_found(self):
        self.assertIn("Service sluice-tei: is not headless", self.gpu_complaints_after("tei.yaml", r"  clusterIP: None\n", ""))
        self.assertIn("endpoints dns:///sluice-gpu:8080 is not the grpc port",
                      self.gpu_complaints_after("config/compactor.yaml", "sluice-tei", "sluice-gpu"))
        self.assertIn("has no livenessProbe by gRPC", self.gpu_complaints_after("tei.yaml", r"(livenessProbe:\n +grpc: \{port: )8080", r"\g<1>8081"))

    def test_a_configuration_that_replaces_none_is_found(self):
        self.assertIn("ConfigMap sluice-front", self.gpu_complaints_after("kustomization.yaml", r"name: sluice-frontend", "name: sluice-front"))

    def s3_complaints_after(self, file, old, new):
        return self.complaints_after(file, old, new, S3)

    def test_the_s3_overlay_asks_for_nothing_that_the_binaries_do_not_accept(self):
        self.assertEqual(manifests.check(BASE.parent / S3, BINARIES), [])

    def test_in_the_s3_overlay_compactors_and_frontends_share_a_bucket_and_no_volume(self):
        base = manifests.Base(BASE.parent / S3)
        self.assertIsNone(base.named("PersistentVolumeClaim", "sluice-objects"))
        workloads = [manifests.Workload(base, base.named("Deployment", f"sluice-{name}"), BINARIES) for name in ("compactor", "frontend")]
        printed = [manifests.yaml.safe_load(w.run("--print-config").stdout) for w in workloads]
        self.assertRegex(printed[0]["compactor"]["objects"], "^s3://")
        self.assertEqual(printed[0]["compactor"]["objects"], printed[1]["frontend"]["objects"])
        for setting in ("region", "endpoint", "path_style"):
            self.assertEqual(printed[0]["objects"]["s3"][setting], printed[1]["objects"]["s3"][setting])
        for workload in workloads:
            self.assertEqual(workload.volumes["cache"]["emptyDir"], {"sizeLimit": "30Gi"})
            self.assertEqual(workload.volumes["s3-credentials"]["secret"]["secretName"], "sluice-s3")

    def test_a_cache_without_room_or_outside_its_volume_is_found(self):
        self.assertIn("is no more than objects.cache_bytes", self.s3_complaints_after("config/compactor.yaml", "10GiB", "30GiB"))
        self.assertIn("on a volume of None", self.s3_complaints_after("cache.yaml", r"      sizeLimit: 30Gi\n", "      medium: Memory\n"))
        self.assertIn("objects.cache /srv/cache is on no writable volume",
                      self.s3_complaints_after("config/frontend.yaml", "/var/lib/sluice/cache", "/srv/cache"))
        self.assertIn("does not request as ephemeral-storage", self.s3_complaints_after("cache.yaml", r"value: 30Gi", "value: 1Gi"))

    def test_credentials_that_are_not_there_are_found(self):
        self.assertIn("credentials_file /etc/s3/credentials is in no Secret",
                      self.s3_complaints_after("config/compactor.yaml", "/etc/sluice-s3/", "/etc/s3/"))
        self.assertIn("has no credentials for its bucket",
                      self.s3_complaints_after("config/frontend.yaml", r" +credentials_file: .*\n", ""))
        self.assertIn("does not mount its volume s3-credentials",
                      self.s3_complaints_after("cache.yaml", r"(?s)- op: add\n  path: \S+volumeMounts/-.*", ""))

    def test_a_patch_of_something_else_is_found(self):
        self.assertIn("Deployment sluice-front: is patched", self.s3_complaints_after("kustomization.yaml", "name: sluice-frontend}", "name: sluice-front}"))
        with self.assertRaisesRegex(ValueError, "volumes/1/name is objects, not data"):
            self.s3_complaints_after("cache.yaml", "value: objects", "value: data")


if __name__ == "__main__":
    unittest.main()
