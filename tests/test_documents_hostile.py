"""Names and reasons that want to be markup, YAML or JSON: they stay text in every document."""

import json
from dataclasses import replace
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tests.documented import World, waived
from tidegate.flows.documents.account import Account
from tidegate.flows.documents.bom import bill_of_materials
from tidegate.flows.documents.card import model_card
from tidegate.flows.documents.change import change_record

ATTACKS = (
    "a\n---\nlicense: mit\n---\n# owned",
    "a\r\n---\r\nx: 1",
    "x: [1, {y: !!python/object/apply:os.system ['id']}]",
    "'\"\\ \x85\u2028\u2029\x00\x1b[31m\u202e",
    "| a | b |\n| --- | --- |",
    "</td></table><script>alert(1)</script>",
    "![p](http://evil/p.png) [l](javascript:alert(1)) <http://evil> www.evil.org me@evil.org",
    "```\n# out of the fence",
    "`code` **bold** _i_ ~~s~~ &lt;b&gt; &#60;script&#62;",
    "{{ 7 * 7 }}{% raw %}",
    "--home /tmp; rm -rf ~; $(id)",
    "- list\n1. list\n> quote\n\n    code",
    "",
    " ",
    "\ud800",
    "yes",
    "1e3",
    "null",
)
hostile = st.one_of(
    st.sampled_from(ATTACKS),
    st.lists(st.sampled_from(ATTACKS), min_size=2, max_size=3).map("".join),
    st.text(max_size=80),
    st.text(alphabet="|`*_[]()<>&\\\n\r\t#-!:{}'\"@~+= a1", max_size=60),
)
MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Account:
    world = World(tmp_path_factory.mktemp("honest"))
    waived(world)
    return world.account()


@pytest.fixture(scope="module")
def plain(honest: Account) -> tuple[str, str]:
    """Record and card with a plain word everywhere."""
    account = with_text(honest, "plain")
    return change_record(account), model_card(account)


def with_text(account: Account, text: str) -> Account:
    """The account with `text` wherever a text from outside can be."""
    entry = account.entry
    rulings = tuple(
        r.model_copy(update={"gate": f"{text}{i}", "reason": text})
        for i, r in enumerate(entry.rulings)
    )
    waivers = [
        {
            **w,
            "gate": text,
            "reason": text,
            "ticket": text,
            "requester": text,
            "signers": [text],
        }
        for w in account.waivers
    ]
    about = {**account.about, "requester": text, "waivers": waivers, "parent": text}
    predicate = {**entry.record["predicate"], "about": about, "model": text}
    record = {**entry.record, "predicate": predicate}
    policy = account.past.policy.model_copy(update={"policy": text, "why": text})
    return replace(
        account,
        model=text,
        base=account.base.model_copy(update={"name": text, "license": text}),
        recipe={**account.recipe, "method": text, "recipe": text},
        past=replace(
            account.past,
            entry=replace(entry, version=text, rulings=rulings, record=record),
            policy=policy,
        ),
    )


def shape(markdown: str) -> list[str]:
    """The kinds of everything in a page but its text."""
    found = []
    for token in MARKDOWN.parse(markdown):
        inline = token.children or () if token.type == "inline" else (token,)
        found += [t.type for t in inline if t.type not in ("text", "softbreak")]
    return found


def front_matter(markdown_card: str) -> dict[str, Any]:
    found = yaml.safe_load(markdown_card.split("\n---\n", 1)[0].removeprefix("---\n"))
    assert isinstance(found, dict)
    return found


def body(markdown_card: str) -> str:
    return markdown_card.split("\n---\n", 1)[1]


@settings(max_examples=60, deadline=None)
@given(text=hostile)
def test_a_text_changes_the_shape_of_no_document(
    honest: Account, plain: tuple[str, str], text: str
) -> None:
    tried = with_text(honest, text)
    plain_record, plain_card = plain
    assert shape(change_record(tried)) == shape(plain_record)
    made = model_card(tried)
    assert shape(body(made)) == shape(body(plain_card))
    front, expected = front_matter(made), front_matter(plain_card)
    known = {key: front[key] for key in front if not key.startswith("license")}
    assert list(known) == [key for key in expected if not key.startswith("license")]
    assert isinstance(front["base_model"], str)
    assert isinstance(front["model-index"][0]["name"], str)
    assert front["tags"] == expected["tags"]
    for page in (change_record(tried), body(made)):
        assert "://" not in page and "www." not in page
        assert all(c.isprintable() or c == "\n" for c in page)


@settings(max_examples=40, deadline=None)
@given(text=hostile)
def test_the_bill_of_materials_stays_one_that_the_schema_takes(
    honest: Account, text: str
) -> None:
    made = json.loads(bill_of_materials(with_text(honest, text)))
    refs = [made["metadata"]["component"]["bom-ref"]]
    refs += [component["bom-ref"] for component in made["components"]]
    assert len(refs) == len(set(refs)) == 7


@pytest.mark.parametrize("text", ATTACKS)
def test_a_command_line_has_plain_words_only(honest: Account, text: str) -> None:
    for make in (change_record, model_card):
        page = make(with_text(honest, text))
        (line,) = [line for line in page.splitlines() if line.startswith("tidegate statement")]
        name = text if text in ("yes", "1e3", "null") else "NAME"
        assert line == (
            f"tidegate statement export {name} --model {name} --out statement.intoto.jsonl"
        )
