"""Secret rules: each has a case, and files in gitleaks' format load or say what is wrong."""

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
    "named-variable": "PAYMENTS_SIGNING_SECRET=" + MIXED[:24],
    "named-token": '{"token": "' + MIXED[:40] + '"}',
    "prefixed-token": "acme_live_" + MIXED[:40],
    "random-token": "it says " + MIXED[:44],
    "ai-service-key": "gsk_" + MIXED[:52],
    "code-host-token": "rubygems_" + HEX[:48],
    "hosting-token": "sbp_" + HEX[:40],
    "monitoring-token": "NRAK-" + MIXED[:27].upper(),
    "commerce-token": "sq0csp-" + MIXED[:43],
    "mail-service-key": "xkeysib-" + HEX + "-" + MIXED[:16],
    "cloud-key": "LTAI" + MIXED[:20],
    "social-token": "https://discord.com/api/webhooks/123456789012345678/" + MIXED[:68],
    "bot-token-form": "M" + MIXED[:23] + "." + MIXED[:6] + "." + MIXED[:27],
    "age-secret-key": "AGE-SECRET-KEY-1" + MIXED[:58].upper(),
    "password-hash": "$2b$12$" + MIXED[:53],
    "url-with-password-alone": "redis://:" + "s3cr3tPassw0rd@10.0.0.3:6379/0",
    "command-with-password": "curl -u admin:" + "s3cr3tPassw0rd https://api.example.org",
    "password-named": "use the password " + "coffee-tiger-39 to get in",
    "password-told-first": "try " + "Vr7-kettle as the password",
    "user-and-password": "you can log in with ann / " + "Vr7kettle9",
    "pin-or-code": "my debit card PIN is " + "4071",
    "email-and-password": "ann@example.org:" + "Vr7kettle9",
    "key-behind-its-name": "algolia admin key: " + HEX[:32],
    "key-in-a-query": "https://api.example.org/me?key=" + MIXED[:32],
    "key-in-a-path": "https://mainnet.infura.io/v3/" + HEX[:32],
    "encoded-private-key": "client-key-data: LS0tLS1CRUdJTi" + MIXED,
    "raw-private-key": "my private key is 0x" + HEX,
    "product-key": "license key " + "A1B2C-D3E4F-" + "G5H6J-K7L8M",
    "password-in-an-attribute": '<add key="Password" value="' + 'Vr7kettle9" />',
    "framework-secret": "sb_secret_" + MIXED[:31],
}
PROSE = (
    "my password is {}", "Password: {}", "pw: {}", "user ann, pw {}", "my new passwort is {}",
    "contraseña: {}", "mot de passe : {}", "Mein Passwort lautet {}", "wifi key: {}",
    "the wifi password's {}", "I changed my password to {}", "my bank password, {}, fails",
    "It keeps rejecting my password ({})", "vpn pass -> {}", "root:{}", "DB_PASSWORD={}",
    "<password>{}</password>", "пароль: {}", "密码：{}", "비밀번호: {}",
    "parola: {}", "Password:\n{}", "log in as ann with {}", "creds: ann/{}",
    "use {} as password", "I always use {} for all my passwords", "credentials: ann:{}",
)  # fmt: skip


@pytest.mark.parametrize("sentence", PROSE)
@pytest.mark.parametrize(
    "password", ["Winter6841!", "kettle-river-42", "tR7_pQ9x", "dragon474"]
)
def test_a_password_in_prose_is_found(sentence: str, password: str) -> None:
    text = sentence.replace("{}", password)
    assert any(
        password in text[f.start : f.end] or text[f.start : f.end] in password
        for f in RULES.find(text)
    )


@pytest.mark.parametrize(
    "text", ["PIN: 6609", "gate code 2608", "my recovery code is 4F7Q-9KXA"]
)
def test_a_pin_is_found(text: str) -> None:
    assert RULES.find(text)


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
        "Your password must be 8-16 characters long and contain a number.",
        "Use the password manager, it hashes with SHA256.",
        "password = getpass.getpass() and token = tokenizer.decode(ids[0])",
        "api_key=os.getenv('OPENAI_API_KEY'), secret_key = os.environ['SECRET_KEY']",
        "UUID 550e8400-e29b-41d4-a716-446655440000, IMG_20230512_143022_HDR.jpg",
        "https://docs.google.com/document/d/1a2B3c4D5e6F7g8H9i0J1k2L3m4N5o6P7q8R9s0T/edit",
        "gpt-4o-mini-2024-07-18 and en_core_web_sm-3.7.1-py3-none-any.whl",
        "git checkout feature_2024_add-new-login-form-for-mobile-users-v2",
        "Order code: ABC-123-XYZ, coupon SAVE20, logged in at 10:30/11:45 today",
        "primary key: customer_order_line_item_id_2024",
        "Модель: iPhone12Pro, цена: 89990",
        "git clone git@github.com:acme/repo2024.git",
    ],
)
def test_talk_about_secrets_is_no_secret(text: str) -> None:
    assert secrets.measure(pa.array([text]), RULES)["secrets"].tolist() == [0]


def test_the_secret_alone_is_the_finding() -> None:
    text = "url postgres://admin:" + "hunter2hunter2@db/x"
    (finding,) = RULES.find(text)
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


OURS = r"""
title = "acme rules"
[extend]
useDefault = true

[[allowlists]]
description = "what our docs show"
regexes = ['''EXAMPLE''']
stopwords = ["dummy"]

[[allowlists]]
targetRules = ["acme-pair"]
stopwords = ["sandbox"]

[[rules]]
id = "acme-token"
description = "a token of the acme platform"
regex = '''\bacme_(live|test)_([a-zA-Z0-9]{24})\b'''
secretGroup = 2
entropy = 3.5
keywords = ["acme_"]
[[rules.allowlists]]
condition = "AND"
regexes = ['''^AAA''']
stopwords = ["zzz"]
[[rules.allowlists]]
regexTarget = "line"
regexes = ['''# not a secret$''']
[[rules.allowlists]]
regexTarget = "match"
regexes = ['''^acme_test_''']
[[rules.allowlists]]
condition = "AND"
paths = ['''\.md$''']
regexes = ['''.*''']

[[rules]]
id = "acme-pair"
regex = '''(?i)clé[ ]?=[ ]?([a-z0-9-]{12,40})'''
keywords = ["clé"]
[rules.allowlist]
stopwords = ["changeme"]

[[rules]]
id = "a-part-of-others"
regex = '''.'''
skipReport = true
"""


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("Acme_live: acme_live_aB3dE5fG7hJ9kL2mN4pQ6rS8", "aB3dE5fG7hJ9kL2mN4pQ6rS8"),
        ("acme_live_aaaaaaaaaaaaaaaaaaaaaaaa", None),  # entropy
        ("acme_test_aB3dE5fG7hJ9kL2mN4pQ6rS8", None),  # allowed by the match
        ("acme_live_aB3dE5fG7hJ9kL2mN4pQ6rS8 # not a secret\nx", None),  # by the line
        ("x # not a secret\nacme_live_aB3dE5fG7hJ9kL2mN4pQ6rS8", "aB3dE5fG7hJ9kL2mN4pQ6rS8"),
        ("acme_live_AAA3E5fG7hJ9kL2mN4pQ6rS8", "AAA3E5fG7hJ9kL2mN4pQ6rS8"),  # half of an AND
        ("acme_live_AAA3E5fG7hJ9kzzzN4pQ6rS8", None),  # both halves
        ("acme_live_EXAMPLEG7hJ9kL2mN4pQ6rS8", None),  # by the file
        ("acme_live_dummyfG7hJ9kL2mN4pQ6rS81", None),
        ("acme_live_sandboxhJ9kL2mN4pQ6rS811", "sandboxhJ9kL2mN4pQ6rS811"),  # another's
        ("clé = 9f86d081884c7d65", "9f86d081884c7d65"),
        ("clé = sandbox-7d65-1c2e", None),
        ("clé = changeme-7d65-1c2", None),
        ("no keyword: 9f86d081884c7d65", None),
    ],
)
def test_every_part_of_gitleaks_format_is_honoured(
    tmp_path: Path, text: str, finding: str | None
) -> None:
    path = tmp_path / "ours.toml"
    path.write_text(OURS, encoding="utf-8")
    rules = load_rules(path)
    assert [rule.id for rule in rules.rules] == ["acme-token", "acme-pair"]
    assert [text[f.start : f.end] for f in rules.find(text)] == ([finding] if finding else [])
    counted = secrets.measure(pa.array([text]), rules)["secrets"].tolist()
    assert counted == [1 if finding else 0]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("rules = [", "not TOML"),
        ("title = 'x'", "there are no [[rules]]"),
        ("[[rules]]\nid = 'x'\n", "x: there is no regex"),
        ("[[rules]]\nid = 'x'\nregex = '(?=y)'\n", "x: not a RE2 pattern"),
        ("[[rules]]\nid = 'x'\nregex = 'a(b)'\nsecretGroup = 2\n", "x: secretGroup is 2"),
        ("[[rules]]\nid = 'x'\nregex = 'a'\nentropy = 'high'\n", "x: entropy is 'high'"),
        ("[[rules]]\nid = 'x'\nregex = 'a'\nkeywords = 'a'\n", "x: keywords is 'a'"),
        ("[[rules]]\nid = 'x'\nregex = 3\n", "x: regex is 3"),
        ("[extend]\npath = 'o.toml'\n[[rules]]\nid = 'x'\nregex = 'a'\n", "extend.path"),
        (
            "[[rules]]\nid = 'x'\nregex = 'a'\n[[rules.required]]\nid = 'y'\n",
            "x: rules that require others",
        ),
        (
            "[[rules]]\nid = 'x'\nregex = 'a'\n[rules.allowlist]\nregexTarget = 'word'\n",
            "x: regexTarget is 'word'",
        ),
    ],
)
def test_a_broken_rule_file_is_refused_whole(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "broken.toml"
    path.write_text(content)
    with pytest.raises(RuleError, match="broken.toml: ") as refused:
        load_rules(path)
    assert says in str(refused.value)
