"""The image towers, VisionTransformer and ModifiedResNet.

In: pixels `[B, 3, n, n]`. Out: features `[B, embed]`. Attribute names are the
checkpoint's names. Knows nothing of pictures, preprocessing or files.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from clipsearch.clip.config import Activation, VisionConfig
from clipsearch.clip.transformer import LayerNorm, Transformer, split_heads

EXPANSION = 4  # a bottleneck's output is this much wider than its inside


class VisionTransformer(nn.Module):
    """Patches and one class token through a transformer; the class token is the picture."""

    def __init__(self, config: VisionConfig, embed_dim: int, activation: Activation) -> None:
        super().__init__()
        if config.patch_size is None or not isinstance(config.layers, int):
            raise ValueError(f"a VisionTransformer needs a patch size and a depth, not {config}")
        if config.image_size % config.patch_size:
            raise ValueError(
                f"an image size of {config.image_size} is no multiple of the patch size"
                f" {config.patch_size}"
            )
        width, patch_size = config.width, config.patch_size
        positions = (config.image_size // patch_size) ** 2 + 1
        self.input_resolution = config.image_size
        self.output_dim = embed_dim
        self.conv1 = nn.Conv2d(3, width, kernel_size=patch_size, stride=patch_size, bias=False)
        self.class_embedding = nn.Parameter(width**-0.5 * torch.randn(width))
        self.positional_embedding = nn.Parameter(width**-0.5 * torch.randn(positions, width))
        self.ln_pre = LayerNorm(width)
        self.transformer = Transformer(config, activation)
        self.ln_post = LayerNorm(width)
        self.proj = nn.Parameter(width**-0.5 * torch.randn(width, embed_dim))

    def forward(self, pixels: Tensor) -> Tensor:
        """`[B, 3, n, n]` in the dtype of the weights → `[B, embed_dim]`."""
        patches = self.conv1(pixels).flatten(2).transpose(1, 2)  # [B, grid², width]
        # Under autocast the patches are half precision; the sum of the blocks must not be.
        patches = patches.to(self.conv1.weight.dtype)
        first = self.class_embedding.to(patches.dtype).expand(patches.shape[0], 1, -1)
        x = torch.cat([first, patches], dim=1)  # [B, grid² + 1, width]
        x = self.ln_pre(x + self.positional_embedding.to(x.dtype))
        x = self.transformer.pooled(x, torch.zeros(len(x), dtype=torch.int64, device=x.device))
        features: Tensor = self.ln_post(x) @ self.proj
        return features


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 with an average pool where other ResNets stride, so that nothing aliases."""

    def __init__(self, inplanes: int, planes: int, stride: int = 1) -> None:
        super().__init__()
        outplanes = planes * EXPANSION
        self.conv1 = nn.Conv2d(inplanes, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.avgpool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.conv3 = nn.Conv2d(planes, outplanes, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outplanes)
        nn.init.zeros_(self.bn3.weight)  # a new block adds nothing to its input yet
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or inplanes != outplanes:
            self.downsample = nn.Sequential()
            # The checkpoint calls the pool "-1" and the convolution "0": the pool has no weights.
            self.downsample.add_module("-1", nn.AvgPool2d(stride))
            self.downsample.add_module("0", nn.Conv2d(inplanes, outplanes, 1, bias=False))
            self.downsample.add_module("1", nn.BatchNorm2d(outplanes))

    def forward(self, x: Tensor) -> Tensor:
        """`[B, inplanes, h, w]` → `[B, 4 planes, h / stride, w / stride]`."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(self.avgpool(out)))
        return F.relu(out + self.downsample(x))


class AttentionPool2d(nn.Module):
    """Attention with one query, the mean of the feature map, over the mean and every place."""

    def __init__(self, grid: int, width: int, heads: int, output_dim: int) -> None:
        super().__init__()
        self.heads = heads
        self.positional_embedding = nn.Parameter(width**-0.5 * torch.randn(grid * grid + 1, width))
        self.k_proj = nn.Linear(width, width)
        self.q_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.c_proj = nn.Linear(width, output_dim)
        for linear in (self.k_proj, self.q_proj, self.v_proj, self.c_proj):
            nn.init.normal_(linear.weight, std=width**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, width, grid, grid]` → `[B, output_dim]`."""
        places = x.flatten(2).transpose(1, 2)  # [B, grid², width]
        x = torch.cat([places.mean(dim=1, keepdim=True), places], dim=1)  # [B, grid² + 1, width]
        x = x + self.positional_embedding.to(x.dtype)
        q, k, v = self.q_proj(x[:, :1]), self.k_proj(x), self.v_proj(x)
        q, k, v = (split_heads(t, self.heads) for t in (q, k, v))
        pooled = F.scaled_dot_product_attention(q, k, v)  # [B, heads, 1, width / heads]
        out: Tensor = self.c_proj(pooled.flatten(1))
        return out


class ModifiedResNet(nn.Module):
    """A ResNet with three convolutions in its stem, anti-aliased strides and attention pooling."""

    def __init__(self, config: VisionConfig, embed_dim: int) -> None:
        super().__init__()
        if not isinstance(config.layers, tuple):
            raise ValueError(f"a ModifiedResNet needs the depths of its four stages, not {config}")
        if config.image_size % 32:
            raise ValueError(f"an image size of {config.image_size} is not a multiple of 32")
        width = config.width
        self.input_resolution = config.image_size
        self.output_dim = embed_dim
        self.conv1 = nn.Conv2d(3, width // 2, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width // 2)
        self.conv2 = nn.Conv2d(width // 2, width // 2, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width // 2)
        self.conv3 = nn.Conv2d(width // 2, width, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.avgpool = nn.AvgPool2d(2)
        self.layer1 = _stage(width, width, config.layers[0], stride=1)
        self.layer2 = _stage(width * 4, width * 2, config.layers[1], stride=2)
        self.layer3 = _stage(width * 8, width * 4, config.layers[2], stride=2)
        self.layer4 = _stage(width * 16, width * 8, config.layers[3], stride=2)
        grid = config.image_size // 32
        self.attnpool = AttentionPool2d(grid, width * 32, config.n_heads, embed_dim)

    def forward(self, pixels: Tensor) -> Tensor:
        """`[B, 3, n, n]` in the dtype of the weights → `[B, embed_dim]`."""
        x = F.relu(self.bn1(self.conv1(pixels)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = self.avgpool(F.relu(self.bn3(self.conv3(x))))  # [B, width, n / 4, n / 4]
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))  # [B, 32 width, n / 32, n / 32]
        out: Tensor = self.attnpool(x)
        return out


def _stage(inplanes: int, planes: int, blocks: int, stride: int) -> nn.Sequential:
    first = Bottleneck(inplanes, planes, stride)
    rest = (Bottleneck(planes * EXPANSION, planes) for _ in range(1, blocks))
    return nn.Sequential(first, *rest)
