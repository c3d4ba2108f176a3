"""What is in infra/ for containers, against the schemas and against what we promise of it.

No container is started here: compose.yaml is read by compose-spec, every Kubernetes object by
kubernetes-validate, and the rest are our own rules.
"""

import copy
import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from compose_spec import PyCompose

ROOT = Path(__file__).parents[1]
INFRA = ROOT / "infra"
COMPOSE = yaml.safe_load((INFRA / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
FILES = sorted(
    path for path in INFRA.joinpath("kubernetes").rglob("*.yaml") if "kustomization" not in path.name
)  # fmt: skip
OBJECTS = [(path, found) for path in FILES for found in yaml.safe_load_all(path.read_text())]
WORKLOADS = {
    found["metadata"]["name"]: found
    for _, found in OBJECTS
    if found["kind"] in ("Deployment", "Job", "StatefulSet", "DaemonSet", "CronJob")
}
KUBERNETES = "1.37"
WRITER = "tidegate-registry-writer"
PASSWORDS = {"POSTGRES_PASSWORD", "MLFLOW_ADMIN_PASSWORD", "MLFLOW_SECRET_KEY",
             "PREFECT_PASSWORD", "S3_ACCESS_KEY", "S3_SECRET_KEY"}  # fmt: skip


def interpolated(value: Any) -> Any:
    """As compose does it, with every variable that must be set set to a word."""
    if isinstance(value, dict):
        return {name: interpolated(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [interpolated(inner) for inner in value]
    if isinstance(value, str):
        return re.sub(
            r"\$\{(\w+)(?::([-?])([^}]*))?\}", lambda m: m[3] if m[2] == "-" else "word", value
        )
    return value


def read_by_compose(document: Any) -> None:
    PyCompose.from_json(json.dumps(interpolated(document))).validate()


def test_compose_reads_the_file() -> None:
    read_by_compose(COMPOSE)


@pytest.mark.parametrize(
    ("key", "value"),
    [("comand", 1), ("networks", ["nowhere"]), ("ports", ["x:y:z"]), ("user", {"a": 1})],
)
def test_compose_would_refuse_a_mistake(key: str, value: Any) -> None:
    wrong = copy.deepcopy(COMPOSE)
    wrong["services"]["mlflow"][key] = value
    with pytest.raises(ValueError, match=r"\w"):
        read_by_compose(wrong)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_can_do_little(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "privileged" not in service
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["user"] != "0:0" or name == "objects"  # the image of the store wants it
    assert {"cpus", "memory"} <= set(service["deploy"]["resources"]["limits"])
    assert not service["image"].endswith(":latest") and ":" in service["image"]
    once = name in ("bucket", "deploy")
    assert ("healthcheck" in service) is not once
    for port in service.get("ports", []):
        assert port.startswith("127.0.0.1:"), "only the loopback"


def test_no_password_is_in_compose() -> None:
    text = (INFRA / "compose.yaml").read_text()
    asked = set(re.findall(r"\$\{(\w+)", text)) - {"TIDEGATE_DROPS"}
    assert asked == PASSWORDS
    required = set(re.findall(r"\$\{(\w+):\?", text))
    assert required == PASSWORDS, "each is refused when empty, once at least"


def test_only_the_worker_promote_has_the_account_that_writes() -> None:
    holders = {n for n, s in SERVICES.items() if "MLFLOW_TRACKING_PASSWORD" in s["environment"]}
    assert holders == {"worker-promote"}
    assert "registry" not in SERVICES["worker-data"]["networks"]
    assert "home:/var/lib/tidegate:ro" in SERVICES["worker-data"]["volumes"]
    assert SERVICES["worker-data"]["user"] != SERVICES["worker-promote"]["user"]


def test_passwords_are_made_once_and_for_one_reader(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    command = [sys.executable, str(INFRA / "passwords.py"), str(path)]
    subprocess.run(command, check=True, capture_output=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    made = dict(line.split("=") for line in path.read_text().splitlines())
    assert set(made) == PASSWORDS
    assert len(set(made.values())) == len(PASSWORDS)
    again = subprocess.run(command, check=False, capture_output=True, text=True)
    assert again.returncode == 1 and "is there already" in again.stderr
    assert made == dict(line.split("=") for line in path.read_text().splitlines())


def test_the_server_of_mlflow_says_what_is_missing() -> None:
    given = {name: v for name, v in os.environ.items() if not name.startswith("MLFLOW_")}
    command = [sys.executable, str(INFRA / "mlflow_server.py"), "127.0.0.1", "1"]
    done = subprocess.run(command, env=given, check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert "TIDEGATE_MLFLOW_ACCOUNTS" in done.stderr


def test_the_image_has_what_is_run_in_it() -> None:
    """Files that commands and entrypoints name are let through by the ignore file."""
    let_in = (INFRA / "Dockerfile.dockerignore").read_text().split()
    named = {word for s in SERVICES.values() for word in s.get("command", ())}
    named |= {w for o in WORKLOADS.values() for c in containers(o) for w in c["command"]}
    for word in {word for word in named if "infra/" in str(word)}:
        assert f"!{word}" in let_in and (ROOT / word).is_file()
    copied = re.findall(
        r"^COPY (?!--from)(.+) \S+$", (INFRA / "Dockerfile").read_text(), re.MULTILINE
    )
    for name in copied[0].split():
        assert (ROOT / name).is_file() and f"!{name}" in let_in
    for name in let_in:
        if name.startswith("!"):
            assert (ROOT / name[1:]).exists(), name


def containers(found: dict[str, Any]) -> Iterator[dict[str, Any]]:
    pod = found["spec"]["template"]["spec"]
    yield from [*pod["containers"], *pod.get("initContainers", [])]


@pytest.mark.parametrize(
    ("path", "found"), OBJECTS, ids=[f"{f['kind']}-{f['metadata']['name']}" for _, f in OBJECTS]
)
def test_kubernetes_knows_every_field(path: Path, found: dict[str, Any]) -> None:
    kubernetes_validate.validate(found, KUBERNETES, strict=True)
    assert found["kind"] != "Secret", "secrets come from outside"
    assert "namespace" not in found["metadata"], "an overlay says where"


def test_kubernetes_would_refuse_a_mistake() -> None:
    wrong = copy.deepcopy(WORKLOADS["mlflow"])
    wrong["spec"]["template"]["spec"]["containers"][0]["securityContext"]["readOnly"] = True
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, KUBERNETES, strict=True)


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_pod_can_do_little(name: str) -> None:
    pod = WORKLOADS[name]["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    context = pod["securityContext"]
    assert context["runAsNonRoot"] is True and context["runAsUser"] >= 10_000
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    assert not [volume for volume in pod["volumes"] if "hostPath" in volume]
    for container in containers(WORKLOADS[name]):
        own = container["securityContext"]
        assert own["readOnlyRootFilesystem"] is True
        assert own["allowPrivilegeEscalation"] is False
        assert own["capabilities"] == {"drop": ["ALL"]}
        assert set(container["resources"]["limits"]) >= {"cpu", "memory", "ephemeral-storage"}
        assert set(container["resources"]["requests"]) >= {"cpu", "memory"}
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted <= {volume["name"] for volume in pod["volumes"]}
    if WORKLOADS[name]["kind"] == "Deployment":
        (container,) = pod["containers"]
        ports = {port["name"] for port in container["ports"]}
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert container[probe]["httpGet"]["port"] in ports


def secrets_of(found: dict[str, Any]) -> set[str]:
    refs = [ref for c in containers(found) for ref in c.get("envFrom", ())]
    return {ref["secretRef"]["name"] for ref in refs}


def test_only_the_worker_promote_gets_the_account_that_writes() -> None:
    assert {name for name, w in WORKLOADS.items() if WRITER in secrets_of(w)} == {
        "worker-promote"
    }
    mounts = {
        m["name"]: m for c in containers(WORKLOADS["worker-data"]) for m in c["volumeMounts"]
    }
    assert mounts["home"]["readOnly"] is True
    assert mounts["drops"]["readOnly"] is True
    users = {n: w["spec"]["template"]["spec"]["securityContext"]["runAsUser"]
             for n, w in WORKLOADS.items()}  # fmt: skip
    assert users["worker-data"] != users["worker-promote"]


def test_every_secret_is_described_and_none_is_here() -> None:
    page = (ROOT / "docs/operate.md").read_text()
    wanted = {name for found in WORKLOADS.values() for name in secrets_of(found)}
    assert wanted and not [name for name in wanted if f"`{name}`" not in page]


def policies() -> Iterator[dict[str, Any]]:
    yield from (found["spec"] for _, found in OBJECTS if found["kind"] == "NetworkPolicy")


def selects(selector: dict[str, Any]) -> set[str]:
    """The pods that a selector means, by their name label."""
    labels = {w["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"]
              for w in WORKLOADS.values()}  # fmt: skip
    if not selector:
        return labels
    named = {selector.get("matchLabels", {}).get("app.kubernetes.io/name")} - {None}
    for expression in selector.get("matchExpressions", ()):
        assert expression["key"] == "app.kubernetes.io/name" and expression["operator"] == "In"
        named |= set(expression["values"])
    assert named <= labels, f"no such pod: {named - labels}"
    return named


def test_nobody_speaks_to_anybody_but_by_a_policy() -> None:
    closed = [p for p in policies() if p["podSelector"] == {} and "ingress" not in p
              and "egress" not in p]  # fmt: skip
    assert closed and set(closed[0]["policyTypes"]) == {"Ingress", "Egress"}
    allowed = {
        (source, target)
        for policy in policies()
        for rule in policy.get("ingress", ())
        for peer in rule["from"]
        if "podSelector" in peer
        for source in selects(peer["podSelector"])
        for target in selects(policy["podSelector"])
    }
    assert allowed == {
        ("worker-promote", "mlflow"),
        ("worker-promote", "prefect"),
        ("worker-data", "prefect"),
        ("deploy", "prefect"),
    }
    reached = {
        (source, target)
        for policy in policies()
        for rule in policy.get("egress", ())
        for peer in rule.get("to", ())
        if "podSelector" in peer and "namespaceSelector" not in peer
        for source in selects(policy["podSelector"])
        for target in selects(peer["podSelector"])
    }
    assert reached == allowed, "what is let out is let in, and the other way round"


def test_services_lead_to_pods() -> None:
    for _, found in OBJECTS:
        if found["kind"] == "Service":
            name = found["spec"]["selector"]["app.kubernetes.io/name"]
            ports = {p["name"] for c in containers(WORKLOADS[name]) for p in c["ports"]}
            assert {port["targetPort"] for port in found["spec"]["ports"]} <= ports
            assert found["metadata"]["name"] == name


@pytest.mark.parametrize(
    "path", sorted(INFRA.joinpath("kubernetes").rglob("kustomization.yaml")), ids=str
)
def test_kustomize_finds_every_file_and_only_them(path: Path) -> None:
    said = yaml.safe_load(path.read_text())
    beside = {other.name for other in path.parent.glob("*.yaml")} - {path.name}
    assert {name for name in said["resources"] if name.endswith(".yaml")} == beside
    for name in said["resources"]:
        assert (path.parent / name).exists()
    for patch in said.get("patches", ()):
        kind, name = patch["target"]["kind"], patch["target"]["name"]
        assert [f for _, f in OBJECTS if (f["kind"], f["metadata"]["name"]) == (kind, name)]


def test_images_are_named_by_the_overlay_alone() -> None:
    assert {c["image"] for w in WORKLOADS.values() for c in containers(w)} == {"tidegate"}
    overlay = INFRA / "kubernetes/overlays/example/kustomization.yaml"
    image = yaml.safe_load(overlay.read_text())["images"][0]
    assert image["name"] == "tidegate" and image["newTag"] != "latest"
