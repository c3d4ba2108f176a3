"""A base is found, pinned by a digest, and refused when it could run code or answer nothing."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from tests.tiny import tiny_base
from tidegate.training.base import BaseError, find_base, load_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_base(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def test_a_folder_is_a_base(folder: Path, tmp_path: Path) -> None:
    base = find_base(str(folder), tmp_path)
    assert (base.name, base.folder, base.license) == ("tiny", folder, None)
    model, tokenizer = load_model(base)
    assert model.dtype == torch.float32 and not model.training
    assert tokenizer.chat_template


def test_the_digest_is_of_what_answers(folder: Path, copy: Path, tmp_path: Path) -> None:
    digest = find_base(str(folder), tmp_path).digest
    (copy / "README.md").write_text("---\nlicense: mit\n---\n# A card\n")
    described = find_base(str(copy), tmp_path)
    assert (described.digest, described.license) == (digest, "mit")

    template = copy / "chat_template.jinja"
    template.write_text(template.read_text() + "\n")
    assert find_base(str(copy), tmp_path).digest != digest

    other = tiny_base(tmp_path / "other", seed=1)
    assert find_base(str(other), tmp_path).digest != digest


def test_an_unknown_name_gets_a_hint(tmp_path: Path) -> None:
    with pytest.raises(
        BaseError, match=r"neither a folder .* did you mean 'smollm2-135m-instruct'"
    ):
        find_base("smollm2-135m", tmp_path)


def without_template(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def without_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def with_code(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModelForCausalLM": "modeling.Model"}
    (folder / "config.json").write_text(json.dumps(config))


def without_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").unlink()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (without_template, "no chat template"),
        (pickled, "only pytorch_model.bin, a pickle"),
        (without_weights, "weights must be"),
        (without_config, "no config.json"),
        (with_code, "auto_map"),
        (without_tokenizer, "tokenizer"),
    ],
)
def test_a_folder_that_cannot_serve_is_refused(spoil, said: str, copy: Path) -> None:  # type: ignore[no-untyped-def]
    spoil(copy)
    with pytest.raises(BaseError, match=said):
        find_base(str(copy), copy)


def test_an_adapter_that_is_a_pickle_is_refused(folder: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_model.bin").write_bytes(b"")
    with pytest.raises(BaseError, match="pickle is not read"):
        load_model(find_base(str(folder), tmp_path), adapter)


@pytest.mark.slow
def test_the_embedded_base_is_unpacked_once_and_chats(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    cache = tmp_path_factory.mktemp("cache")
    stages: list[str] = []
    name = "19b3e960cb78f0d162924d69743cc2763308b85dbd511b87e80f633e704c6f91"
    left = (
        cache / "base" / f".{name}.{os.getpid()}"
    )  # of a process that was killed in unpacking
    left.mkdir(parents=True)
    base = find_base("smollm2-135m-instruct", cache, lambda p: stages.append(p.stage))
    again = find_base("smollm2-135m-instruct", cache, lambda p: stages.append(p.stage))
    assert again == base and not left.exists()
    assert stages == ["unpack the base"] * 2  # begun and done, once
    # The same on every machine: it names the packaged file and the conversion.
    assert base.digest == f"sha256:{name}"
    assert base.license == "Apache-2.0"

    model, tokenizer = load_model(base)
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is the capital of France?"}],
        add_generation_prompt=True,
        return_dict=True,
        return_tensors="pt",
    )
    said = model.generate(**asked, max_new_tokens=12, do_sample=False)
    assert "Paris" in tokenizer.decode(said[0, asked["input_ids"].shape[1] :])

    with (base.folder / "config.json").open("a") as file:
        file.write(" ")
    with pytest.raises(BaseError, match="delete the folder"):
        find_base("smollm2-135m-instruct", cache)
