"""Where a record goes: the rules of a recipe's section `routes`, the first that names it wins.

    to    weights   learned by this update, whatever a later rule says
          context   looked up instead (flows/context/)
          module    left for a model line of its own (flows/routing/modules.py)
    when  volatile, dated, masked, one_off, source

What each condition sees is said in flows/routing/rules.py. What no rule names is learned.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from tidegate.gates.types import Noun
from tidegate.gates.yaml_file import YamlFile, did_you_mean

Destination = Literal["weights", "context", "module"]
Source = Annotated[str, Field(min_length=1, max_length=256)]


class Rule(Noun):
    """Where the records that it names go, and why."""

    to: Destination
    why: str = Field(min_length=1, max_length=200)
    module: str | None = Field(
        default=None,
        pattern=r"^[a-z0-9][a-z0-9_-]*$",
        max_length=40,
        description="with to: module; the line is named MODEL-MODULE",
    )

    @model_validator(mode="after")
    def _a_module_is_named(self) -> Self:
        if (self.to == "module") != (self.module is not None):
            raise ValueError("to: module, and no other, names a module")
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_unset(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in dump(self).items() if value is not None}


class Volatile(Rule):
    """The answer says that it holds for now."""

    when: Literal["volatile"]


class Dated(Rule):
    """The record says when it ends."""

    when: Literal["dated"]


class Masked(Rule):
    """The check masked something in it."""

    when: Literal["masked"]


class OneOff(Rule):
    """Fewer than so many authors of the batch were given nearly this answer."""

    when: Literal["one_off"]
    authors: int = Field(ge=2, le=1000)


class FromSource(Rule):
    """The record came from one of these sources."""

    when: Literal["source"]
    sources: Annotated[tuple[Source, ...], Field(strict=False, min_length=1)]


Route = Annotated[Volatile | Dated | Masked | OneOff | FromSource, Field(discriminator="when")]
CONDITIONS: dict[str, type[Rule]] = {
    "volatile": Volatile,
    "dated": Dated,
    "masked": Masked,
    "one_off": OneOff,
    "source": FromSource,
}


def parse_routes(file: YamlFile) -> None:
    """Raise YamlError for the first mistake in a recipe's routes, with its line.

    Before the recipe is read as a whole, so that an error names the rule's own keys.
    """
    given = file.data.get("routes") if isinstance(file.data, dict) else None
    if not isinstance(given, list):
        return  # none, or not a list, which the recipe's own schema refuses
    rules: list[Any] = []
    for place, one in enumerate(given):
        at = ("routes", place)
        if not isinstance(one, dict):
            raise file.error(at, "a rule has the keys to, when and why")
        for key, known in (("when", tuple(CONDITIONS)), ("to", get_args(Destination))):
            if key not in one:
                raise file.error(at, f"{key}: Field required")
            if one[key] not in known:
                hint = did_you_mean(str(one[key]), list(known))
                raise file.error((*at, key), f"{key}: there is no {one[key]!r}{hint}")
        if one["to"] == "module" and one.get("module") is None:
            raise file.error(at, "to: module needs a name, as in module: billing")
        if one["to"] != "module" and one.get("module") is not None:
            raise file.error((*at, "module"), f"to: {one['to']} has no module")
        rules.append(file.parse(CONDITIONS[one["when"]], one, at))
        taken = unreachable(rules)
        if taken is not None:
            raise file.error(at, f"rule {place + 1} {taken}")


def unreachable(rules: Sequence[Route]) -> str | None:
    """Why the last rule names nothing that an earlier one does not name; None: it may."""
    *before, last = rules
    if isinstance(last, FromSource) and len(set(last.sources)) < len(last.sources):
        return "names a source twice"
    for number, rule in enumerate(before, 1):
        if isinstance(last, FromSource) and isinstance(rule, FromSource):
            both = sorted({*last.sources} & {*rule.sources})
            if both:
                return f"names the source {both[0]!r}, which rule {number} names already"
        elif isinstance(last, OneOff) and isinstance(rule, OneOff):
            if last.authors <= rule.authors:
                return f"is never reached: rule {number} asks for as many authors or more"
        elif rule.when == last.when:
            return f"is never reached: rule {number} is when: {last.when} already"
    return None
