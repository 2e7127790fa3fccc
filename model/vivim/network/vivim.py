"""Vivim, the network: clips of frames in, lesion logits for every frame out.

Source: Yang, Xing, Zhu, "Vivim: a Video Vision Mamba for Medical Video Segmentation" (arXiv 2401.14168).

This is the fast form. `vivim.network.paper` has the same network as the paper writes it, with a glossary of its
letters, and gives the same numbers from the same state dict. What is arranged in another way says here what it equals
there. Ours alone are guidance by corrected masks, prompts, and stochastic depth.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vivim.network.config import HEADS, KEY_REDUCTION, VivimConfig, class_names
from vivim.network.decoder import Decoder, PresenceHead
from vivim.network.layers import conv2d_on_tokens, drop_path_rates, init_weights
from vivim.network.mix_transformer import MiTBlock, PatchEmbedding
from vivim.network.prompt_head import EmbeddedFrame, PromptHead
from vivim.network.temporal_mamba import ScanBranch, TemporalMambaBlock
from vivim.network.weight_conversion import LoadReport, load_reference_state_dict

TEMPORAL_BLOCKS = 2
GUIDE_PLANES = 2


class Encoder(nn.Module):
    """Four stages, each a per-frame MiT stage followed by Temporal Mamba blocks over the clip.

    Equal to `paper.Encoder`: tokens stay ``(B*T, h, w, width)`` throughout, channels last, and the blocks that see a
    whole clip are told its number of frames.
    """

    def __init__(self, config: VivimConfig) -> None:
        super().__init__()
        preset = config.preset
        inputs = (3, *preset.widths[:3])
        rates = iter(drop_path_rates(config.drop_path, sum(preset.depths)))
        self.patch_embeddings = nn.ModuleList(
            PatchEmbedding(channels, width, 7 if i == 0 else 3, 4 if i == 0 else 2)
            for i, (channels, width) in enumerate(zip(inputs, preset.widths, strict=True))
        )
        self.mit = nn.ModuleList(
            nn.ModuleList(MiTBlock(width, HEADS[i], KEY_REDUCTION[i], next(rates)) for _ in range(depth))
            for i, (width, depth) in enumerate(zip(preset.widths, preset.depths, strict=True))
        )
        self.temporal = nn.ModuleList(
            nn.ModuleList(
                TemporalMambaBlock(width, config.drop_path, config.scans)
                for _ in range(TEMPORAL_BLOCKS if stage in config.temporal_stages else 0)
            )
            for stage, width in enumerate(preset.widths)
        )

    def forward(self, x: Tensor, frames: int, added: Tensor | None = None) -> list[Tensor]:
        """Encode pixels ``(B*T, H, W, 3)`` as four features ``(B*T, width, h, w)`` on grids 1/4, 1/8, 1/16, 1/32."""
        features = []
        for number in range(len(self.mit)):
            x = self.stage(number, x, frames, added if number == 0 else None)
            features.append(x.permute(0, 3, 1, 2))
        return features

    def stage(self, number: int, x: Tensor, frames: int, added: Tensor | None = None) -> Tensor:
        """Run one stage: tokens of the stage before, or pixels, to tokens ``(B*T, h, w, width)``."""
        x = self.patch_embeddings[number](x, added)
        for block in self.mit[number].children():
            x = block(x)
        for block in self.temporal[number].children():
            x = block(x, frames)
        return x


class Vivim(nn.Module):
    """The whole network, with random weights until some are loaded.

    Equal to `paper.Vivim` where no guide is given.

    Parameters
    ----------
    config : VivimConfig
        Size, classes and options.
    """

    def __init__(self, config: VivimConfig | None = None) -> None:
        super().__init__()
        self.config = config or VivimConfig()
        preset = self.config.preset
        self.encoder = Encoder(self.config)
        self.decoder = Decoder(
            preset.widths, preset.decoder_width, self.config.num_classes, self.config.organ
        )
        self.presence = PresenceHead(preset.widths) if self.config.presence else None
        self.edge_head = nn.Conv2d(preset.widths[0], 1, 1) if self.config.edge_head else None
        self.guide_embed = (
            nn.Conv2d(GUIDE_PLANES, preset.widths[0], 7, 4, padding=3) if self.config.guided else None
        )
        self.name = "untitled"
        self.version = ""
        self.provenance: dict[str, Any] = {}
        self.classes: tuple[str, ...] = class_names(self.config.num_classes)
        self.apply(init_weights)
        for module in self.modules():
            if isinstance(module, ScanBranch):
                module.reset_step_size()
        if self.guide_embed is not None:  # an untrained guide changes nothing
            nn.init.zeros_(self.guide_embed.weight)
        self.prompt_head = PromptHead(preset.widths) if self.config.prompts else None

    def features(self, x: Tensor, guide: Tensor | None = None) -> list[Tensor]:
        """Encode clips.

        Parameters
        ----------
        x : Tensor
            ``(B, T, 3, H, W)`` float, ImageNet-normalised, H and W divisible by 32.
        guide : Tensor, optional
            ``(B, T, 2, H, W)`` float: squashed signed distance to the known or propagated mask in [-1, 1], and
            the confidence in it in [0, 1]. All zeros means nothing is known.

        Returns
        -------
        list of Tensor
            Four features ``(B*T, width, h, w)`` on grids 1/4, 1/8, 1/16 and 1/32, finest first.

        Raises
        ------
        ValueError
            If a shape does not fit, or a guide is given to a network without guidance.
        """
        self._check_input(x, guide)
        added = None
        if guide is not None and self.guide_embed is not None:
            added = conv2d_on_tokens(self.guide_embed, guide.flatten(0, 1).permute(0, 2, 3, 1))
        return self.encoder(x.flatten(0, 1).permute(0, 2, 3, 1), x.shape[1], added)

    def _check_input(self, x: Tensor, guide: Tensor | None) -> None:
        if x.dim() != 5 or x.shape[2] != 3:
            raise ValueError(f"x must be (B, T, 3, H, W), not {tuple(x.shape)}.")
        if x.shape[3] % 32 or x.shape[4] % 32:
            raise ValueError(
                f"H and W must be divisible by 32, not {x.shape[3]} and {x.shape[4]}: resize first."
            )
        if guide is None:
            return
        if self.guide_embed is None:
            raise ValueError("This network takes no guide: it was made with guided=False.")
        expected = (*x.shape[:2], GUIDE_PLANES, *x.shape[3:])
        if tuple(guide.shape) != expected:
            raise ValueError(f"guide must be {expected}, not {tuple(guide.shape)}.")

    def decode(self, features: list[Tensor], size: tuple[int, int], with_organ: bool = False) -> Tensor:
        """Decode features ``(B*T, width, h, w)`` to logits ``(B*T, C, *size)``, one more plane `with_organ`."""
        logits = self.decoder(features, with_organ)
        return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)

    def decode_where_present(self, features: list[Tensor], size: tuple[int, int]) -> Tensor:
        """Decode to logits ``(B*T, C, *size)`` that are nowhere above the frame's logit of presence.

        Where the network says that there is no lesion, nothing is marked. Where it is not sure, the mask stays and its
        probabilities are low, so that the frame counts as uncertain. A network without presence decodes as ever.
        """
        logits = self.decode(features, size)
        if self.presence is None:
            return logits
        return torch.minimum(logits, self.presence(features)[:, None, None, None].to(logits.dtype))

    def embed_for_prompts(self, features: list[Tensor], picture: Tensor, class_id: int = 1) -> EmbeddedFrame:
        """Compute what the prompt head needs of frames, once for any number of prompts.

        Parameters
        ----------
        features : list of Tensor
            Those of `features` for n frames, ``(n, width, h, w)``.
        picture : Tensor
            The n frames, normalised, ``(n, 3, H, W)``.
        class_id : int
            The class that is prompted, from 1.

        Raises
        ------
        ValueError
            If the network has no prompt head.
        """
        if self.prompt_head is None:
            raise ValueError("This network takes no prompts: it was made with prompts=False.")
        logits, classes = self.decoder(features, self.config.organ), self.config.num_classes
        own = logits[:, class_id - 1 : class_id]
        organ = logits[:, classes:] if self.config.organ else torch.zeros_like(own)
        return self.prompt_head.embed(features, picture, torch.cat((own, organ), dim=1))

    def forward(
        self, x: Tensor, guide: Tensor | None = None, return_edges: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Segment clips.

        Parameters
        ----------
        x, guide
            As for `features`.
        return_edges : bool
            Also return boundary logits; needs ``edge_head=True``.

        Returns
        -------
        Tensor or (Tensor, Tensor)
            Logits ``(B, T, C, H, W)``; with `return_edges` also edge logits ``(B, T, 1, H, W)``.
        """
        batch, _, _, *size = x.shape
        if return_edges and self.edge_head is None:
            raise ValueError("This network has no edge head: make it with edge_head=True.")
        features = self.features(x, guide)
        logits = self.decode(features, (size[0], size[1])).unflatten(0, (batch, -1))
        if not return_edges or self.edge_head is None:
            return logits
        edges = F.interpolate(self.edge_head(features[0]), size=size, mode="bilinear", align_corners=False)
        return logits, edges.unflatten(0, (batch, -1))

    def load_reference_state_dict(self, state_dict: Mapping[str, Tensor]) -> LoadReport:
        """Load weights named as in the reference implementation, with or without the prefix ``model.``.

        Returns
        -------
        LoadReport
            What was loaded and what in `state_dict` was not used.

        Raises
        ------
        CheckpointError
            If parameters are missing or have other shapes.
        """
        return load_reference_state_dict(self, state_dict)
