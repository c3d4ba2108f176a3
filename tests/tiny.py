"""A real Llama of 27 thousand weights, made in the test: no download, no mock.

It has a byte-level tokenizer without merges (every text is readable, one token a byte) and
a ChatML template, so chat formatting, masking, training and generation all run as they do
on a real base.
"""

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level, 259 tokens: three special ones, then the 256 bytes."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate((*SPECIAL, *alphabet))}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    made: Any = PreTrainedTokenizerFast  # it has no types
    tokenizer: PreTrainedTokenizerFast = made(
        tokenizer_object=core,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        model_max_length=512,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def tiny_base(folder: Path, *, seed: int = 0, layers: int = 2) -> Path:
    """Save a tiny Llama and its tokenizer as a Hugging Face folder; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = tiny_tokenizer()
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=True,
        initializer_range=0.2,  # with the usual 0.02, no adapter could move the logits far
    )
    LlamaForCausalLM(config).save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_records(
    path: Path,
    exchanges: Sequence[tuple[str, str]],
    *,
    learn: str = "target",
    first: int = 0,
    said: Sequence[str | None] = (),
) -> Path:
    """Save (question, answer) pairs as the columns that training reads; returns the path.

    said: what the model had answered instead, where the answer is a correction.
    """
    rows = [
        {
            "id": f"r{number + first:04}",
            "messages": [
                {"role": "user", "content": question},
                {"role": "assistant", "content": was or answer},
            ],
            "response": answer,
            "learn": learn,
            "rating": {"negative": "down"}.get(learn),
            "correction": answer if was else None,
        }
        for number, ((question, answer), was) in enumerate(
            zip_longest(exchanges, said[: len(exchanges)])
        )
    ]
    text = pa.string()
    table = pa.Table.from_pylist(rows)
    for name in ("rating", "correction"):
        table = table.set_column(
            table.schema.get_field_index(name), name, table[name].cast(text)
        )
    pq.write_table(table, path)
    return path
