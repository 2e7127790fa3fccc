"""Train the prompt head of a model on its own errors. The network itself stays as it is.

Each step segments what is chosen in some pictures, from nothing or from a mask that is off, in one to four rounds. In
every round a click, a stroke or a box says what is wrong with the mask of the round before.
"""

import math
import time
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from vivim.network import Vivim
from vivim.network.preprocessing import normalise
from vivim.network.prompt_head import EmbeddedFrame
from vivim.training.datasets import Clip
from vivim.training.losses import boundary_weight
from vivim.training.prompt_material import Material, choose_targets

SPREAD = 5 / 256
"""Standard deviation of a prompted place, as part of the picture's side. That of `vivim.prompting.grid`."""

CLICK_WEIGHT = 20.0
"""Weight in the loss of a prompted place."""


@dataclass(frozen=True)
class PromptRecipe:
    """How the prompt head is trained."""

    steps: int = 3000
    seconds: float = math.inf
    """Stop when this much time has passed. The learning rate then follows the clock."""
    pictures: int = 40
    """Pictures of a step, each encoded once."""
    targets: int = 2
    """Targets in each of them."""
    segment_share: float = 0.5
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.02
    average_decay: float = 0.998
    most_rounds: int = 4
    report_every: int = 100
    seed: int = 0


@dataclass(frozen=True)
class PromptStep:
    """Progress of `train_prompts`, with the averaged weights so far."""

    step: int
    seconds: float
    loss: float
    model: Vivim


def with_prompts(model: Vivim) -> Vivim:
    """Copy a model and give it a prompt head, with random weights unless it has one."""
    made = Vivim(replace(model.config, prompts=True))
    made.load_state_dict(model.state_dict(), strict=False)
    made.name, made.classes, made.provenance = model.name, model.classes, dict(model.provenance)
    return made.eval()


def train_prompts(
    model: Vivim,
    clips: Sequence[Clip],
    recipe: PromptRecipe | None = None,
    *,
    weights: Sequence[float] | None = None,
    device: torch.device | None = None,
) -> Iterator[PromptStep]:
    """Train the prompt head of a copy of `model` on clips and stills at its input size, and yield now and then.

    Where it has a prompt head already, training goes on from that. `weights` say how often each clip is drawn.
    """
    recipe, device = recipe or PromptRecipe(), device or torch.device("cpu")
    torch.manual_seed(recipe.seed)
    trained = with_prompts(model).to(device).requires_grad_(False)
    head = trained.prompt_head
    assert head is not None
    average = deepcopy(head)
    head.requires_grad_(True)
    optimiser = torch.optim.AdamW(head.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
    material = Material(clips, device, weights)
    began, running = time.monotonic(), None
    for step in range(1, recipe.steps + 1):
        seconds = time.monotonic() - began
        progress = max((step - 1) / recipe.steps, seconds / recipe.seconds)
        cosine = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
        for group in optimiser.param_groups:
            group["lr"] = recipe.learning_rate * min(1.0, step / 100) * cosine
        loss = _loss_of_step(trained, material, recipe)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimiser.step()
        with torch.no_grad():
            decay = min(recipe.average_decay, (1 + step) / (10 + step))
            torch._foreach_lerp_(list(average.parameters()), list(head.parameters()), 1 - decay)
        running = loss.detach() if running is None else running.lerp(loss.detach(), 0.02)
        last = step == recipe.steps or progress >= 1.0
        if last or step % recipe.report_every == 0:
            found = with_prompts(model)
            assert found.prompt_head is not None
            found.prompt_head.load_state_dict(average.state_dict())
            yield PromptStep(step, time.monotonic() - began, float(running), found)
        if last:
            return


def _loss_of_step(model: Vivim, material: Material, recipe: PromptRecipe) -> Tensor:
    """Draw pictures, targets and prompts, and segment the targets in some rounds."""
    device = material.frames.device
    head = model.prompt_head
    assert head is not None
    index = torch.multinomial(material.odds, recipe.pictures, replacement=True)
    before = 1 if torch.rand(()).item() < 0.5 else 0
    x, masks, segments, other = _drawn(material, index, before)
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        with torch.no_grad():
            features = [f.unflatten(0, x.shape[:2])[:, before] for f in model.features(x)]
            own = model.decoder(features)[:, :1].float()
        embedded = model.embed_for_prompts(features, x[:, before])

    def each(tensor: Tensor) -> Tensor:
        return tensor.repeat_interleave(recipe.targets, 0)

    embedded = EmbeddedFrame(*(each(part) for part in embedded))
    target, marked = choose_targets(each(masks), each(segments), recipe.segment_share)
    own = F.interpolate(each(own), size=target.shape[1:], mode="bilinear", align_corners=False)[:, 0] > 0
    start, has_start = _starts(target, marked, own, each(other))
    boxed, silent = torch.rand(2, len(target), device=device)
    boxed = boxed < 0.3
    silent = silent < torch.where(boxed, 0.5, torch.where(has_start, 0.1, 0.0))
    truth, usable = target.float(), target.flatten(1).any(1).float()
    weight = boundary_weight(truth[:, None])[:, 0]
    box = _boxes(target) * _maps(boxed)
    lesion, not_lesion = torch.zeros_like(truth), torch.zeros_like(truth)
    current, mask, has_mask = start, start.float(), _maps(has_start).expand_as(truth)
    total, rounds = torch.zeros((), device=device), int(torch.randint(1, recipe.most_rounds + 1, ()))
    for number in range(rounds):
        place, positive, wrong = _prompted_places(current, target)
        place = place * _maps(wrong & ~silent if number == 0 else wrong)
        sign = _maps(positive)
        lesion = torch.maximum(lesion, place * sign)
        not_lesion = torch.maximum(not_lesion, place * (1 - sign))
        planes = torch.stack((lesion, not_lesion, place * (2 * sign - 1), box, mask, has_mask), 1)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logits = head(embedded, planes)[:, 0].float()
        said = torch.maximum(lesion, not_lesion)
        total = total + (_loss(logits, truth, weight + CLICK_WEIGHT * said) * usable).sum()
        current, mask = logits.detach() > 0, logits.detach().sigmoid()
        has_mask = torch.ones_like(truth)
    return total / (rounds * usable.sum().clamp(min=1))


def _maps(flags: Tensor) -> Tensor:
    """Truth values ``(n,)`` as planes ``(n, 1, 1)`` of 0 and 1."""
    return flags.float()[:, None, None]


def _loss(logits: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Weighted cross-entropy plus one minus soft Dice, one value for each of the ``(n, H, W)``."""
    entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    probability = logits.sigmoid()
    both = (probability * truth * weight).sum((1, 2))
    all_ = ((probability + truth) * weight).sum((1, 2))
    return (entropy * weight).sum((1, 2)) / weight.sum((1, 2)) + 1 - (2 * both + 1) / (all_ + 1)


def _drawn(material: Material, index: Tensor, before: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Pictures at `index`, with as many frames `before` and after each, moved and coloured anew.

    Returns network inputs ``(n, T, 3, H, W)``, and labels and segments of the frame in the middle, and the labels of
    another frame of its clip, all int64.
    """
    n, device = len(index), index.device

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(shape, device=device)

    steps = range(-before, before + 1)
    window = torch.stack([material.neighbour(index, step) for step in steps], 1)
    angle, zoom = uniform(-0.5, 0.5, n), torch.exp(uniform(-0.4, 0.4, n))
    stretch = torch.exp(uniform(-0.15, 0.15, n))
    flip = torch.where(uniform(0, 1, n) < 0.5, -1.0, 1.0)
    theta = torch.zeros(n, len(window[0]), 2, 3, device=device)
    rows = ((angle.cos() * flip, -angle.sin()), (angle.sin() * flip, angle.cos()))
    for y, row in enumerate(rows):
        for x, value in enumerate(row):
            theta[:, :, y, x] = (value * zoom * (stretch if x else 1 / stretch))[:, None]
    theta[..., 2] = uniform(-0.25, 0.25, n, 1, 2)
    jitter = 0.02 * torch.randn_like(theta) * (~material.moving[index])[:, None, None, None]
    jitter[:, before] = 0
    frames = material.frames[window].movedim(-1, -3).flatten(0, 1).float()
    size = [len(frames), 3, *frames.shape[-2:]]
    grid = F.affine_grid((theta + jitter).flatten(0, 1), size, align_corners=False)
    bright = F.grid_sample(frames, grid, align_corners=False).unflatten(0, (n, -1)) / 255
    bright = bright.clamp(1e-4, 1) ** torch.exp(uniform(-0.4, 0.4, n, 1, 1, 1, 1))
    bright = bright * uniform(0.7, 1.3, n, 1, 1, 1, 1) + uniform(-0.08, 0.08, n, 1, 3, 1, 1)
    grey = bright.mean(2, keepdim=True)
    vivid = torch.where(uniform(0, 1, n, 1, 1, 1, 1) < 0.25, 0.0, uniform(0.6, 1.4, n, 1, 1, 1, 1))
    bright = grey + (bright - grey) * vivid
    bright = bright + uniform(-0.05, 0.06, n, 1, 1, 1, 1).clamp(min=0) * torch.randn_like(bright)
    far = torch.randint(1, 6, (n,), device=device) * torch.where(uniform(0, 1, n) < 0.5, -1, 1)
    other = material.masks[material.neighbour(index, far)].float()
    middle = grid.unflatten(0, (n, -1))[:, before]
    labels = torch.stack((material.masks[index].float(), other), 1)
    labels = F.grid_sample(labels, middle, mode="nearest", align_corners=False).long()
    segments = material.segments[index].float()
    segments = F.grid_sample(segments, middle, mode="nearest", padding_mode="border", align_corners=False)
    inputs = normalise(bright.clamp(0, 1).movedim(2, -1) * 255)
    return inputs, labels[:, 0], segments.long(), labels[:, 1]


def _starts(target: Tensor, marked: Tensor, own: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Masks to start from ``(n, H, W)`` bool, and which targets have one ``(n,)``.

    The target moved and frayed, or for what is marked also the network's own mask, or that of another frame.
    """
    n, device = len(target), target.device
    theta = torch.zeros(n, 2, 3, device=device)
    zoom = 1 + 0.2 * torch.randn(n, 1, device=device)
    theta[:, (0, 1), (0, 1)] = zoom * (1 + 0.1 * torch.randn(n, 2, device=device))
    theta[:, :, 2] = 0.08 * torch.randn(n, 2, device=device)
    grid = F.affine_grid(theta, [n, 1, *target.shape[1:]], align_corners=False)
    soft = F.avg_pool2d(F.grid_sample(target[:, None].float(), grid, align_corners=False), 9, 1, 4)
    noise = torch.randn(n, 1, 8, 8, device=device) * 0.5 * torch.rand(n, 1, 1, 1, device=device)
    noise = F.interpolate(noise, size=target.shape[1:], mode="bicubic", align_corners=False)
    frayed = (soft + noise * (4 * soft * (1 - soft) + 0.6) > 0.5)[:, 0]
    kind = torch.rand(n, device=device)
    use_own, use_other = marked & (kind < 0.2), marked & (kind >= 0.2) & (kind < 0.3)
    start = torch.where(use_own[:, None, None], own, frayed)
    start = torch.where(use_other[:, None, None], other > 0, start)
    has = (use_own | use_other | (kind >= 0.7)) & start.flatten(1).any(1)
    return start & has[:, None, None], has


def _boxes(target: Tensor) -> Tensor:
    """Boxes around targets, ``(n, H, W)`` float of 0 and 1, each side off by up to 6 of 256 pixels or a tenth of it."""
    n, height, width = target.shape
    ys, xs = (torch.arange(size, device=target.device).float() for size in (height, width))
    inside = []
    for axis, at in ((2, ys), (1, xs)):
        hit = target.any(axis).float()
        low, high = hit.argmax(1).float(), len(at) - 1 - hit.flip(1).argmax(1).float()
        slack = torch.maximum(0.1 * (high - low), torch.full_like(low, 6 * len(at) / 256))
        low, high = (side + slack * (2 * torch.rand(n, device=target.device) - 1) for side in (low, high))
        high = torch.maximum(high, low + 2)
        inside.append((at >= low[:, None]) & (at <= high[:, None]))
    return (inside[0][:, :, None] & inside[1][:, None, :]).float()


def _prompted_places(current: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where a person prompts next: about the middle of the largest wrong region, some with a short stroke.

    Returns the places as Gaussians ``(n, H, W)``, whether they are lesion ``(n,)``, and whether anything is wrong.
    """
    n, height, width = target.shape
    wrong = torch.stack((target & ~current, current & ~target), 1).float()
    depth = wrong.clone()
    for size in (5, 9, 17, 31):
        depth = depth + wrong * F.avg_pool2d(wrong, size, 1, size // 2)
    depth = depth * (0.6 + 0.4 * torch.rand_like(depth))
    most, at = depth.flatten(1).max(1)
    which, at = at // (height * width), at % (height * width)
    first = torch.stack((at // width, at % width), 1).float()
    region = wrong[torch.arange(n, device=at.device), which]
    end = (region.flatten(1) * torch.rand_like(region).flatten(1)).argmax(1)
    last = torch.stack((end // width, end % width), 1).float()
    stroke = (torch.rand(n, device=at.device) < 0.12)[:, None]
    reach = (last - first) * torch.where(stroke, 0.8, 0.0)
    ys, xs = torch.meshgrid(
        *(torch.arange(s, device=at.device).float() for s in (height, width)), indexing="ij"
    )
    y, x = ys - first[:, 0, None, None], xs - first[:, 1, None, None]
    along = (y * reach[:, 0, None, None] + x * reach[:, 1, None, None]) / reach.square().sum(1).clamp(min=1)[
        :, None, None
    ]
    along = along.clamp(0, 1)
    away = (y - along * reach[:, 0, None, None]) ** 2 + (x - along * reach[:, 1, None, None]) ** 2
    place = torch.exp(-away / (2 * (SPREAD * height) ** 2))
    outside = stroke[..., None] & (region == 0) & (place > 0.5)  # a stroke stays inside of what is wrong
    return torch.where(outside, 0.0, place), which == 0, most > 0.5
