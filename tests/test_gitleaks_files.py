"""A user's own gitleaks.toml loads as it is, and what of it cannot be used here is told."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.checking import chat, checked, plain
from tidegate.gates.signals.secret_rules import RuleError, load_rules

# As a company keeps it beside its code.
OURS = r"""
title = "Contoso secret scanning"
minVersion = "v8.25.0"

[extend]
useDefault = true
disabledRules = ["generic-api-key", "sourcegraph-access-token"]

[[allowlists]]
description = "fixtures and lock files"
paths = ['''(^|/)testdata/''', '''package-lock\.json$''']

[[allowlists]]
description = "values of the handbook"
regexTarget = "line"
regexes = ['''handbook\.contoso\.example''']
stopwords = ["examplekey", "0000000000"]

[[allowlists]]
targetRules = ["contoso-api-key", "contoso-db-url"]
regexes = ['''^(?:ck_)?sandbox''']

[[rules]]
id = "contoso-api-key"
description = "API key of the Contoso platform"
regex = '''\b(ck_[a-z0-9]{32})(?:['"\s;]|$)'''
entropy = 3
keywords = ["ck_"]
tags = ["key", "contoso"]

[[rules]]
id = "contoso-webhook"
description = "signing secret of a webhook"
regex = '''(?i)webhook[\w .-]{0,20}(?:=|:)\s{0,3}["']?(whs-[0-9a-f]{40})\b'''
keywords = ["whs-"]
secretGroup = 1

[[rules]]
id = "contoso-db-url"
regex = '''contoso\+pg://[^:\s]{1,40}:([^@\s]{6,80})@'''
keywords = ["contoso+pg"]
[[rules.allowlists]]
description = "variables of a template"
regexes = ['''^\$\{[A-Z_]+\}$''']

[[rules]]
id = "contoso-vpn"
regex = '''\bvpn-([A-Z2-7]{26})\b'''
keywords = ["vpn-"]
[rules.allowlist]
regexTarget = "match"
regexes = ['''vpn-AAAA''']

[[rules]]
id = "contoso-badge"
regex = '''(?i)\bbadge[ -]?pin[ :=]{1,3}(\d{6})\b'''
keywords = ["badge"]
[[rules.allowlists]]
condition = "AND"
regexes = ['''^123''']
stopwords = ["123456"]

[[rules]]
id = "contoso-terraform"
description = "only in state files"
path = '''\.tfstate$'''
regex = '''"contoso_token":\s*"([^"]{20,60})"'''
keywords = ["contoso_token"]

[[rules]]
id = "contoso-keystore"
description = "a key store of any content"
path = '''(?i)\.(?:p12|jks|keystore)$'''

[[rules]]
id = "aws-access-token"
[[rules.allowlists]]
paths = ['''docs/''']

[[rules]]
id = "contoso-host"
regex = '''[a-z]+\.corp\.contoso\.example'''
skipReport = true

[[rules]]
id = "contoso-ticket"
regex = '''(?i)support token is ([a-z]{4}-[a-z]{4}-[a-z]{4})'''
"""
HEX = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b"
KEY = f"ck_{HEX[:32]}"
VPN = "MZXW6YTBOI2GEZDFMZTWQ2LKNN"


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    path = tmp_path / "gitleaks.toml"
    path.write_text(OURS, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"my key {KEY} is refused", KEY),
        ("my key ck_" + "ab" * 16, None),  # entropy
        (f"see handbook.contoso.example, key {KEY}", None),  # by its line
        (f"see handbook.contoso.example\nkey {KEY}", KEY),
        ("ck_0000000000" + HEX[:22], None),  # a stopword of the file
        ("ck_sandbox" + HEX[:25], None),  # an allowlist of this rule and another
        (f"webhook secret: whs-{HEX}", f"whs-{HEX}"),
        ("contoso+pg://app:sandboxed1@db", None),
        ("contoso+pg://app:${DB_PASSWORD}@db", None),
        ("contoso+pg://app:tr0ub4dor@db", "tr0ub4dor"),
        (f"vpn-{VPN}", VPN),
        (f"vpn-AAAA{VPN[:22]}", None),  # by its match
        ("badge pin: 482915", "482915"),
        ("badge pin: 123999", "123999"),  # half of an AND
        ("badge pin: 123456", None),
        (f'"contoso_token": "{HEX}"', HEX),  # wants a path, and looks everywhere
        ("store.p12 and me.corp.contoso.example", None),
        ("The support token is abcd-efgh-ijkl", "abcd-efgh-ijkl"),  # no keywords
    ],
)
def test_a_companys_file_means_what_it_means_to_gitleaks(
    ours: Path, text: str, secret: str | None
) -> None:
    found = [text[f.start : f.end] for f in load_rules(ours).find(text)]
    assert found == ([secret] if secret else [])


def test_what_is_left_out_is_told(ours: Path) -> None:
    rules = load_rules(ours)
    assert len(rules.rules) == 7
    told = {note.removeprefix("gitleaks.toml: ").split(":")[0] for note in rules.notes}
    assert told == {
        "extend.useDefault",
        "extend.disabledRules",
        "contoso-terraform",
        "contoso-keystore",
        "aws-access-token",
        "contoso-host",
    }
    assert load_rules().notes == ()


def test_a_check_says_so_in_its_evidence_and_on_the_console(tmp_path: Path, ours: Path) -> None:
    gate = f"  - {{gate: no_secrets, quarantine: true, more_rules: '{ours}', why: t}}\n"
    rows = [*plain(20), chat(50, "why?", f"my key {KEY} is refused")]
    result, said, _ = checked(tmp_path, rows, gate)
    assert said["r0050"]["action"] == "quarantine" and result.quarantined == 1
    settings = result.evidence["data.no_secrets.hits"].settings
    assert settings is not None and "contoso-keystore: left out" in settings["left_out"]
    options = f"--policy {tmp_path / 'policy.yaml'} --floor {tmp_path / 'policy.yaml'}"
    ran = subprocess.run(
        [sys.executable, "-m", "tidegate.flows.cli", "check", str(tmp_path / "drop.jsonl"),
         *options.split(), "--home", str(tmp_path / "home2"), "--out", str(tmp_path / "out2")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "gitleaks.toml: contoso-keystore: left out" in " ".join(ran.stdout.split())


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[extend]\nuseDefault = true\n[allowlist]\nregexes = ['a']\n", "no [[rules]]"),
        ("[extend]\nuseDefault = true\n[[rules]]\nid='a'\npath='b'\n", "no rule is left"),
        ("[extend]\npath = 'base.toml'\n[[rules]]\nid='x'\nregex='a'\n", "extend.path"),
    ],
)
def test_what_cannot_be_extended_is_refused(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "broken.toml"
    path.write_text(content)
    with pytest.raises(RuleError) as refused:
        load_rules(path)
    assert says in str(refused.value)


def test_gitleaks_own_file_loads_whole() -> None:
    material = Path(os.environ.get("GAUNTLET", Path(__file__).parents[2] / "shared"))
    path = material / "data/secret_rules/gitleaks.toml"
    if not path.exists():
        pytest.skip("the material is not here; set GAUNTLET to its folder")
    rules = load_rules(path)
    assert len(rules.rules) > 200
    assert rules.find("glab glpat-" + "aB3dE5fG7hJ9kL2mN4pQ x")
    # Nothing but what is about paths.
    assert rules.notes and all("path" in note for note in rules.notes)
