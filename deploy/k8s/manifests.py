"""Reads a kustomize base or overlay and says where it asks for what the binaries do not accept: flags, settings, ports, probes, metric paths, folders.

Settings come from `--print-config` of the real binaries with the real configuration files; probe and metric paths are fetched from them.
"""

import copy
import os
import pathlib
import re
import subprocess
import tempfile
import urllib.error
import urllib.request

import yaml

PODS = {"StatefulSet", "Deployment"}


class Base:
    """The manifests and configuration files of one folder, and of those that it builds on."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.kustomization = self._load("kustomization.yaml")[0]
        resources = self.kustomization.get("resources", [])
        self.bases = [Base(self.folder / name) for name in resources if (self.folder / name).is_dir()]
        self.objects = [o for base in self.bases for o in base.objects]
        self.objects += [o for name in resources if not (self.folder / name).is_dir() for o in self._load(name)]
        self.patches_nothing = []
        for patch in self.kustomization.get("patches", []):
            self._patch(patch)

    def _load(self, name):
        with open(self.folder / name, encoding="utf-8") as file:
            return [o for o in yaml.safe_load_all(file) if o is not None]

    def _patch(self, patch):
        """JSON patches (RFC 6902) of one object, and the deletion of one; kustomize has more kinds, which nothing here needs."""
        (content,) = self._load(patch["path"])
        target = patch.get("target") or {"kind": content["kind"], "name": content["metadata"]["name"]}
        patched = self.named(target["kind"], target["name"])
        if patched is None:
            self.patches_nothing.append(f"{target['kind']} {target['name']}")
        elif isinstance(content, dict):
            if content.get("$patch") != "delete":
                raise ValueError(f"{patch['path']}: neither a JSON patch nor a deletion")
            self.objects.remove(patched)
        else:
            for operation in content:
                apply_operation(patched, operation)

    def of_kind(self, *kinds):
        return [o for o in self.objects if o["kind"] in kinds]

    def named(self, kind, name):
        return next((o for o in self.of_kind(kind) if o["metadata"]["name"] == name), None)

    def config_file(self, config_map, key):
        """The file that a generated ConfigMap has under `key`, or None."""
        for generator in self.kustomization.get("configMapGenerator", []):
            if generator["name"] != config_map:
                continue
            for entry in generator.get("files", []):
                name, _, path = entry.rpartition("=")
                if (name or os.path.basename(path)) == key and (self.folder / path).is_file():
                    return self.folder / path
        found = (base.config_file(config_map, key) for base in self.bases)
        return next((file for file in found if file), None)

    def replaces_nothing(self):
        below = {g["name"] for base in self.bases for g in base.kustomization.get("configMapGenerator", [])}
        return [g["name"] for g in self.kustomization.get("configMapGenerator", [])
                if g.get("behavior") in ("replace", "merge") and g["name"] not in below]

    def unlisted(self):
        """Manifests that lie in the folder and that kustomize would not apply."""
        known = set(self.kustomization.get("resources", [])) | {"kustomization.yaml"}
        known |= {patch["path"] for patch in self.kustomization.get("patches", [])}
        return sorted(p.name for p in self.folder.glob("*.yaml") if p.name not in known)


def apply_operation(document, operation):
    """One operation of a JSON patch: test, add, replace or remove."""
    *folders, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
    for part in folders:
        document = document[int(part) if isinstance(document, list) else part]
    if isinstance(document, list) and last != "-":
        last = int(last)
    op = operation["op"]
    if op == "test" and document[last] != operation["value"]:
        raise ValueError(f"{operation['path']} is {document[last]}, not {operation['value']}")
    if op in ("replace", "remove"):
        document[last]  # It must be there.
    if op == "remove":
        del document[last]
    elif op == "add" and isinstance(document, list):
        document.insert(len(document) if last == "-" else last, copy.deepcopy(operation["value"]))
    elif op in ("add", "replace"):
        document[last] = copy.deepcopy(operation["value"])
    elif op != "test":
        raise ValueError(f"unknown operation {op}")


def is_ours(manifest):
    """Whether a workload runs a program of Sluice; else it serves a model."""
    return "command" in manifest["spec"]["template"]["spec"]["containers"][0]


def check(folder, binaries):
    """A list of complaints; empty if the binaries accept all that the manifests ask for."""
    base = Base(folder)
    complaints = [f"{name}: is not among the resources of kustomization.yaml" for name in base.unlisted()]
    complaints += [f"ConfigMap {name}: is not in the base that it replaces it of" for name in base.replaces_nothing()]
    complaints += [f"{name}: is patched, and there is none" for name in base.patches_nothing]
    workloads = [(Workload if is_ours(o) else Embedder)(base, o, binaries) for o in base.of_kind(*PODS)]
    for workload in workloads:
        complaints += [f"{workload.name}: {c}" for c in workload.check()]
    for service in base.of_kind("Service"):
        complaints += [f"Service {service['metadata']['name']}: {c}" for c in check_service(service, workloads)]
    for workload in workloads:
        complaints += [f"{workload.name}: {c}" for c in workload.check_addresses(workloads)]
    return complaints


def check_service(service, workloads):
    spec = service["spec"]
    if spec.get("clusterIP") != "None":
        yield "is not headless"
    selected = [w for w in workloads if spec["selector"].items() <= w.pod["metadata"]["labels"].items()]
    if not selected:
        yield "selects no pod"
    for port in spec["ports"]:
        for workload in selected:
            if workload.ports.get(port["targetPort"]) != port["port"]:
                yield f"port {port['port']} is not port {port['targetPort']} of {workload.name}"


class Workload:
    """A StatefulSet or Deployment of one container, and the binary that it runs."""

    def __init__(self, base, manifest, binaries):
        self.base = base
        self.manifest = manifest
        self.name = f"{manifest['kind']} {manifest['metadata']['name']}"
        self.pod = manifest["spec"]["template"]
        (self.container,) = self.pod["spec"]["containers"]
        self.binary = pathlib.Path(binaries) / self.container.get("command", [""])[0]
        self.ports = {p["name"]: p["containerPort"] for p in self.container["ports"]}
        self.volumes = {v["name"]: v for v in self.pod["spec"].get("volumes", [])}
        self.claims = {c["metadata"]["name"] for c in manifest["spec"].get("volumeClaimTemplates", [])}
        self.config = {}

    def check(self):
        if self.container["image"] != "sluice:latest":
            yield f"image {self.container['image']} is not the placeholder sluice:latest"
        yield from self.check_identity()
        yield from self.check_security()
        yield from self.check_volumes()
        if not self.binary.is_file():
            yield f"there is no program {self.binary.name}"
            return
        printed = self.run("--print-config")
        if printed.returncode != 0:
            yield printed.stderr.strip()
            return
        self.config = flatten(yaml.safe_load(printed.stdout))
        yield from self.check_ports()
        yield from self.check_folders()
        yield from self.check_objects()
        yield from self.check_drain()
        yield from self.check_paths()

    def check_identity(self):
        spec = self.manifest["spec"]
        if not spec["selector"]["matchLabels"].items() <= self.pod["metadata"]["labels"].items():
            yield "its selector does not match its pods"
        if self.manifest["kind"] == "StatefulSet" and not self.base.named("Service", spec["serviceName"]):
            yield f"serviceName {spec['serviceName']} is no Service"

    def check_security(self):
        pod = self.pod["spec"].get("securityContext", {})
        container = self.container.get("securityContext", {})
        if not pod.get("runAsNonRoot") or not pod.get("runAsUser"):
            yield "may run as root"
        if not container.get("readOnlyRootFilesystem"):
            yield "its root file system is not read-only"
        if container.get("allowPrivilegeEscalation") is not False or container.get("capabilities", {}).get("drop") != ["ALL"]:
            yield "may gain privileges"
        for resource in ("cpu", "memory"):
            if resource not in self.container.get("resources", {}).get("requests", {}):
                yield f"requests no {resource}"

    def check_volumes(self):
        for mount in self.container["volumeMounts"]:
            volume = self.volumes.get(mount["name"])
            if volume is None and mount["name"] not in self.claims:
                yield f"mounts {mount['name']}, which is no volume of its"
            claim = (volume or {}).get("persistentVolumeClaim", {}).get("claimName")
            if claim and not self.base.named("PersistentVolumeClaim", claim):
                yield f"claims {claim}, which there is not"
        for name in set(self.volumes) - {m["name"] for m in self.container["volumeMounts"]}:
            yield f"does not mount its volume {name}"

    def check_ports(self):
        for port, setting in (("grpc", "server.grpc_address"), ("http", "server.http_address")):
            host, _, number = self.config[setting].rpartition(":")
            if host not in ("0.0.0.0", "[::]"):
                yield f"{setting} {self.config[setting]} cannot be reached from outside the pod"
            if int(number) != self.ports.get(port):
                yield f"containerPort {port} is {self.ports.get(port)}, {setting} is {self.config[setting]}"
        scraped = self.pod["metadata"].get("annotations", {}).get("prometheus.io/port")
        if scraped != str(self.ports.get("http")):
            yield f"prometheus.io/port is {scraped}, the http port is {self.ports.get('http')}"

    def paths(self, files):
        """Settings that name files, or folders, with what they name."""
        return {name: value for name, value in self.config.items()
                if isinstance(value, str) and value.startswith("/") and name.endswith("_file") == files}

    def mount_of(self, path):
        return next((m for m in self.container["volumeMounts"] if path == m["mountPath"] or path.startswith(m["mountPath"] + "/")), None)

    def check_folders(self):
        for name, folder in self.paths(files=False).items():
            mount = self.mount_of(folder)
            if mount is None or mount.get("readOnly"):
                yield f"{name} {folder} is on no writable volume"
        for name, file in self.paths(files=True).items():
            mount = self.mount_of(file)
            if mount is None or "secret" not in self.volumes[mount["name"]]:
                yield f"{name} {file} is in no Secret"

    def check_objects(self):
        """Objects are in a folder, or in S3 with a cache that has room."""
        objects = next((value for name, value in self.config.items() if name.endswith(".objects")), "")
        if not objects.startswith("s3://"):
            return
        if not self.config["objects.s3.credentials_file"]:
            yield "has no credentials for its bucket"
        mount = self.mount_of(self.config["objects.cache"])
        limit = self.volumes.get(mount["name"], {}).get("emptyDir", {}).get("sizeLimit") if mount else None
        if limit is None or bytes_of(limit) <= bytes_of(self.config["objects.cache_bytes"]):
            yield f"its cache is on a volume of {limit}, which is no more than objects.cache_bytes"
        if limit != self.container["resources"]["requests"].get("ephemeral-storage"):
            yield f"its cache may take {limit}, which it does not request as ephemeral-storage"

    def check_drain(self):
        grace = self.pod["spec"].get("terminationGracePeriodSeconds", 30)
        if grace * 1000 <= self.config["server.drain_ms"]:
            yield f"terminationGracePeriodSeconds {grace} is not more than server.drain_ms {self.config['server.drain_ms']}"

    def check_paths(self):
        """Fetches from the running program what probes and Prometheus would."""
        paths = {"prometheus.io/path": self.pod["metadata"].get("annotations", {}).get("prometheus.io/path", "/metrics")}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            get = self.container.get(probe, {}).get("httpGet")
            if get is None:
                yield f"has no {probe} with httpGet"
                continue
            if get["port"] != "http":
                yield f"{probe} asks port {get['port']}, not http"
            paths[probe] = get["path"]
        with tempfile.TemporaryDirectory() as folder:
            process = self.start(folder)
            try:
                address = ready_address(process)
                if address is None:
                    yield f"does not start: {process.stderr.read().strip()}"
                    return
                for what, path in paths.items():
                    status = fetch(f"http://{address}{path}")
                    # 503 is an answer: a probe without the rest of the cluster.
                    if status not in (200, 503):
                        yield f"{what} {path} is answered with {status}"
            finally:
                process.kill()
                process.communicate()

    def check_addresses(self, workloads):
        """Other services are named as a Service with the port that they listen on."""
        for name, value in self.others():
            match = re.fullmatch(r"dns:///([a-z0-9-]+):(\d+)", value)
            if not match:
                yield f"{name} {value} is not dns:///SERVICE:PORT"
                continue
            service = self.base.named("Service", match[1])
            ports = {p["name"]: p["port"] for p in service["spec"]["ports"]} if service else {}
            if ports.get("grpc") != int(match[2]):
                yield f"{name} {value} is not the grpc port of a Service"

    def others(self):
        """Settings that name another service, with each name."""
        for name, value in self.config.items():
            if name.endswith("_address") and not name.startswith("server."):
                yield name, value
            if name.endswith(".endpoints"):
                yield from ((name, endpoint.strip()) for endpoint in value.split(","))

    def run(self, *arguments):
        return subprocess.run(self.command() + list(arguments), env=self.environment(), capture_output=True, text=True,
                              timeout=60, check=False)

    def start(self, folder):
        """The program with this configuration, but on free ports and below `folder`, with nobody to talk to."""
        moved = {"server.grpc_address": "127.0.0.1:0", "server.http_address": "127.0.0.1:0"}
        for name in self.config:
            if name.endswith("_address") and not name.startswith("server."):
                moved[name] = "127.0.0.1:1"
        for name, value in self.paths(files=False).items():
            moved[name] = folder + value
            os.makedirs(folder + value)
        for name, value in self.paths(files=True).items():
            moved[name] = folder + value
            os.makedirs(os.path.dirname(folder + value), exist_ok=True)
            pathlib.Path(folder + value).touch()
        environment = {"SLUICE_" + name.upper().replace(".", "_"): value for name, value in moved.items()}
        return subprocess.Popen(self.command(), env={**self.environment(), **environment}, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)

    def command(self):
        """As in the container, with paths of mounted configuration files replaced by those of the files themselves."""
        mounts = {m["mountPath"]: self.volumes.get(m["name"], {}).get("configMap", {}).get("name")
                  for m in self.container["volumeMounts"]}
        arguments = []
        for argument in self.container.get("args", []):
            folder, _, key = argument.rpartition("/")
            file = self.base.config_file(mounts[folder], key) if mounts.get(folder) else None
            arguments.append(str(file or argument))
        return [str(self.binary)] + arguments

    def environment(self):
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}
        return {**inherited, **{e["name"]: e["value"] for e in self.container.get("env", []) if "value" in e}}


class Embedder(Workload):
    """A Deployment of a server of a model, which is none of our programs: what can be said without it."""

    def check(self):
        yield from self.check_identity()
        yield from self.check_security()
        yield from self.check_volumes()
        yield from self.check_gpu()
        yield from self.check_start()

    def check_gpu(self):
        if self.container["resources"].get("limits", {}).get("nvidia.com/gpu") != 1:
            yield "is not limited to one nvidia.com/gpu"
        tolerated = [t for t in self.pod["spec"].get("tolerations", []) if t.get("key") == "nvidia.com/gpu"]
        if not any(t.get("operator") == "Exists" or t.get("value") for t in tolerated):
            yield "does not tolerate the taint of GPU nodes"
        if not any(label.startswith("nvidia.com/gpu") for label in self.pod["spec"].get("nodeSelector", {})):
            yield "is not bound to GPU nodes"

    def check_start(self):
        probe = self.container.get("startupProbe", {})
        if probe.get("periodSeconds", 10) * probe.get("failureThreshold", 3) < 600:
            yield "its startupProbe gives it less than ten minutes to read the weights"
        for name in ("startupProbe", "livenessProbe", "readinessProbe"):
            if self.container.get(name, {}).get("grpc", {}).get("port") != self.ports.get("grpc"):
                yield f"has no {name} by gRPC on its port"
        if {e["name"]: e.get("value") for e in self.container.get("env", [])}.get("HF_HUB_OFFLINE") != "1":
            yield "may fetch weights at start: HF_HUB_OFFLINE is not 1"
        arguments = self.container["args"]
        mounts = [m["mountPath"] for m in self.container["volumeMounts"]
                  if "persistentVolumeClaim" in self.volumes.get(m["name"], {})]
        model = arguments[arguments.index("--model-id") + 1] if "--model-id" in arguments else ""
        if not any(model.startswith(mount + "/") for mount in mounts):
            yield f"its model {model} is on no claimed volume"
        for flag, port in (("--port", "grpc"), ("--prometheus-port", "http")):
            if flag not in arguments or arguments[arguments.index(flag) + 1] != str(self.ports.get(port)):
                yield f"{flag} is not the containerPort {port}, {self.ports.get(port)}"


def bytes_of(size):
    """Of a quantity of Kubernetes or a setting of ours: 10Gi, 10GiB, 10737418240."""
    number, unit = re.fullmatch(r"(\d+)([KMGT]?)i?B?", str(size)).groups()
    return int(number) << 10 * " KMGT".index(unit or " ")


def flatten(tree, prefix=""):
    flat = {}
    for key, value in (tree or {}).items():
        flat.update(flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value})
    return flat


def ready_address(process):
    """The HTTP address of a program that says it is ready; None if it ends before."""
    for line in process.stdout:
        if match := re.match(r"ready grpc=\S+ http=(\S+)$", line):
            return match[1]
    return None


def fetch(url):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=30) as reply:
            return reply.status
    except urllib.error.HTTPError as e:
        return e.code
