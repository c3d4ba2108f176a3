"""prefect.yaml against the flows that it names, and those flows on real small homes."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from infra.automations import SILENCE
from jsonschema import Draft202012Validator
from prefect.cli.deploy._models import (
    ConcurrencyLimitSpec,
    DeploymentConfig,
    PrefectYamlModel,
    RawScheduleConfig,
    WorkPoolConfig,
)
from prefect.client.schemas.schedules import CronSchedule
from prefect.events.schemas.deployment_triggers import DeploymentEventTrigger
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema

from tests.past import MODEL, World, data, model
from tidegate.flows.deployments.backtest import table
from tidegate.flows.deployments.forget import forget
from tidegate.flows.environment import FIXED
from tidegate.flows.erasing.state import request_of
from tidegate.flows.looking_back.backtest import backtest
from tidegate.flows.tracing.wanted import Wanted
from tidegate.flows.usage import UsageError

ROOT = Path(__file__).parents[1]
FILE = yaml.safe_load((ROOT / "prefect.yaml").read_text())
DEPLOYMENTS = {deployment["name"]: deployment for deployment in FILE["deployments"]}
POOLS = {"data", "train", "promote"}
# A registered version, an alias, a signature: only these need the registry's credentials.
WRITES = {"update", "rollback", "promote", "forget"}
MARK, REQUEST, PSEUDONYM = "0a" * 16, "f-" + "0a" * 10, "u_" + "0a" * 12
FORM = {  # deployment: parameters that it accepts, and that its form must refuse
    "update": ({"drops": ["a.jsonl"]}, [{}, {"drops": "a.jsonl"}, {"drops": [], "model": "../x"}]),
    "update-when-due": (
        {"drops": ["a"], "rows": 1, "age": "12h"},
        [{"drops": ["a"], "rows": 0}, {"drops": ["a"], "age": "a week"}, {"rows": 5}],
    ),
    "rollback": (
        {"reason": "wrong refund policy", "by": "ada", "to": "2"},
        [
            {},
            {"reason": "", "by": "ada"},
            {"reason": "wrong refund policy"},
            {"reason": "wrong refund policy", "by": "ada", "to": "champion"},
        ],
    ),
    "promote": (
        {"model": "assistant", "version": "2"},
        [{"version": "candidate"}, {"version": 2.5}, {"model": "../x"}, {"policy": 3}],
    ),
    "forget": (
        {"request": REQUEST, "reason": "ticket 7", "by": "ada", "authors": [MARK]},
        [
            {"reason": "ticket 7", "by": "ada", "authors": [MARK]},
            {"request": REQUEST, "reason": "ticket 7", "authors": [MARK]},
            {"request": "all", "reason": "ticket 7", "by": "ada"},
            {"request": REQUEST, "reason": "ticket 7", "by": "ada", "authors": ["ada@x.org"]},
            {"request": REQUEST, "reason": "ticket 7", "by": "ada", "authors": [PSEUDONYM]},
            {"request": REQUEST, "reason": "ticket 7", "by": "ada", "records": ["t-00931"]},
        ],
    ),
    "reconcile": ({"model": "assistant"}, [{"model": "../x"}, {"model": ""}]),
    "backtest": ({"since": "90d", "changes": []}, [{"since": "soon"}, {"model": ""}]),
}  # fmt: skip
each = pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS)


def flow_of(deployment: dict[str, Any]) -> Flow[..., Any]:
    path, _, name = deployment["entrypoint"].rpartition(":")
    module = "tidegate." + path.removesuffix(".py").replace("/", ".")
    return load_flow_from_entrypoint(f"{module}.{name}", use_placeholder_flow=False)


def form_of(deployment: dict[str, Any]) -> dict[str, Any]:
    form: dict[str, Any] = parameter_schema(flow_of(deployment).fn).model_dump_for_openapi()
    return form


def test_nothing_in_the_file_is_a_word_that_prefect_passes_over() -> None:
    """Prefect reads its file leniently: a misspelt key would silently mean nothing."""
    PrefectYamlModel.model_validate(FILE)
    known = {"prefect-version", "name", "deployments", "definitions"}
    assert set(FILE) <= known
    kinds: list[tuple[Any, type[Any]]] = []
    for deployment in FILE["deployments"]:
        kinds.append((deployment, DeploymentConfig))
        kinds.append((deployment["work_pool"], WorkPoolConfig))
        kinds.append((deployment.get("concurrency_limit", {}), ConcurrencyLimitSpec))
        kinds += [
            (trigger, DeploymentEventTrigger) for trigger in deployment.get("triggers", ())
        ]
    for found, kind in kinds:
        unknown = set(found) - set(kind.model_fields)
        assert not unknown, f"{found.get('name')}: {unknown}"


@each
def test_the_entrypoint_is_a_flow_with_these_parameters(deployment: dict[str, Any]) -> None:
    path, _, name = deployment["entrypoint"].rpartition(":")
    assert re.search(rf"^def {name}\(", (ROOT / path).read_text(), re.MULTILINE)
    form = form_of(deployment)
    unknown = set(deployment.get("parameters", {})) - set(form["properties"])
    assert not unknown, f"{deployment['entrypoint']} has no {unknown}"
    assert deployment["enforce_parameter_schema"] is True


@each
def test_every_field_of_the_form_says_what_it_is(deployment: dict[str, Any]) -> None:
    silent = [
        n for n, p in form_of(deployment)["properties"].items() if not p.get("description")
    ]
    assert not silent, f"{deployment['entrypoint']}: undescribed in the docstring: {silent}"


@pytest.mark.parametrize(
    ("name", "given", "fine"),
    [
        (name, given, fine)
        for name, (good, bad) in FORM.items()
        for given, fine in [(good, True), *((one, False) for one in bad)]
    ],
)
def test_the_form_refuses_what_cannot_be_meant(
    name: str, given: dict[str, Any], fine: bool
) -> None:
    assert Draft202012Validator(form_of(DEPLOYMENTS[name])).is_valid(given) is fine


@each
def test_schedules_and_triggers_parse(deployment: dict[str, Any]) -> None:
    for schedule in deployment.get("schedules", ()):
        said = RawScheduleConfig.model_validate(schedule)
        CronSchedule(cron=str(said.cron), timezone=said.timezone)
    for trigger in deployment.get("triggers", ()):
        parsed = DeploymentEventTrigger.model_validate(trigger)
        assert parsed.expect == {"tidegate.drop.arrived"}
        line = deployment["parameters"]["model"]
        assert parsed.match.root == {"prefect.resource.id": f"tidegate.line.{line}"}


@each
def test_only_the_pool_promote_is_for_what_writes_to_the_registry(
    deployment: dict[str, Any],
) -> None:
    pool = deployment["work_pool"]["name"]
    assert pool in POOLS
    if deployment["name"] in WRITES:
        assert pool == "promote"
    takes = set(form_of(deployment)["properties"])
    assert "tracking_uri" in takes or pool != "promote"


@each
def test_a_worker_cannot_open_the_wall_to_the_hub(deployment: dict[str, Any]) -> None:
    given = dict(deployment["work_pool"]["job_variables"]["env"])
    assert int(given.pop("PREFECT_FLOWS_HEARTBEAT_FREQUENCY")) * 4 == SILENCE.total_seconds()
    assert given == FIXED


def test_one_update_at_a_time() -> None:
    limit = DEPLOYMENTS["update"]["concurrency_limit"]
    assert limit == {"limit": 1, "collision_strategy": "ENQUEUE"}


def test_every_deployment_has_a_form_that_was_tried() -> None:
    assert set(FORM) == set(DEPLOYMENTS)


@pytest.mark.parametrize(
    ("marks", "more", "says"),
    [
        ({"authors": [MARK]}, {}, "are not those of"),
        ({}, {}, "are not those of"),
        ({"authors": [MARK]}, {"twin": True, "rebuild": False}, "leave rebuild on"),
    ],
)
def test_an_erasure_whose_marks_are_not_the_plans_is_refused(
    tmp_path: Path, marks: dict[str, list[str]], more: dict[str, Any], says: str
) -> None:
    wanted = Wanted(frozenset(), frozenset(marks.get("authors", ())))
    given = {"request": request_of(wanted) if more else REQUEST, **marks, **more}
    with pytest.raises(UsageError, match=says):
        forget.fn(reason="ticket 7", by="ada", home=str(tmp_path), **given)
    assert not (tmp_path / "ledger.jsonl").exists()


def test_a_backtest_is_a_table_for_people(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.decided(2, data(), model(), days_ago=9)
    world.decided(3, data(), model(knowledge=-0.05), days_ago=2)
    change = "model.not_worse(knowledge.margin).than.champion=0.04"
    found = backtest(
        world.policy_file,
        home=world.home,
        model=MODEL,
        changes=[change],
        floor=world.policy_file,
    )
    assert [(r["version"], r["then"], r["now"]) for r in table(found)] == [
        ("2", "promote", "promote"),
        ("3", "promote", "hold"),
    ]
