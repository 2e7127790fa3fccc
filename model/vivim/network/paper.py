"""Vivim as its paper writes it, in plain PyTorch: the form that the fast network is tested against.

Source: Yang, Xing, Zhu, "Vivim" (arXiv 2401.14168, figures and equations numbered as in IEEE TCSVT 2025), with parts of
SegFormer (Xie et al., arXiv 2105.15203) and of Mamba (Gu and Dao, arXiv 2312.00752).

Glossary
--------
B       clips in a batch
T       frames of a clip
H, W    height and width of a frame in pixels
h, w    height and width of a stage's grid: 1/4, 1/8, 1/16 and 1/32 of H and W
d       width of a stage, the channels of one token
L       tokens of a clip, T·h·w
E       inner width of ST-Mamba, 2·d
N       states of a scan's channel, 16
R       rank of the step size Δ, d/16 rounded up
C       classes, one plane of logits each

Nothing here is arranged for speed, and the scan is a loop over tokens. Parameters have the names they have in
`vivim.network.vivim`, so one state dict fits both forms. Left out, because the paper has neither: guidance by corrected
masks, and stochastic depth, which is the identity in evaluation. The boundary head of the paper's training is
`vivim.training.boundary_loss`.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vivim.network.config import HEADS, KEY_REDUCTION, STAGES, STATE_SIZE, VivimConfig

MAMBA_LAYERS = 2
"""Mamba layers of each stage, N_m of Eq. 5."""

CONV_KERNEL = 4
"""Tokens that the causal convolution before each scan sees, as in Mamba."""


class Vivim(nn.Module):
    """Fig. 3a: a hierarchical encoder of Temporal Mamba Blocks and a light decoder. It takes no guide."""

    def __init__(self, config: VivimConfig) -> None:
        super().__init__()
        if config.guided:
            raise ValueError("The paper's network takes no guide: give a configuration with guided=False.")
        widths = config.preset.widths
        self.encoder = Encoder(config)
        self.decoder = Decoder(widths, config.preset.decoder_width, config.num_classes)
        self.edge_head = nn.Conv2d(widths[0], 1, 1) if config.edge_head else None

    def forward(self, x: Tensor, return_edges: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """Segment clips ``(B, T, 3, H, W)``: logits ``(B, T, C, H, W)``, and edge logits ``(B, T, 1, H, W)``."""
        clips, size = x.shape[:2], x.shape[3:]
        features = self.encoder(x)
        logits = upsample(self.decoder(features), size).unflatten(0, clips)  # (B, T, C, H, W)
        if not return_edges:
            return logits
        if self.edge_head is None:
            raise ValueError("This network has no edge head: make it with edge_head=True.")
        edges = upsample(self.edge_head(features[0]), size).unflatten(0, clips)  # (B, T, 1, H, W)
        return logits, edges


class Encoder(nn.Module):
    """Four stages of Temporal Mamba Blocks (Fig. 3b): attention within each frame, then scans over the clip."""

    def __init__(self, config: VivimConfig) -> None:
        super().__init__()
        widths, depths = config.preset.widths, config.preset.depths
        self.patch_embeddings = nn.ModuleList()
        self.mit = nn.ModuleList()
        self.temporal = nn.ModuleList()
        for i in range(STAGES):
            kernel, stride, channels = (7, 4, 3) if i == 0 else (3, 2, widths[i - 1])
            d = widths[i]
            layers = MAMBA_LAYERS if i in config.temporal_stages else 0
            self.patch_embeddings.append(PatchEmbedding(channels, d, kernel, stride))
            self.mit.append(nn.ModuleList(MiTBlock(d, HEADS[i], KEY_REDUCTION[i]) for _ in range(depths[i])))
            self.temporal.append(nn.ModuleList(MambaLayer(d, config.scans) for _ in range(layers)))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Clips ``(B, T, 3, H, W)`` to the features F_1 to F_4, each ``(B·T, d, h, w)``."""
        clips = x.shape[:2]
        x = x.flatten(0, 1).movedim(1, -1)  # (B·T, H, W, 3): frame by frame, channels last
        features = []
        for embedding, mit_blocks, mamba_layers in zip(
            self.patch_embeddings, self.mit, self.temporal, strict=True
        ):
            x = embedding(x)  # (B·T, h, w, d)
            for block in mit_blocks.children():
                x = block(x)
            x = x.unflatten(0, clips)  # (B, T, h, w, d)
            for layer in mamba_layers.children():
                x = layer(x)
            x = x.flatten(0, 1)  # (B·T, h, w, d)
            features.append(x.movedim(-1, 1))  # (B·T, d, h, w)
        return features


class PatchEmbedding(nn.Module):
    """Overlapped patch embedding, in the later stages also called patch merging (SegFormer, section 3.1)."""

    def __init__(self, channels: int, d: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, d, kernel, stride, padding=kernel // 2)
        self.norm = nn.LayerNorm(d)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens of the stage before to tokens of this one, ``(B·T, h, w, d)``."""
        return self.norm(self.proj(x.movedim(-1, 1)).movedim(1, -1))


class MiTBlock(nn.Module):
    """The spatial half of Fig. 3b: efficient self-attention and Mix-FFN, both within one frame."""

    def __init__(self, d: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(d)
        self.attention = EfficientAttention(d, heads, reduction)
        self.norm2 = nn.LayerNorm(d)
        self.mlp = MixFFN(d, nn.Conv2d)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens ``(B·T, h, w, d)``, same shape out."""
        x = self.attention(self.norm1(x)) + x
        return self.mlp(self.norm2(x)) + x


class EfficientAttention(nn.Module):
    """Self-attention with its keys and values on a grid `reduction` times coarser (SegFormer, Eqs. 1 and 2)."""

    def __init__(self, d: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(d, d)
        self.key = nn.Linear(d, d)
        self.value = nn.Linear(d, d)
        self.output = nn.Linear(d, d)
        self.reduce = nn.Conv2d(d, d, reduction, reduction) if reduction > 1 else nn.Identity()
        self.reduce_norm = nn.LayerNorm(d) if reduction > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Tokens ``(n, h, w, d)``, n frames, same shape out."""
        h, w, d = x.shape[1:]
        reduced = self.reduce(x.movedim(-1, 1)).movedim(1, -1)  # (n, h/reduction, w/reduction, d)
        reduced = self.reduce_norm(reduced)
        query = self.split_heads(self.query(x))  # (n, heads, h·w, d/heads)
        key = self.split_heads(self.key(reduced))  # (n, heads, h·w/reduction², d/heads)
        value = self.split_heads(self.value(reduced))
        weights = (query @ key.transpose(-1, -2) / math.sqrt(d // self.heads)).softmax(-1)
        y = (weights @ value).transpose(1, 2).flatten(2)  # (n, h·w, d)
        return self.output(y).unflatten(1, (h, w))

    def split_heads(self, x: Tensor) -> Tensor:
        """Tokens ``(n, h, w, d)`` to ``(n, heads, h·w, d/heads)``."""
        return x.flatten(1, 2).unflatten(2, (self.heads, -1)).transpose(1, 2)


class MixFFN(nn.Module):
    """Feed-forward layer with a depthwise convolution in it.

    With `nn.Conv2d` it is Mix-FFN, 3x3 within a frame (SegFormer, Eq. 3). With `nn.Conv3d` it is the detail-specific
    feed-forward layer DSF of Eq. 5, 3x3x3 over time, height and width.
    """

    def __init__(self, d: int, convolution: type[nn.Conv2d] | type[nn.Conv3d]) -> None:
        super().__init__()
        self.fc1 = nn.Linear(d, 4 * d)
        self.depthwise = convolution(4 * d, 4 * d, 3, padding=1, groups=4 * d)
        self.fc2 = nn.Linear(4 * d, d)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens ``(B·T, h, w, d)`` of frames or ``(B, T, h, w, d)`` of clips, same shape out."""
        x = self.fc1(x)  # (..., h, w, 4·d)
        x = self.depthwise(x.movedim(-1, 1)).movedim(1, -1)
        return self.fc2(F.gelu(x))


class MambaLayer(nn.Module):
    """The temporal half of Fig. 3b, Eq. 5: ST-Mamba, then DSF."""

    def __init__(self, d: int, scans: tuple[str, ...]) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(d)
        self.mamba = STMamba(d, scans)
        self.norm2 = nn.LayerNorm(d)
        self.mlp = MixFFN(d, nn.Conv3d)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens ``(B, T, h, w, d)``, same shape out."""
        x = self.mamba(self.norm1(x)) + x
        return self.mlp(self.norm2(x)) + x


class STMamba(nn.Module):
    """Fig. 3c: the same tokens scanned in three orders, each scan gated by z, and their mean projected."""

    def __init__(self, d: int, scans: tuple[str, ...]) -> None:
        super().__init__()
        E, R = 2 * d, math.ceil(d / 16)
        self.in_proj = nn.Linear(d, 2 * E, bias=False)
        self.branches = nn.ModuleDict({name: ScanBranch(E, R) for name in scans})
        self.out_proj = nn.Linear(E, d, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens ``(B, T, h, w, d)``, same shape out."""
        _, T, h, w, _ = x.shape
        u, z = self.in_proj(x).flatten(1, 3).chunk(2, dim=-1)  # (B, L, E) each, in the order t, y, x
        orders = scan_orders(T, h * w)
        outputs = []
        for name, branch in self.branches.items():
            order = orders[name].to(x.device)
            y = branch(u[:, order], z[:, order])  # (B, L, E), in the order of this scan
            outputs.append(y[:, order.argsort()])  # back in the order t, y, x
        mean = torch.stack(outputs).mean(0)
        return self.out_proj(mean).unflatten(1, (T, h, w))


def scan_orders(T: int, places: int) -> dict[str, Tensor]:
    """Orders ``(L,)`` in which the three scans of Fig. 4 visit tokens that lie in the order t, y, x."""
    tokens = torch.arange(T * places).view(T, places)
    return {
        "onward": tokens.flatten(),  # temporal forward scan: frame after frame
        "backward": tokens.flatten().flip(0),  # temporal backward scan: from the last token to the first
        "temporal": tokens.T.flatten(),  # spatial scan: all frames of one place, then of the next place
    }


class ScanBranch(nn.Module):
    """A selective state space model S6 with Mamba's convolution and gate (Mamba, Fig. 3 and Algorithm 2)."""

    def __init__(self, E: int, R: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(E, E, CONV_KERNEL, groups=E, padding=CONV_KERNEL - 1)
        self.x_proj = nn.Linear(E, R + 2 * STATE_SIZE, bias=False)
        self.dt_proj = nn.Linear(R, E)
        self.A_log = nn.Parameter(torch.arange(1.0, STATE_SIZE + 1).log().repeat(E, 1))  # (E, N)
        self.D = nn.Parameter(torch.ones(E))

    def forward(self, u: Tensor, z: Tensor) -> Tensor:
        """Scan ``u`` ``(B, L, E)`` from its first token to its last and gate it by ``z`` ``(B, L, E)``."""
        L, R = u.shape[1], self.dt_proj.in_features
        # causal: the end looks ahead and is cut off
        u = self.conv(u.transpose(1, 2))[..., :L].transpose(1, 2)
        u = F.silu(u)
        # (B, L, R), (B, L, N), (B, L, N)
        delta, b, c = self.x_proj(u).split([R, STATE_SIZE, STATE_SIZE], dim=-1)
        delta = F.softplus(self.dt_proj(delta))  # (B, L, E)
        a = -torch.exp(self.A_log)  # (E, N)
        return selective_scan(u, delta, a, b, c, self.D) * F.silu(z)


def selective_scan(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor, D: Tensor) -> Tensor:
    """Run the recurrence of Eqs. 2 and 3 token by token, in the precision of `a`.

    `a`, `b` and `c` are A, B and C of the paper, whose capitals are clips and classes here. As in Mamba, Eq. 2's input
    matrix is shortened to its first order, and D passes the input on::

        Ā = exp(Δ A),   B̄ = Δ B,   h_l = Ā h_(l-1) + B̄ u_l,   y_l = C h_l + D u_l,   h_(-1) = 0

    Parameters
    ----------
    u, delta : Tensor
        Input and step size Δ, ``(B, L, E)`` float.
    a : Tensor
        Rates of decay, ``(E, N)``, negative.
    b, c : Tensor
        Weights into and out of the states, ``(B, L, N)``.
    D : Tensor
        Skip weights, ``(E,)``.

    Returns
    -------
    Tensor
        ``(B, L, E)``.
    """
    state = torch.zeros_like(a)  # (E, N), with the first token (B, E, N)
    y = []
    for u_l, delta_l, b_l, c_l in zip(u.unbind(1), delta.unbind(1), b.unbind(1), c.unbind(1), strict=True):
        a_bar = torch.exp(delta_l[:, :, None] * a)  # (B, E, N)
        bu = (delta_l * u_l)[:, :, None] * b_l[:, None, :]  # (B, E, N)
        state = a_bar * state + bu
        y.append((state * c_l[:, None, :]).sum(-1))  # (B, E)
    return torch.stack(y, dim=1) + D * u


class Decoder(nn.Module):
    """The head of Fig. 3a: unify the widths, upsample, concatenate, fuse, predict (SegFormer, Eq. 4)."""

    def __init__(self, widths: tuple[int, ...], decoder_width: int, num_classes: int) -> None:
        super().__init__()
        self.linears = nn.ModuleList(nn.Linear(d, decoder_width) for d in widths)
        self.fuse = nn.Conv2d(len(widths) * decoder_width, decoder_width, 1, bias=False)
        self.norm = nn.BatchNorm2d(decoder_width)
        self.dropout = nn.Dropout(0.1)
        self.classify = nn.Conv2d(decoder_width, num_classes, 1)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Features ``(B·T, d, h, w)``, finest first, to logits ``(B·T, C, h, w)`` on the finest grid."""
        finest = features[0].shape[2:]
        unified = []
        for feature, linear in zip(features, self.linears, strict=True):
            y = linear(feature.movedim(1, -1)).movedim(-1, 1)  # (B·T, decoder_width, h, w)
            unified.append(upsample(y, finest))
        y = self.fuse(torch.cat(unified[::-1], dim=1))  # deepest stage first
        return self.classify(self.dropout(F.relu(self.norm(y))))


def upsample(x: Tensor, size: torch.Size) -> Tensor:
    """Resize planes ``(n, channels, h, w)`` to `size` by bilinear interpolation."""
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)
