"""What an erasure came to, in a few lines."""

from rich.console import Console
from rich.markup import escape

from tidegate.flows.erasing.forget import Forgotten
from tidegate.gates.types import Action


def show_forgotten(console: Console, done: Forgotten) -> None:
    state, seen = done.state, done.state.verified
    gone = ", ".join(f"{w.model} {w.version}" for w in state.plan.weights) or "of no version"
    lost = len(state.plan.unfinished)
    gone += f", and of {lost} updates that were never finished" if lost else ""
    console.print(f"{len(state.batches)} batches rewritten; weights deleted: {escape(gone)}")
    for one in state.rebuilt:
        what = f"version {one.version}" if one.version else "nothing"
        why = f" ({escape(one.reason)})" if one.action is not Action.PROMOTE else ""
        console.print(
            f"  {escape(one.model)} version {one.of} → {what}: {one.action or 'left out'}{why}",
            highlight=False,
        )
    if not done.rebuilt:
        console.print(
            "  the rebuild is not complete; the last clean version serves. Run the same command "
            "again once it is approved, or learn later drops from here"
        )
    for told in state.told:
        rows = f"{told.rows} of {told.learned} learned rows" if told.learned else "no row"
        console.print(
            f"  {escape(told.model)} version {told.version} against a never-trained twin, on "
            f"{rows}: {told.outcome} ({escape(told.reason)})",
            highlight=False,
        )
    if seen is not None:
        looked = seen.searched
        console.print(
            f"searched {looked.files:,} files for {looked.pieces:,} pieces: found in "
            f"{len(looked.found):,} places; {'exact' if seen.exact else 'NOT exact'}",
            highlight=False,
        )
        for place in looked.found:
            console.print(f"  {escape(place)}", highlight=False, soft_wrap=True)
    for digest in state.statements:
        console.print(f"  statement  {digest}", highlight=False, soft_wrap=True)
