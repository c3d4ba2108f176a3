"""Secret rules: each has a case, and files in gitleaks' format load or say what is wrong."""

import os
from pathlib import Path

import pyarrow as pa
import pytest

from tidegate.gates.signals import secrets
from tidegate.gates.signals.secret_rules import RuleError, load_rules
from tidegate.gates.signals.text import as_ascii

RULES = load_rules()
HEX = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
MIXED = "aB3dE5fG7hJ9kL2mN4pQ6rS8tU0vW1xY3zA5bC7dE9fG1hJ3kL5mN7pQ9rS2tU4vW6xY8z"
# Put together here, so that scanners of this repository do not take them for real ones.
CASES = {
    "aws-access-key-id": "AKIA" + "QWERTZ7UIOP4ASDF",
    "aws-secret-access-key": "aws_secret_access_key = " + MIXED[:40],
    "azure-storage-key": "AccountKey=" + (MIXED * 2)[:86] + "==",
    "gcp-api-key": "AIza" + MIXED[:35],
    "google-oauth-token": "GOCSPX-" + MIXED[:28],
    "github-token": "ghp_" + MIXED[:36],
    "gitlab-token": "glpat-" + MIXED[:20],
    "slack-token": "xoxb-" + "123456789012-123456789012-" + MIXED[:24],
    "slack-webhook": "https://hooks.slack.com/services/" + MIXED[:44],
    "stripe-key": "sk_live_" + MIXED[:24],
    "openai-key": "sk-proj-" + MIXED[:48],
    "anthropic-key": "sk-ant-api03-" + MIXED[:60],
    "hugging-face-token": "hf_" + "abcdefghijKLMNOPQRstuvwxyzABCDefgh",
    "npm-token": "npm_" + MIXED[:36],
    "pypi-token": "pypi-AgEIcHlwaS5vcmc" + MIXED[:50],
    "docker-token": "dckr_pat_" + MIXED[:27],
    "sendgrid-key": "SG." + MIXED[:22] + "." + MIXED[:43],
    "twilio-key": "SK" + HEX[:32],
    "mailgun-or-mailchimp-key": "key-" + HEX[:32],
    "telegram-bot-token": "123456789:AA" + MIXED[:33],
    "discord-bot-token": "discord bot M" + MIXED[:23] + "." + MIXED[:6] + "." + MIXED[:27],
    "digitalocean-token": "dop_v1_" + HEX,
    "databricks-token": "dapi" + HEX[:32],
    "shopify-token": "shpat_" + HEX[:32],
    "hashicorp-token": "hvs." + MIXED[:24],
    "linear-notion-or-figma-token": "lin_api_" + MIXED[:40],
    "json-web-token": "eyJ" + MIXED[:20] + ".eyJ" + MIXED[:40] + "." + MIXED[:43],
    "private-key": "-----BEGIN RSA PRIVATE "
    + f"KEY-----\n{MIXED}\n-----END RSA PRIVATE KEY-----",
    "url-with-password": "postgres://admin:" + "s3cr3tPassw0rd@db.internal:5432/prod",
    "connection-string-password": "Server=db.internal;Database=x;User Id=sa;Password="
    + "Qm92xxVr7",
    "basic-or-bearer-header": "Authorization: Bearer " + MIXED[:40],
    "named-key": "api_key: " + HEX[:32],
    "password-in-prose": "the password for the dealer portal is "
    + "Vr7#kettle-Qm92!x, as always",
    "password-assigned": "password=" + "tr0ub4dor&3xyz",
}


def test_every_rule_has_a_case() -> None:
    assert {rule.id for rule in RULES.rules} == set(CASES)


@pytest.mark.parametrize("rule", RULES.rules, ids=lambda rule: rule.id)
def test_a_rule_finds_its_case(rule: object) -> None:
    text = as_ascii(f"It fails with {CASES[rule.id]}")  # type: ignore[attr-defined]
    assert list(rule.find(text, text.lower()))  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "text",
    [
        "I forgot my password. How do I reset it?",
        "Your password is case-sensitive. The password is required.",
        "My new password is not accepted, what is wrong?",
        "The API key is in the settings under Access token.",
        "Set api_key = your_api_key_here and password=********.",
        "The task asks for a risk analysis: sk-learn and skiing.",
        "See https://example.org/path?x=1#y:z@home and git@github.com:org/repo.git",
        'if password == "": raise ValueError',
        "commit 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b fixes it",
    ],
)
def test_talk_about_secrets_is_no_secret(text: str) -> None:
    assert secrets.measure(pa.array([text]), RULES)["secrets"].tolist() == [0]


def test_the_secret_alone_is_the_finding() -> None:
    text = "url postgres://admin:" + "hunter2hunter2@db/x"
    (finding,) = RULES.find(as_ascii(text))
    assert text[finding.start : finding.end] == "hunter2hunter2"


def test_a_file_of_gitleaks_adds_to_the_rules(tmp_path: Path) -> None:
    path = tmp_path / "ours.toml"
    path.write_text(
        "[[rules]]\nid = 'ours'\nregex = '''\\b(acme-[0-9]{8})\\b'''\nkeywords = ['acme']\n"
        "[[rules.allowlists]]\nregexes = ['''00000000$''']\n"
        "[[rules]]\nid = 'a-path'\npath = '''\\.env$'''\n"
    )
    rules = load_rules(path)
    assert len(rules.rules) == 1
    texts = pa.array(["ACME acme-12345678", "acme-00000000", "none"])
    assert secrets.measure(texts, rules)["secrets"].tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("rules = [", "not TOML"),
        ("title = 'x'", "there are no [[rules]]"),
        ("[[rules]]\nid = 'x'\n", "x: there is no regex"),
        ("[[rules]]\nid = 'x'\nregex = '(?=y)'\n", "x: not a RE2 pattern"),
    ],
)
def test_a_broken_rule_file_is_refused_whole(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "broken.toml"
    path.write_text(content)
    with pytest.raises(RuleError, match="broken.toml: ") as refused:
        load_rules(path)
    assert says in str(refused.value)


def test_gitleaks_own_file_loads() -> None:
    material = Path(os.environ.get("GAUNTLET", Path(__file__).parents[2] / "shared"))
    path = material / "data/secret_rules/gitleaks.toml"
    if not path.exists():
        pytest.skip("the material is not here; set GAUNTLET to its folder")
    rules = load_rules(path)
    assert len(rules.rules) > 200
    assert rules.find(as_ascii(f"glab {CASES['gitlab-token']} x"))
