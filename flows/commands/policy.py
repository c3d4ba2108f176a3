"""`tidegate policy …`: read, question, measure and prove a policy before it decides."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from tidegate.flows.commands.common import (
    DEFAULT_POLICY,
    DEFAULT_RECIPE,
    AsJson,
    Fill,
    Floor,
    Model,
    Place,
    RecipeFile,
    Suites,
    Tracking,
    pairs,
    print_json,
    start,
)

policy = typer.Typer(
    help="Read, question, measure and prove a policy before it decides.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
File = Annotated[
    Path, typer.Argument(help="Policy, a YAML file.", show_default="the shipped one")
]


@policy.command(epilog="Example: tidegate policy check policies/support.yaml")
def check(file: File = DEFAULT_POLICY, floor: Floor = None, as_json: AsJson = False) -> None:
    """Read a policy, its parents and its floor; name the line of the first mistake."""
    _, console = start(None, as_json)
    from tidegate.flows.rules import floor_path, read_policy

    found = read_policy(file, floor)
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    console.print(
        f"{escape(found.policy)} v{found.version} is a policy: {len(found.data)} data gates, "
        f"{len(found.model)} model gates",
        highlight=False,
    )
    above, at = [], found.parent
    while at is not None:
        above.append(f"{at.policy} v{at.version}")
        at = at.parent
    if above:
        console.print(f"  stands on  {escape(', '.join(above))}", highlight=False)
    console.print(
        f"  floor      {escape(str(floor_path(floor)))}", highlight=False, soft_wrap=True
    )
    console.print(f"  digest     {found.digest}", highlight=False, soft_wrap=True)


@policy.command(epilog="Example: tidegate policy lint policies/support.yaml")
def lint(
    file: File = DEFAULT_POLICY,
    suites: Suites = None,
    floor: Floor = None,
    as_json: AsJson = False,
) -> None:
    """Refuse what reads well and decides badly: margins without power, gates without effect."""
    _, console = start(None, as_json)
    from tidegate.flows.linting import lint_policy, show_lint

    found = lint_policy(file, floor=floor, suites_folder=suites)
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        show_lint(console, found)
    raise typer.Exit(found.exit_code)


@policy.command(epilog="Example: tidegate policy explain 2 --model support")
def explain(
    version: Annotated[str, typer.Argument(help="A version, or an alias such as champion.")],
    model: Model = "assistant",
    home: Place = None,
    tracking_uri: Tracking = None,
    as_json: AsJson = False,
) -> None:
    """Each ruling about a version in words, and the smallest loss its suite could have seen."""
    place, console = start(home, as_json)
    from tidegate.flows.looking_back.explain import explain as explained
    from tidegate.flows.looking_back.explain import show_explained

    found = explained(model, version, place, tracking_uri)
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        show_explained(console, found)
    raise typer.Exit(found.exit_code)


@policy.command(
    epilog="Example: tidegate policy calibrate policies/support.yaml drops/*.jsonl --seeds 20"
)
def calibrate(
    file: File = DEFAULT_POLICY,
    drops: Annotated[
        list[str] | None,
        typer.Argument(help="What the twins learn; the demo's clean drop otherwise."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=2, help="Pairs of twins.")] = 20,
    rows: Annotated[int, typer.Option(min=8, help="Rows that each twin learns.")] = 40,
    model: Annotated[
        str | None, typer.Option(help="Start from this line's champion; else the bare base.")
    ] = None,
    recipe: RecipeFile = DEFAULT_RECIPE,
    suites: Suites = None,
    fill: Fill = None,
    floor: Floor = None,
    home: Place = None,
    tracking_uri: Tracking = None,
    as_json: AsJson = False,
) -> None:
    """Measure chance: the champion against itself, and twins that differ only in seed."""
    place, console = start(home, as_json)
    from tidegate.flows.calibrating.run import calibrate as calibrated
    from tidegate.flows.calibrating.show import show_calibrated
    from tidegate.flows.progress import report, showing

    with showing(console):
        found = calibrated(
            file,
            floor=floor,
            recipe_path=recipe,
            drops=drops or [],
            defaults=pairs(fill),
            suites=suites,
            model=model,
            home=place,
            seeds=seeds,
            rows=rows,
            tracking_uri=tracking_uri,
            progress=report,
        )
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        show_calibrated(console, found)
    raise typer.Exit(found.exit_code)


@policy.command(epilog="Example: tidegate policy prove policies/support.yaml")
def prove(
    file: File = DEFAULT_POLICY,
    only: Annotated[
        list[str] | None, typer.Option(help="Only this case; may be given again.")
    ] = None,
    recipe: RecipeFile = DEFAULT_RECIPE,
    floor: Floor = None,
    home: Place = None,
    as_json: AsJson = False,
) -> None:
    """Plant every case of the policy's proof and see what the gates make of it."""
    place, console = start(home, as_json)
    from tidegate.flows.progress import report, showing
    from tidegate.flows.proving.run import prove as proved
    from tidegate.flows.proving.run import show_proof
    from tidegate.training.recipe import load_recipe

    with showing(console):
        found = proved(
            file,
            floor=floor,
            base=load_recipe(recipe).base,
            home=place,
            only=only or [],
            progress=report,
        )
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        show_proof(console, found)
    raise typer.Exit(found.exit_code)


@policy.command(
    epilog="Example: tidegate policy backtest --model support --since 90d "
    "--set 'model.not_worse(refusal.margin).than.champion=0.05'"
)
def backtest(
    file: File = DEFAULT_POLICY,
    model: Model = "assistant",
    since: Annotated[
        str | None, typer.Option(help="Only updates this recent: 90d, 12h.")
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", help="PATH=VALUE on top of the policy; may be given again."),
    ] = None,
    floor: Floor = None,
    home: Place = None,
    as_json: AsJson = False,
) -> None:
    """Decide all past updates again from stored evidence; list each verdict that would flip."""
    place, console = start(home, as_json)
    from tidegate.flows.looking_back.backtest import backtest as tested
    from tidegate.flows.looking_back.backtest import show_backtested

    found = tested(
        file,
        home=place,
        model=model,
        since=since,
        changes=change or [],
        floor=floor,
    )
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        show_backtested(console, found)
    raise typer.Exit(found.exit_code)


@policy.command(epilog="Example: tidegate policy schema > policies/schema.json")
def schema() -> None:
    """The JSON Schema of a policy file, for editors."""
    from tidegate.gates.policy.schema import policy_schema

    print_json(policy_schema())
