"""The manifests of Kubernetes: put together by kubectl, and held to the schemas of Kubernetes, without a cluster."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml  # type: ignore[import-untyped]

from gateway.commands.check_shared import RIGHTS
from gateway.configuration import load
from gateway.settings import Server, Settings
from tests.deployment.kubernetes import FOLDER, OVERLAYS, PARTS, SECRET, Manifest, container, manifests, pod, rendered
from tests.deployment.tools import tools
from tests.readme import ROOT

LABELS = {"app.kubernetes.io/name": "letta-gateway"}
# The oldest that knows all fields, and the newest whose schemas there are.
VERSIONS = ("1.30.0", "1.37.0")
DRAIN_SECONDS, LETTA_SECONDS = Server().drain_seconds, 10


def secret() -> Manifest:
    found: Manifest = yaml.safe_load((FOLDER / SECRET).read_text(encoding="utf-8"))
    return found


def settings(overlay: str, directory: Path) -> Settings:
    """What the gateway reads in a pod, as its arguments tell it where."""
    text = manifests(overlay)["ConfigMap"]["data"]["gateway.toml"]
    (directory / "gateway.toml").write_text(text)
    environ: dict[str, str] = dict(secret()["stringData"])
    for variable in container(overlay).get("env", []):
        if "value" in variable:
            environ[variable["name"]] = re.sub(r"\$\((\w+)\)", lambda named: environ[named[1]], variable["value"])
    return load(directory / "gateway.toml", environ)


def problems(text: str, version: str, directory: Path) -> str:
    """What Kubernetes of that version does not know, or want, in manifests."""
    file = directory / "manifests.yaml"
    file.write_text(text)
    command = [str(tools() / "kubernetes-validate"), "--strict", "--quiet", "--kubernetes-version", version]
    done = subprocess.run([*command, str(file)], capture_output=True, text=True)
    return done.stdout + done.stderr if done.returncode else ""


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubernetes_knows_every_field(overlay: str, version: str, tmp_path: Path) -> None:
    assert problems(rendered(overlay), version, tmp_path) == ""
    assert problems((FOLDER / SECRET).read_text(encoding="utf-8"), version, tmp_path) == ""


@pytest.mark.parametrize(
    ("right", "wrong"), [("failureThreshold", "failuresThreshold"), ("containerPort: 8000", "containerPort: eight")]
)
def test_a_field_that_kubernetes_does_not_know_is_found(right: str, wrong: str, tmp_path: Path) -> None:
    assert wrong.partition(":")[0] in problems(rendered("base").replace(right, wrong), VERSIONS[-1], tmp_path)


def test_every_file_is_part_of_what_is_applied_but_the_example_of_a_secret() -> None:
    files = {str(file.relative_to(FOLDER)) for file in FOLDER.rglob("*.*") if file.suffix != ".md"}

    assert files == {*PARTS, SECRET}
    assert all("Secret" not in manifests(overlay) for overlay in OVERLAYS)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_gateway_reads_its_configuration(overlay: str, tmp_path: Path) -> None:
    read = settings(overlay, tmp_path)
    ports = {port["name"]: port["containerPort"] for port in container(overlay)["ports"]}

    assert (read.server.host, read.metrics.host) == ("0.0.0.0", "0.0.0.0")
    assert ports == {"http": read.server.port, "metrics": read.metrics.port}
    assert read.letta.kind == {"base": "rest", "own-letta": "embedded", "several": "rest"}[overlay]
    assert bool(read.shared.url) == (overlay == "several")
    assert len(read.keys) == 1


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_configuration_is_mounted_where_it_is_read_so_that_changes_arrive(overlay: str) -> None:
    arguments = container(overlay)["args"]
    (mount,) = (one for one in container(overlay)["volumeMounts"] if one["name"] == "configuration")
    (volume,) = (one for one in pod(overlay)["volumes"] if one["name"] == "configuration")
    file = Path(arguments[arguments.index("--config") + 1])

    assert "--watch" in arguments
    assert str(file.parent) == mount["mountPath"]
    assert "subPath" not in mount
    assert volume["configMap"]["name"] == manifests(overlay)["ConfigMap"]["metadata"]["name"] == "letta-gateway"
    assert file.name in manifests(overlay)["ConfigMap"]["data"]
    assert container(overlay)["envFrom"] == [{"secretRef": {"name": secret()["metadata"]["name"]}}]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_every_selector_means_the_pods_of_the_gateway(overlay: str) -> None:
    deployment = manifests(overlay)["Deployment"]["spec"]
    selectors = [*selected(manifests(overlay))]

    assert deployment["template"]["metadata"]["labels"] == LABELS
    assert len(selectors) == {"base": 5, "own-letta": 4, "several": 5}[overlay]
    assert selectors == [LABELS] * len(selectors)


def selected(by_kind: dict[str, Manifest]) -> Iterator[Any]:
    yield by_kind["Deployment"]["spec"]["selector"]["matchLabels"]
    yield by_kind["Service"]["spec"]["selector"]
    yield by_kind["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"]
    for spread in by_kind["Deployment"]["spec"]["template"]["spec"]["topologySpreadConstraints"]:
        yield spread["labelSelector"]["matchLabels"]
    if budget := by_kind.get("PodDisruptionBudget"):
        yield budget["spec"]["selector"]["matchLabels"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_pod_has_no_rights_and_writes_to_its_volumes_alone(overlay: str) -> None:
    for_all, own = pod(overlay)["securityContext"], container(overlay)["securityContext"]

    assert (for_all["runAsNonRoot"], for_all["runAsUser"], for_all["seccompProfile"]["type"]) == (
        True,
        10001,
        "RuntimeDefault",
    )
    assert own == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod(overlay)["automountServiceAccountToken"] is False


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_pod_ends_after_its_answers_and_is_asked_by_the_right_paths(overlay: str) -> None:
    one = container(overlay)
    sleep = one["lifecycle"]["preStop"]["sleep"]["seconds"]
    probes = {name: one[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")}

    assert pod(overlay)["terminationGracePeriodSeconds"] >= sleep + DRAIN_SECONDS + LETTA_SECONDS
    assert probes == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}


def test_a_new_pod_is_ready_before_an_old_one_goes_and_nodes_can_be_emptied() -> None:
    base = manifests("base")

    assert base["Deployment"]["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert "replicas" not in base["Deployment"]["spec"]
    assert base["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"] == base["Deployment"]["metadata"]["name"]
    assert (
        base["HorizontalPodAutoscaler"]["spec"]["minReplicas"] > base["PodDisruptionBudget"]["spec"]["maxUnavailable"]
    )
    assert base["Service"]["spec"]["sessionAffinity"] == "ClientIP"


def test_a_letta_of_its_own_has_one_pod_with_a_volume() -> None:
    own = manifests("own-letta")
    (data,) = (one for one in pod("own-letta")["volumes"] if one["name"] == "data")

    assert own.keys() & {"HorizontalPodAutoscaler", "PodDisruptionBudget"} == set()
    assert own["Deployment"]["spec"]["replicas"] == 1
    assert own["Deployment"]["spec"]["strategy"] == {"type": "Recreate"}
    assert data["persistentVolumeClaim"]["claimName"] == own["PersistentVolumeClaim"]["metadata"]["name"]
    assert own["PersistentVolumeClaim"]["spec"]["accessModes"] == ["ReadWriteOncePod"]
    assert "/data" in container("own-letta")["args"]


def test_several_gateways_share_a_redis_that_nobody_else_reaches(tmp_path: Path) -> None:
    redis = manifests("several", "letta-gateway-redis")
    pods, policy = redis["StatefulSet"]["spec"], redis["NetworkPolicy"]["spec"]
    (one,) = pods["template"]["spec"]["containers"]
    labels = {"app.kubernetes.io/name": "letta-gateway-redis"}
    url = settings("several", tmp_path).shared.url
    assert url
    address = urlsplit(url.reveal())

    assert (address.hostname, address.port) == (redis["Service"]["metadata"]["name"], one["ports"][0]["containerPort"])
    last = manifests("several")["NetworkPolicy"]["spec"]["egress"][-1]
    assert last["to"] == [{"podSelector": {"matchLabels": labels}}]
    assert policy["ingress"] == [{"from": [{"podSelector": {"matchLabels": LABELS}}], "ports": [{"port": "redis"}]}]
    assert "egress" not in policy
    assert pods["selector"]["matchLabels"] == pods["template"]["metadata"]["labels"] == labels
    assert redis["Service"]["spec"]["selector"] == policy["podSelector"]["matchLabels"] == labels
    assert one["securityContext"] == container("base")["securityContext"]
    assert pods["template"]["spec"]["securityContext"]["runAsNonRoot"]
    assert pods["volumeClaimTemplates"][0]["metadata"]["name"] == one["volumeMounts"][0]["name"]
    assert manifests("several")["Service"]["spec"]["sessionAffinity"] == "None"
    assert manifests("several").keys() >= {"PodDisruptionBudget", "HorizontalPodAutoscaler"}


def test_redis_is_told_the_same_by_an_engine_and_by_a_cluster() -> None:
    pods = manifests("several", "letta-gateway-redis")["StatefulSet"]["spec"]["template"]["spec"]
    (told,) = pods["containers"][0]["args"]
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    (script,) = compose["services"]["redis"]["command"]
    own = (":", "maxmemory ")
    here, there = ({each for each in text.splitlines() if not each.startswith(own)} for text in (told, script))

    assert here == {each.replace("$$", "$") for each in there}
    assert f"{{letta-gateway}}:* {RIGHTS}" in told


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_network_s_rules_name_ports_that_there_are(overlay: str) -> None:
    policy = manifests(overlay)["NetworkPolicy"]["spec"]
    named = {port["port"] for rule in policy["ingress"] for port in rule["ports"]}

    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert named == {port["name"] for port in container(overlay)["ports"]}
    assert all("from" in rule for rule in policy["ingress"])
    assert all("to" in rule for rule in policy["egress"])


def test_no_secret_is_written_down() -> None:
    values = secret()["stringData"].values()
    texts = [rendered(overlay) for overlay in OVERLAYS]

    assert set(values) == {"change-me"}
    assert [found for text in texts for found in re.findall(r"^\s*(?:api_)?key = \"(?!\$\{)", text, re.MULTILINE)] == []
