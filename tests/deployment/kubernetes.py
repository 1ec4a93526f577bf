"""The manifests of deploy/kubernetes, as a cluster is given them: put together by kubectl itself."""

import subprocess
from functools import cache
from typing import Any

import yaml  # type: ignore[import-untyped]

from tests.deployment.tools import tools
from tests.readme import ROOT

FOLDER = ROOT / "deploy" / "kubernetes"
OVERLAYS = ("base", "own-letta", "several")
SECRET = "secret.example.yaml"
# The files that kubectl puts together.
PARTS = {
    "base/autoscaler.yaml",
    "base/deployment.yaml",
    "base/disruption-budget.yaml",
    "base/gateway.toml",
    "base/kustomization.yaml",
    "base/network-policy.yaml",
    "base/service.yaml",
    "own-letta/gateway.toml",
    "own-letta/kustomization.yaml",
    "own-letta/models.yaml",
    "own-letta/one-pod.yaml",
    "own-letta/state.yaml",
    "several/address.yaml",
    "several/any-pod.yaml",
    "several/gateway.toml",
    "several/kustomization.yaml",
    "several/redis.yaml",
}
Manifest = dict[str, Any]


@cache
def rendered(overlay: str) -> str:
    command = [str(tools() / "kubectl"), "kustomize", str(FOLDER / overlay)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def manifests(overlay: str, of: str = "letta-gateway") -> dict[str, Manifest]:
    """Those of the gateway, or of what has another name, by their kinds, of which each comes once."""
    found = [one for one in yaml.safe_load_all(rendered(overlay)) if one["metadata"]["name"] == of]
    by_kind = {one["kind"]: one for one in found}
    assert len(by_kind) == len(found)
    return by_kind


def pod(overlay: str) -> Manifest:
    """What a pod of the gateway is."""
    spec: Manifest = manifests(overlay)["Deployment"]["spec"]["template"]["spec"]
    return spec


def container(overlay: str) -> Manifest:
    (one,) = pod(overlay)["containers"]
    found: Manifest = one
    return found
