"""What the privacy gates find, beside Presidio and detect-secrets, on the same texts.

    python infra/bench/privacy.py --spans labelled.json --clean chats.jsonl

spans: JSON lists of {"full_text", "spans": [{"entity_type", "start_position",
"end_position"}]}, as presidio-research writes them. clean: a text a line, {"text": ...},
without personal data or secrets. Presidio runs its default recognizers for English without a
language model; detect-secrets runs if it is installed. Prints recall and precision of spans
(any overlap, compatible type), false hits, records a second of CPU, and all as ratios.
"""

import argparse
import importlib.util
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tidegate.gates.signals import personal_data
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
    """Presidio's own recognizers for English, without a language model."""
    import tldextract
    from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    from presidio_analyzer.nlp_engine import NlpArtifacts, NlpEngine

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
    registry = RecognizerRegistry()
    registry.load_predefined_recognizers(languages=["en"])
    registry.remove_recognizer("SpacyRecognizer")
    engine = AnalyzerEngine(registry=registry, nlp_engine=NoLanguage())

    def find(text: str) -> list[Span]:
        results = engine.analyze(text, "en", entities=list(TYPES)[:6] + ["US_DRIVER_LICENSE"])
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


def secret_finders() -> dict[str, Callable[[str], bool]]:
    rules = load_rules()
    finders: dict[str, Callable[[str], bool]] = {
        "tidegate": lambda text: bool(rules.find(text))
    }
    if importlib.util.find_spec("detect_secrets") is None:
        print("detect-secrets is not installed, so it is left out")
        return finders
    scan = importlib.import_module("detect_secrets.core.scan")
    settings = importlib.import_module("detect_secrets.settings")

    def detect_secrets(text: str) -> bool:
        with settings.default_settings():
            return any(list(scan.scan_line(line)) for line in text.splitlines())

    return {**finders, "detect-secrets": detect_secrets}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spans", type=Path, nargs="+", required=True)
    parser.add_argument("--clean", type=Path)
    args = parser.parse_args()
    rows = [row for path in args.spans for row in json.loads(path.read_bytes())]
    everything = WITHOUT_ADDRESSES | {"address"}
    scores = {
        "tidegate": score(ours, rows, WITHOUT_ADDRESSES),
        "presidio": score(presidio(), rows, WITHOUT_ADDRESSES),
        "tidegate with addresses": score(ours, rows, everything),
    }
    for name, one in scores.items():
        print(
            f"{name:26} recall {one.recall:.3f}  precision {one.precision:.3f}"
            f"  {one.records_a_second:9,.0f} records/s"
        )
    here, there = scores["tidegate"], scores["presidio"]
    ratios = (a / max(b, 1e-9) for a, b in zip(here, there, strict=True))
    print("tidegate / presidio: recall {:.2f}, precision {:.2f}, speed {:.1f}".format(*ratios))
    if args.clean is None:
        return
    texts = [json.loads(line)["text"] for line in args.clean.read_bytes().splitlines()]
    for name, is_secret in secret_finders().items():
        began = time.process_time()
        hits = sum(map(is_secret, texts))
        rate = len(texts) / max(time.process_time() - began, 1e-9)
        print(f"{name:26} {hits} of {len(texts)} clean texts hit  {rate:9,.0f} texts/s")


if __name__ == "__main__":
    main()
