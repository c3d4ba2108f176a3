"""lm-eval's Hugging Face model, made quick: a token that requests share is computed once.

lm-eval scores each answer of a question in a row of its own, so the question is computed
once for every answer, shorter rows are padded, and the vocabulary head runs at every
position. Here requests are laid into a tree of tokens: a node is a token after a path of
tokens, so what two requests have in common (the chat template's system message, a question,
the start of two answers) is one path. Each node attends to its ancestors only, and the
head runs only at nodes whose next token is scored. On SmolLM2-135M and two cores this is
about four times as fast as lm-eval's own rows; see infra/bench/evals.py.

A cartridge stands before the root: every node attends to its keys and values, and depths count
from behind it. They are handed to the base directly, because peft takes no such mask beside them.

The numbers are lm-eval's: tests hold them to 1e-4 of stock HFLM. A model that does not take
such a mask and such positions (a prompt-tuned one, one without attention) is found out on a
probe before anything is scored, and then scored by lm-eval's own rows.

Source of tree attention: Miao et al., "SpecInfer", arXiv 2305.09781.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from lm_eval import utils
from lm_eval.models.huggingface import HFLM
from transformers import PreTrainedTokenizerBase

from tidegate.evals.prefix import prefix_tokens

Tokens = list[int]
Request = tuple[tuple[str, str] | None, Tokens, Tokens]  # texts, context, continuation
Scored = tuple[float, bool]  # sum of log-probabilities in nats, and whether it is greedy

TREE_TOKENS = 384  # attention is quadratic in it, the overhead of a forward pass inverse
ROWS = 16  # batch size where lm-eval's own rows are used
AGREES = 1e-3  # nats over three tokens in float32; a mask that is not obeyed costs whole nats


class TooLong(ValueError):
    """A request that the model cannot read whole; a truncated one is another question."""


class Scorer(HFLM):  # type: ignore[misc]  # lm-eval is untyped
    """A causal model and its tokenizer as lm-eval sees them; on whatever device it is on."""

    def __init__(
        self,
        model: torch.nn.Module,
        tokenizer: PreTrainedTokenizerBase,
        *,
        tree_tokens: int = TREE_TOKENS,
        scored: Callable[[int], None] = lambda _: None,
    ) -> None:
        """`scored` is called with the number of requests done after each forward pass."""
        super().__init__(pretrained=model, tokenizer=tokenizer, batch_size=ROWS)
        self.scored = scored
        self.before = prefix_tokens(model)
        self.lengths: dict[tuple[str, ...], int] = {}
        self.forwarded = 0
        self.tree_tokens = tree_tokens
        if not self._trees_agree():
            self.tree_tokens = 0

    @property
    def max_length(self) -> int:
        """Tokens that the model reads at once, behind a cartridge if it has one."""
        return int(super().max_length) - self.before

    @property
    def how(self) -> str:
        """The part of the settings that changes the last digits: two runs must share it."""
        return f"tree of {self.tree_tokens} tokens" if self.tree_tokens else f"{ROWS} rows"

    def length(self, *texts: str) -> int:
        """Tokens scored for (context, continuation) or (text,), once it was scored."""
        return self.lengths[texts]

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = True) -> list[Scored]:
        return super().loglikelihood(requests, disable_tqdm=True)  # type: ignore[no-any-return]

    def loglikelihood_rolling(
        self, requests: list[Any], disable_tqdm: bool = True
    ) -> list[float]:
        """Log-likelihood of whole texts, in disjoint windows of the model's length."""
        windows: list[Request] = []
        owners: list[int] = []
        for owner, (text,) in enumerate(request.args for request in requests):
            tokens = self.tok_encode(text)
            self.lengths[(text,)] = len(tokens)
            for window in utils.get_rolling_token_windows(
                token_list=tokens,
                prefix_token=self.prefix_token_id,
                max_seq_len=self.max_length,
                context_len=1,
            ):
                windows.append((None, *utils.make_disjoint_window(window)))
                owners.append(owner)
        sums = [0.0] * len(requests)
        for owner, (value, _) in zip(owners, self._loglikelihood_tokens(windows), strict=True):
            sums[owner] += value
        return sums

    def _loglikelihood_tokens(
        self, requests: list[Request], disable_tqdm: bool = True, override_bs: int | None = None
    ) -> list[Scored]:
        for texts, context, continuation in requests:
            if len(context) + len(continuation) > self.max_length + 1:
                raise TooLong(
                    f"an item has {len(context) + len(continuation)} tokens and the model "
                    f"reads {self.max_length}; shorten the item"
                )
            if texts is not None:
                self.lengths[texts] = len(continuation)
        if not self.tree_tokens:
            self.forwarded += sum(len(c) + len(a) - 1 for _, c, a in requests)
            rows: list[Scored] = super()._loglikelihood_tokens(requests, disable_tqdm=True)
            self.scored(len(requests))
            return rows
        results: list[Scored] = [(float("nan"), False)] * len(requests)
        for tree in plant(requests, self.tree_tokens):
            for number, scored in self._score(tree):
                results[number] = scored
            self.forwarded += len(tree.tokens)
            self.scored(len(tree.requests))
        return results

    @torch.inference_mode()
    def _score(self, tree: "Tree") -> Iterator[tuple[int, Scored]]:
        nodes = sorted({node for request in tree.requests for node in request.nodes})
        model, more = self.model, {}
        mask = tree.mask(model.dtype).to(self.device)
        positions = torch.tensor([tree.depths], device=self.device)
        if self.before:
            more["past_key_values"] = model.get_prompt(1)
            model = model.get_base_model()
            mask = torch.nn.functional.pad(mask, (self.before, 0))  # of zeros: all look there
            positions = positions + self.before
        logits = model(
            input_ids=torch.tensor([tree.tokens], device=self.device),
            position_ids=positions,
            attention_mask=mask,
            logits_to_keep=torch.tensor(nodes, device=self.device),
            use_cache=False,
            **more,
        ).logits[0]
        row = {node: i for i, node in enumerate(nodes)}
        rows = [row[node] for request in tree.requests for node in request.nodes]
        targets = torch.tensor([t for request in tree.requests for t in request.targets])
        logits = logits.float()
        index = torch.tensor(rows, device=self.device)
        found = logits[index, targets.to(self.device)] - logits.logsumexp(-1)[index]
        greedy = logits.argmax(-1)[index].cpu() == targets
        start = 0
        for request in tree.requests:
            end = start + len(request.targets)
            value = float(found[start:end].double().sum())
            yield request.number, (value, bool(greedy[start:end].all()))
            start = end

    def _trees_agree(self) -> bool:
        """Whether a few made-up requests score the same in a tree as in lm-eval's rows."""
        some = [1 + i * 37 % (self.vocab_size - 1) for i in range(12)]
        probe: list[Request] = [
            (None, some[:6], some[6:9]),
            (None, some[:6], some[9:]),
            (None, some[2:8], some[8:9]),
        ]
        try:
            trees = [self._score(tree) for tree in plant(probe, self.tree_tokens)]
            ours = dict(scored for tree in trees for scored in tree)
        except (AttributeError, TypeError, ValueError, RuntimeError):
            return False  # it does not take a mask, positions or a prefix of ours
        stock = super()._loglikelihood_tokens(probe, disable_tqdm=True)
        within = max(AGREES, 25 * torch.finfo(self.model.dtype).eps)
        return all(abs(ours[i][0] - stock[i][0]) < within for i in range(len(probe)))


class Branch(NamedTuple):
    """One request in a tree: the nodes at which its continuation's tokens are predicted."""

    number: int
    nodes: Tokens
    targets: Tokens


class Tree:
    """Distinct token paths: the token, the parent and the depth of each node."""

    def __init__(self) -> None:
        self.tokens: Tokens = []
        self.parents: list[int] = []
        self.depths: list[int] = []
        self.children: dict[tuple[int, int], int] = {}
        self.requests: list[Branch] = []

    def missing(self, path: Sequence[int]) -> int:
        """How many nodes the path would add."""
        node = -1
        for depth, token in enumerate(path):
            child = self.children.get((node, token))
            if child is None:
                return len(path) - depth
            node = child
        return 0

    def add(self, number: int, context: Tokens, continuation: Tokens) -> None:
        node, nodes = -1, []
        for depth, token in enumerate(context + continuation[:-1]):
            child = self.children.get((node, token))
            if child is None:
                child = self.children[(node, token)] = len(self.tokens)
                self.tokens.append(token)
                self.parents.append(node)
                self.depths.append(depth)
            node = child
            nodes.append(node)
        self.requests.append(Branch(number, nodes[len(context) - 1 :], continuation))

    def mask(self, dtype: torch.dtype) -> torch.Tensor:
        """Zero where a node may look, shape (1, 1, nodes, nodes): itself and its ancestors."""
        n = len(self.tokens)
        sees = np.eye(n, dtype=np.bool_)
        for node, parent in enumerate(self.parents):
            if parent >= 0:  # a parent is always made before its children
                sees[node] |= sees[parent]
        mask = torch.zeros(n, n, dtype=dtype)
        return mask.masked_fill_(torch.from_numpy(~sees), torch.finfo(dtype).min)[None, None]


def plant(requests: Sequence[Request], tree_tokens: int) -> Iterator[Tree]:
    """Trees of at most `tree_tokens` nodes (a single longer request has one of its own).

    Requests are taken in the order of their tokens, which brings shared beginnings together
    and makes the trees the same whenever the requests are.
    """
    order = sorted(range(len(requests)), key=lambda i: requests[i][1] + requests[i][2])
    tree = Tree()
    for i in order:
        _, context, continuation = requests[i]
        new = tree.missing(context + continuation[:-1])
        if tree.requests and new and len(tree.tokens) + new > tree_tokens:
            yield tree
            tree = Tree()
        tree.add(i, context, continuation)
    if tree.requests:
        yield tree
