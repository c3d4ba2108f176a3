"""Make the automations that the deployments need, or bring them up to date (infra/deploy.sh).

    unresponsive runs    A worker that was killed cannot say so: Prefect goes on waiting for the run,
                         and the next one of the deployment for its place. A run that sent
                         heartbeats and sends none any more is marked as crashed. If its process
                         lives after all, the lock of the model line keeps a second one away.

Safe to repeat. Prefect's own page on this: docs.prefect.io/v3/advanced/detect-zombie-flows
"""

from datetime import timedelta

from prefect.automations import Automation
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

# prefect.yaml has runs send one every half minute; four in a row are not lost by chance.
SILENCE = timedelta(minutes=2)
HEARTBEAT = "prefect.flow-run.heartbeat"
ENDS = {
    f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Cancelled", "Crashed")
}


def wanted() -> list[Automation]:
    return [
        Automation(
            name="unresponsive runs",
            description="A run whose heartbeats stop is marked as crashed, so that the next begins.",
            trigger=EventTrigger(
                after={HEARTBEAT},
                expect={HEARTBEAT, *ENDS},
                match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
                for_each={"prefect.resource.id"},
                posture=Posture.Proactive,
                threshold=1,
                within=SILENCE,
            ),
            actions=[
                ChangeFlowRunState(
                    state=StateType.CRASHED,
                    message="No heartbeat for two minutes: its process is gone. Start it again.",
                )
            ],
        )
    ]


def main() -> None:
    for automation in wanted():
        try:
            known = Automation.read(name=automation.name)
        except ValueError:  # there is none of this name
            automation.create()
        else:
            automation.model_copy(update={"id": known.id}).update()


if __name__ == "__main__":
    main()
