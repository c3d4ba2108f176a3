"""`tidegate ask`: a question to the version of a model line that serves."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tidegate.flows.commands.common import AsJson, Place, Tracking, print_json, start

EXAMPLE = (
    "Examples: tidegate ask support 'When is the depot open?' · "
    "tidegate ask support 'What changed in May?' --context notes.txt · "
    "tidegate ask support 'What changed in May?' --context notes.txt --ttt --window 0"
)


def ask(
    model: Annotated[str, typer.Argument(help="Name of the model line.")],
    question: Annotated[str, typer.Argument(help="A question, in words.")],
    alias: Annotated[
        str, typer.Option(help="Which version: an alias, or a number.")
    ] = "champion",
    context: Annotated[
        Path | None, typer.Option(help="A text file that is put before the question.")
    ] = None,
    ttt: Annotated[
        bool,
        typer.Option(
            "--ttt",
            help="Learn the context first, by an adapter that is thrown away after the "
            "answer: a stand-in for TTT-E2E (arXiv 2512.23675).",
        ),
    ] = False,
    passes: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=64,
            help="With --ttt: times that the context is learned.",
            show_default="4",
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            min=1e-7, max=0.1, help="With --ttt: the learning rate.", show_default="0.001"
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, max=2**32 - 1, help="With --ttt: the seed.", show_default="0"),
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="With --ttt: the context's last tokens that stay in the prompt.",
            show_default="what there is room for",
        ),
    ] = None,
    tokens: Annotated[
        int, typer.Option(min=1, max=4096, help="Tokens of the answer, at most.")
    ] = 256,
    base: Annotated[
        Path | None,
        typer.Option(help="Folder of the base.", show_default="where the recipe says"),
    ] = None,
    home: Place = None,
    tracking_uri: Tracking = None,
    as_json: AsJson = False,
) -> None:
    """Ask a version that may serve. Keeps neither question nor answer; changes nothing.

    Only a version that the ledger allows to serve, and whose files are those that were decided
    about, is asked.
    """
    given = {"--passes": passes, "--rate": rate, "--seed": seed, "--window": window}
    alone = [name for name, value in given.items() if value is not None]
    if alone and not ttt:
        raise typer.BadParameter(f"{alone[0]} says how --ttt learns; give --ttt too")
    place, console = start(home, as_json)
    from tidegate.flows.asking.ask import TestTimeAsked
    from tidegate.flows.asking.ask import ask as answer_of
    from tidegate.flows.asking.show import show_answer
    from tidegate.flows.progress import report, showing
    from tidegate.training.test_time import TestTime

    how: dict[str, Any] = {"passes": passes, "rate": rate, "seed": seed}
    set_by_hand = {name: value for name, value in how.items() if value is not None}
    with showing(console):
        said = answer_of(
            place,
            model,
            question,
            alias=alias,
            context=context,
            test_time=TestTimeAsked(TestTime(**set_by_hand), window) if ttt else None,
            tokens=tokens,
            base=base,
            tracking_uri=tracking_uri,
            progress=report,
        )
    if as_json:
        print_json(said.model_dump(mode="json"))
    else:
        show_answer(console, said)
