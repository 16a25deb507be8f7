"""What token vectors begin as: what each token stands beside in the training texts, and in nothing else.

Positive pointwise mutual information of tokens within `REACH` of each other, the nearer the more it counts, as a
truncated SVD (Levy and Goldberg, "Neural Word Embedding as Implicit Matrix Factorization", NIPS 2014). A few thousand
sentences are too few to find such vectors by what their labels tell alone. But how much oftener a token stands under
one label than under the others can be counted, as naive Bayes does, and be where a vector begins, too (Wang and
Manning, "Baselines and bigrams", ACL 2012).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_matrix  # type: ignore[import-untyped]
from scipy.sparse.linalg import svds  # type: ignore[import-untyped]

from otolith.inference.tokenizer import Ids
from otolith_training.data.datasets import Line
from otolith_training.data.texts import tokenizer_of
from otolith_training.network.frontend import TokenFrontend
from otolith_training.network.network import Network

REACH = 5  # tokens to either side
SMOOTHING = 0.75  # power of how common a neighbour is (Levy, Goldberg and Dagan, TACL 2015)
DEVIATION = 0.3  # of all vectors' values


def vectors_of(lines: Iterable[Ids], vocabulary: int, width: int) -> NDArray[np.float32]:
    """A vector a token `(vocabulary, width)`; zeros where the vocabulary or the text is too small to tell more."""
    vectors = np.zeros((vocabulary, width), np.float32)
    weights = _company(lines)
    if not weights:
        return vectors
    rows, columns = (np.array(side) for side in zip(*weights, strict=True))
    counts = np.array(list(weights.values()))
    total = np.bincount(rows, counts, minlength=vocabulary)
    context = total**SMOOTHING / (total**SMOOTHING).sum()
    information = np.maximum(np.log(counts / (total[rows] * context[columns])), 0)
    known = min(width, vocabulary - 1)
    matrix = coo_matrix((information, (rows, columns)), shape=(vocabulary, vocabulary)).tocsr()
    left, strength, _ = svds(matrix, k=known, random_state=0)
    vectors[:, :known] = left * np.sqrt(strength)
    deviation = float(vectors.std())
    return vectors * np.float32(DEVIATION / deviation) if deviation > 0 else vectors


def ratios_of(lines: Sequence[Ids], labels: Sequence[str], vocabulary: int) -> NDArray[np.float32]:
    """Logarithms of how much oftener lines of one label hold a token than all others do `(vocabulary, labels)`.

    Each line counts a token once, and each token stands in one line more than it does. Of two labels the second's are
    told alone: the first's are their opposite.
    """
    names = sorted(set(labels))
    counts = np.ones((len(names), vocabulary))
    for ids, label in zip(lines, labels, strict=True):
        counts[names.index(label), np.unique(ids)] += 1
    others = counts.sum(axis=0) - counts
    ratios = np.log(counts / counts.sum(axis=1, keepdims=True)) - np.log(others / others.sum(axis=1, keepdims=True))
    return np.asarray(ratios.T if len(names) > 2 else ratios[1:].T, np.float32)


def begin_vectors(network: Network, items: Sequence[object]) -> None:
    """Give a network's token vectors their beginnings, where its settings ask for those of the training texts."""
    frontend = network.frontend
    assert isinstance(frontend, TokenFrontend)  # noqa: S101 - the caller looked
    settings = frontend.settings
    if settings.begin == "chance":
        return
    tokenizer = tokenizer_of(settings)
    learned = [item for item in items if isinstance(item, Line) and item.split == "train"]
    lines = [item.encode(tokenizer) for item in learned]
    vectors = vectors_of(lines, len(settings.vocabulary), settings.width)
    if settings.begin == "labels":
        ratios = ratios_of(lines, [item.label for item in learned], len(settings.vocabulary))[:, : settings.width]
        vectors[:, : ratios.shape[1]] = ratios  # in place of what tells least: the SVD's last come first
    with torch.no_grad():
        frontend.embedding.weight.copy_(torch.from_numpy(vectors))


def _company(lines: Iterable[Ids]) -> dict[tuple[int, int], float]:
    """How much each pair of tokens stands together, both ways: `1 / distance` each time."""
    weights: defaultdict[tuple[int, int], float] = defaultdict(float)
    for ids in lines:
        line = ids.tolist()
        for distance in range(1, REACH + 1):
            for one, other in zip(line, line[distance:], strict=False):
                weights[one, other] += 1 / distance
                weights[other, one] += 1 / distance
    return weights
