"""What the privacy gates find, beside Presidio and detect-secrets, on the same texts.

    python infra/bench/privacy.py [--spans labelled.json] [--clean chats.jsonl]

Without them it runs on made-up chats (privacy_material.py). spans: JSON lists of
{"full_text", "spans": [{"entity_type", "start_position", "end_position"}]}, as
presidio-research writes them. clean: a text a line, {"text": ...}, without personal data or
secrets. Presidio runs its default pipeline for English, without a language model where the
extra `names` is not installed; detect-secrets runs if it is. Prints recall and precision of
spans (any overlap, compatible type), false hits, records a second of CPU, and all as ratios.
"""

import argparse
import importlib.util
import json
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import privacy_material  # beside this file

from tidegate.gates.signals import names, personal_data
from tidegate.gates.signals.secret_rules import load_rules

TYPES = {
    "CREDIT_CARD": "card",
    "EMAIL_ADDRESS": "email",
    "PHONE_NUMBER": "phone",
    "IBAN_CODE": "iban",
    "US_SSN": "ssn",
    "IP_ADDRESS": "ip",
    "STREET_ADDRESS": "address",
    "ADDRESS": "address",
    "ZIP_CODE": "address",
    "US_DRIVER_LICENSE": "id_number",
}
PLACES = {"LOCATION", "GPE"}  # part of an address
WITHOUT_ADDRESSES = {kind for kind in TYPES.values() if kind != "address"}
Span = tuple[str, int, int]
Finder = Callable[[str], list[Span]]


class Score(NamedTuple):
    recall: float
    precision: float
    records_a_second: float


def ours(text: str) -> list[Span]:
    return [(f.kind, f.start, f.end) for f in personal_data.find(text)]


def presidio() -> Finder:
    """Presidio's default pipeline for English."""
    import tldextract
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer.nlp_engine import NlpArtifacts, NlpEngine, NlpEngineProvider

    class NoLanguage(NlpEngine):  # type: ignore[misc]
        def load(self) -> None: ...
        def is_loaded(self) -> bool:
            return True

        def process_text(self, text: str, language: str) -> Any:
            return NlpArtifacts([], [], [], [], self, language)

        def process_batch(self, texts: Any, language: str, **_: Any) -> Any:
            return ((text, self.process_text(text, language)) for text in texts)

        def is_stopword(self, word: str, language: str) -> bool:
            return False

        def is_punct(self, word: str, language: str) -> bool:
            return False

        def get_supported_entities(self) -> list[str]:
            return []

        def get_supported_languages(self) -> list[str]:
            return ["en"]

    # Its e-mail recognizer would fetch a list of domains; the one in the package will do.
    tldextract.extract = tldextract.TLDExtract(suffix_list_urls=())
    if importlib.util.find_spec(names.MODEL) is not None:
        models = [{"lang_code": "en", "model_name": names.MODEL}]
        provider = NlpEngineProvider(
            nlp_configuration={"nlp_engine_name": "spacy", "models": models}
        )
        engine = AnalyzerEngine(nlp_engine=provider.create_engine())
    else:
        print("there is no language model, so Presidio runs without one")
        registry = RecognizerRegistry()
        registry.load_predefined_recognizers(languages=["en"])
        registry.remove_recognizer("SpacyRecognizer")
        engine = AnalyzerEngine(registry=registry, nlp_engine=NoLanguage())

    def find(text: str) -> list[Span]:
        results = engine.analyze(text, "en")
        return [
            (TYPES[r.entity_type], r.start, r.end)
            for r in results
            if r.score >= 0.35 and r.entity_type in TYPES
        ]

    return find


def score(find: Finder, rows: Sequence[dict[str, Any]], kinds: set[str]) -> Score:
    """Of the labelled spans of some kinds."""
    wanted = hit = said = right = 0
    find(rows[0]["full_text"])  # imports happen here
    began = time.process_time()
    found = [[f for f in find(row["full_text"]) if f[0] in kinds] for row in rows]
    seconds = time.process_time() - began
    for row, spans in zip(rows, found, strict=True):
        labelled = [
            (s["entity_type"], s["start_position"], s["end_position"]) for s in row["spans"]
        ]
        for name, start, end in labelled:
            if TYPES.get(name) in kinds:
                wanted += 1
                hit += any(k == TYPES[name] and a < end and start < b for k, a, b in spans)
        for kind, start, end in spans:
            said += 1
            right += any(
                (TYPES.get(name) == kind or (kind == "address" and name in PLACES))
                and a < end
                and start < b
                for name, a, b in labelled
            )
    return Score(hit / max(wanted, 1), right / max(said, 1), len(rows) / max(seconds, 1e-9))


def secret_finders(stack: ExitStack) -> dict[str, Callable[[str], bool]]:
    rules = load_rules()
    finders: dict[str, Callable[[str], bool]] = {
        "tidegate": lambda text: bool(rules.find(text))
    }
    if importlib.util.find_spec("detect_secrets") is None:
        print("detect-secrets is not installed, so it is left out")
        return finders
    scan = importlib.import_module("detect_secrets.core.scan")
    settings = importlib.import_module("detect_secrets.settings")

    # Once around all: to enter it reads and forgets every plugin.
    stack.enter_context(settings.default_settings())

    def detect_secrets(text: str) -> bool:
        return sum(len(list(scan.scan_line(line))) for line in text.splitlines()) > 0

    return {**finders, "detect-secrets": detect_secrets}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spans", type=Path, nargs="+")
    parser.add_argument("--clean", type=Path)
    args = parser.parse_args()
    rows = privacy_material.labelled(700)
    texts = privacy_material.clean(1000)
    if args.spans:
        rows = [row for path in args.spans for row in json.loads(path.read_bytes())]
    if args.clean:
        texts = [json.loads(line)["text"] for line in args.clean.read_bytes().splitlines()]
    compare_personal_data(rows, texts)
    compare_secrets(privacy_material.secrets(600), texts)


def compare_personal_data(rows: Sequence[dict[str, Any]], clean: Sequence[str]) -> None:
    theirs = presidio()
    scores = {
        "tidegate": score(ours, rows, WITHOUT_ADDRESSES),
        "presidio": score(theirs, rows, WITHOUT_ADDRESSES),
        "tidegate with addresses": score(ours, rows, WITHOUT_ADDRESSES | {"address"}),
    }
    for name, one in scores.items():
        print(
            f"{name:26} recall {one.recall:.3f}  precision {one.precision:.3f}"
            f"  {one.records_a_second:9,.0f} records/s"
        )
    for name, find in (("tidegate", ours), ("presidio", theirs)):
        hits = sum(bool(find(text)) for text in clean)
        print(f"{name:26} {hits} of {len(clean)} clean texts hit")
    if importlib.util.find_spec(names.MODEL) is not None:
        compare_names(rows, clean)
    here, there = scores["tidegate"], scores["presidio"]
    ratios = (a / max(b, 1e-9) for a, b in zip(here, there, strict=True))
    print("tidegate / presidio: recall {:.2f}, precision {:.2f}, speed {:.1f}".format(*ratios))


def compare_names(rows: Sequence[dict[str, Any]], clean: Sequence[str]) -> None:
    """What the extra costs and touches, and what it finds where names are labelled."""
    model, texts = names.load(), [row["full_text"] for row in rows]
    began = time.process_time()
    found = [model.find(text) for text in texts]
    rate = len(texts) / max(time.process_time() - began, 1e-9)
    wanted = hit = 0
    for row, spans in zip(rows, found, strict=True):
        for s in row["spans"]:
            if s["entity_type"] == "PERSON":
                wanted += 1
                a, b = s["start_position"], s["end_position"]
                hit += any(f.start < b and a < f.end for f in spans)
    touched = sum(bool(model.find(text)) for text in clean)
    recall = f"{hit} of {wanted} names found, " if wanted else ""
    print(
        f"{'names by model':26} {recall}{touched} of {len(clean)} clean texts touched"
        f"  {rate:9,.0f} records/s"
    )


def compare_secrets(secret: Sequence[str], clean: Sequence[str]) -> None:
    rates = {}
    with ExitStack() as stack:
        for name, is_secret in secret_finders(stack).items():
            is_secret(secret[0])  # imports happen here
            began = time.process_time()
            found, hits = sum(map(is_secret, secret)), sum(map(is_secret, clean))
            texts = len(secret) + len(clean)
            rates[name] = texts / max(time.process_time() - began, 1e-9)
            print(
                f"{name:26} {found} of {len(secret)} secrets found, {hits} of {len(clean)}"
                f" clean texts hit  {rates[name]:9,.0f} texts/s"
            )
    if len(rates) > 1:
        print(
            "tidegate / detect-secrets: speed {:.2f}".format(
                rates["tidegate"] / rates["detect-secrets"]
            )
        )


if __name__ == "__main__":
    main()
