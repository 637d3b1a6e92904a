"""The teacher: CLIP's ViT-B/16 image tower (Radford et al. 2021), rebuilt in torch from a file of int8 weights."""

import torch
from torch import Tensor, nn

from fedbbpt_backends.torchvision_compat import ensure_importable
from fedbbpt_benchmarks.experiments.pretrain import onnx_weights

WIDTH = 512  # of an embedding
SIZE = 224
MEAN = (0.48145466, 0.4578275, 0.40821073)  # CLIP's own normalisation
STD = (0.26862954, 0.26130258, 0.27577711)


class Teacher(nn.Module):
    """uint8 images (b, 3, h, w) -> unit embeddings (b, 512) float32; images of any size are scaled to 224 px."""

    def __init__(self, onnx_file: bytes, device: str) -> None:
        super().__init__()
        ensure_importable()
        import transformers

        config = transformers.CLIPVisionConfig(
            hidden_size=768,
            intermediate_size=3072,
            num_hidden_layers=12,
            num_attention_heads=12,
            patch_size=16,
            image_size=SIZE,
            projection_dim=WIDTH,
        )
        net = transformers.CLIPVisionModelWithProjection(config)
        weights = onnx_weights.read(onnx_file)
        position_ids = {name: value for name, value in net.state_dict().items() if name.endswith("position_ids")}
        net.load_state_dict(_renamed(weights, net.state_dict()) | position_ids, strict=True)
        self.net = net.eval().to(device, torch.bfloat16)
        self.register_buffer("mean", torch.tensor(MEAN, device=device).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD, device=device).view(3, 1, 1), persistent=False)

    @torch.inference_mode()
    def forward(self, images: Tensor) -> Tensor:
        x = images.to(self.mean.device).float() / 255
        if x.shape[-2:] != (SIZE, SIZE):
            x = nn.functional.interpolate(x, (SIZE, SIZE), mode="bicubic", antialias=True).clamp(0, 1)
        embeds = self.net(((x - self.mean) / self.std).to(torch.bfloat16)).image_embeds.float()
        return nn.functional.normalize(embeds, dim=-1)


def _renamed(weights: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    """Under the names of the installed transformers: some releases drop the leading `vision_model.`"""
    return {name if name in wanted else name.removeprefix("vision_model."): value for name, value in weights.items()}
