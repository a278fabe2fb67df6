"""Attention with one map for q, k and v, or on 3-D tensors; `chains.Attention` has three maps and 4-D ones."""

import torch
from torch import Tensor, nn

from edgevit_deploy.deploy.chains import Attention, linear, pointwise, replace_all


class PackedAttention(nn.Module):
    """One linear map to q, k and v side by side; to k and v where those are of another map."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.attention = attention
        if attention.reduces:
            self.q, self.kv = attention.q, pack(attention.k, attention.v)
        else:
            self.qkv = pack(attention.q, attention.k, attention.v)
        attention.q = attention.k = attention.v = nn.Identity()  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) -> the same shape."""
        tokens = self.attention.tokens
        if self.attention.reduces:
            q, (k, v) = self.q(tokens(x)), self.kv(tokens(self.attention.reduce(x))).chunk(2, dim=-1)
        else:
            q, k, v = self.qkv(tokens(x)).chunk(3, dim=-1)
        return self.attention.attend(q, k, v, x)


class BatchedAttention(nn.Module):
    """q, k and v are 1x1 convolutions; heads join the batch, and matrices are multiplied in batches of 3-D tensors."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.head_dim, self.scale = attention.head_dim, attention.scale
        self.reduce, self.centred = attention.reduce, attention.centred
        self.q, self.k, self.v = (pointwise(m) for m in (attention.q, attention.k, attention.v))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) -> the same shape."""
        source = self.reduce(x)
        q, k, v = self.q(x), self.k(source), self.v(source)
        if not self.centred:
            return self.attend(q, k, v)
        mean = v.mean((2, 3), keepdim=True)  # of a feature map, as XNNPACK takes it; see `centre_values`
        attended: Tensor = self.attend(q, k, v - mean) + mean
        return attended

    def attend(self, *maps: Tensor) -> Tensor:
        """Attend with q, k and v (batch, channels, height, width), q of the shape of the result."""
        shape = maps[0].shape
        q, k, v = (self.heads(m) for m in maps)
        scores = torch.bmm(q.transpose(1, 2), k)
        if self.scale != 1:
            scores = scores * self.scale
        return self.mix(scores.softmax(dim=-1), v).reshape(shape)

    def heads(self, y: Tensor) -> Tensor:
        """(batch, channels, height, width) -> (batch * heads, head_dim, tokens)."""
        return y.reshape(-1, self.head_dim, y.shape[2] * y.shape[3])

    def mix(self, weights: Tensor, v: Tensor) -> Tensor:
        """(batch * heads, tokens, tokens), (batch * heads, head_dim, tokens) -> (batch * heads, head_dim, tokens)."""
        return torch.bmm(v, weights.transpose(1, 2))


class EinsumAttention(BatchedAttention):
    """The same with v P^T as a sum over named axes, which LiteRT keeps a product of 3-D tensors where there is one head."""

    def mix(self, weights: Tensor, v: Tensor) -> Tensor:
        """(batch * heads, tokens, tokens), (batch * heads, head_dim, tokens) -> (batch * heads, head_dim, tokens)."""
        return torch.einsum("hqk,hdk->hdq", weights, v)


class StackedAttention(nn.Module):
    """One 1x1 convolution to q, k and v one above the other; heads are what its channels are grouped into already.

    It is one to k and v where those are of another map.
    """

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.num_heads, self.head_dim, self.scale = attention.num_heads, attention.head_dim, attention.scale
        self.reduce, self.reduces, self.centred = attention.reduce, attention.reduces, attention.centred
        if self.reduces:
            self.q, self.kv = pointwise(attention.q), pointwise(pack(attention.k, attention.v))
        else:
            self.qkv = pointwise(pack(attention.q, attention.k, attention.v))

    def heads(self, y: Tensor, maps: int) -> Tensor:
        """(batch, maps * channels, height, width) -> (batch, maps * heads, head_dim, tokens)."""
        return y.reshape(y.shape[0], maps * self.num_heads, self.head_dim, -1)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, height, width) -> the same shape."""
        if self.reduces:
            q, (k, v) = self.heads(self.q(x), 1), self.heads(self.kv(self.reduce(x)), 2).chunk(2, dim=1)
        else:
            q, k, v = self.heads(self.qkv(x), 3).chunk(3, dim=1)
        scores = q.transpose(-2, -1) @ k
        if self.scale != 1:
            scores = scores * self.scale
        columns = scores.softmax(dim=-1).transpose(-2, -1)
        if not self.centred:
            return (v @ columns).reshape(x.shape)
        mean = v.mean(-1, keepdim=True)
        return ((v - mean) @ columns + mean).reshape(x.shape)


def pack(*maps: nn.Linear) -> nn.Linear:
    """Return several maps of the same channels as one, (channels) -> (channels of all)."""
    weights: list[Tensor] = [m.weight for m in maps]
    biases: list[Tensor] = [torch.zeros(len(m.weight), dtype=m.weight.dtype) if m.bias is None else m.bias for m in maps]
    return linear(torch.cat(weights), torch.cat(biases))


def pack_attention(graph: nn.Module) -> int:
    """Let every attention compute q, k and v by one map; return how many.

    Rows of a matrix are independent of each other: (Wq; Wk; Wv) x = (Wq x; Wk x; Wv x).
    """
    return replace_all(graph, Attention, PackedAttention)


def stack_attention(graph: nn.Module) -> int:
    """Let every attention compute q, k and v by one 1x1 convolution and move no axis; return how many.

    As for one packed map; the tensors are (batch, heads, head_dim, tokens). Channels of a feature map are (head, head_dim) in
    this order already, so nothing is moved: the scores are q^T k, and v P^T is the transpose of P v^T.
    """
    return replace_all(graph, Attention, StackedAttention)


def batch_attention(graph: nn.Module) -> int:
    """Let every attention work on (batch * heads, head_dim, tokens); return how many.

    Heads are as independent as images are. Channels of a feature map are (head, head_dim) in this order already, so nothing is
    moved: q^T k is (tokens, tokens), and v P^T is the transpose of P v^T.
    """
    return replace_all(graph, Attention, BatchedAttention)


def einsum_attention(graph: nn.Module) -> int:
    """Let every attention work on (batch * heads, head_dim, tokens) and mix the values by an einsum; return how many.

    Sum over k of P[q, k] v[d, k] is the matrix product v P^T, written without the transposition. LiteRT's converter turns a
    transposed product of one matrix, which one head and one image are, into FULLY_CONNECTED with computed weights, and XNNPACK
    does not take that; a product that comes from an einsum stays BATCH_MATMUL.
    """
    return replace_all(graph, Attention, EinsumAttention)
