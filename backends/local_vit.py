"""A pretrained vision model on this machine, treated as a black box: images in, class scores out."""

import functools
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import PositiveInt

from fedbbpt.backend import BackendInfo, BackendOutput, Modality, Provider
from fedbbpt.encoders import Encoder
from fedbbpt.errors import BackendError, MissingExtra
from fedbbpt.split_learning.protocol import Splittable
from fedbbpt.types import Float32

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from fedbbpt.split_learning.protocol import Precision, Role, SplitModel
    from fedbbpt_backends.image_models import ImageModel

# Larger batches are no faster on a CPU, and slower once a layer no longer fits into its caches.
MAX_BATCH_CPU, MAX_BATCH_GPU = 128, 2048
LUMA = (0.299, 0.587, 0.114)  # weights of red, green and blue in grey (ITU-R BT.601), as in Pillow


class LocalViT(Splittable):
    """A local vision model: the embedded one, one from timm or Hugging Face, or your own folder.

    `model` is embedded, timm:NAME, hf:ID or dir:PATH. `weights` is a file for a timm model. `classifier` names the
    source of the class scores: `own`, the model's classifier; `prototypes` or `linear`, fitted to the provider's shots;
    a head of the embedded model by name (`mnist`); or a safetensors file; auto takes the first one available of `own`,
    the head that the task names, and `prototypes`. `device` is torch's name of one; auto is the GPU if there is one.
    `dtype` auto is bfloat16 if the device computes faster in it. `max_activation_mib` bounds the activations of a call,
    in MiB. A call holds at most `max_batch` images; with 1, the scores of an image have the same bits in every call.
    """

    modalities: tuple[Modality, ...] = ("image",)
    extra = "local"
    private_options: tuple[str, ...] = ("device",)

    def __init__(
        self,
        provider: Provider,
        /,
        *,
        model: str = "embedded",
        weights: str | None = None,
        classifier: str = "auto",
        dtype: Literal["auto", "float32", "bfloat16"] = "auto",
        device: str = "auto",
        max_activation_mib: PositiveInt = 512,
        max_batch: PositiveInt | None = None,
    ) -> None:
        try:
            self.network: Network | None = Network(model, weights, dtype, device, max_activation_mib)
        except ImportError as e:
            raise MissingExtra("backend 'local-vit'", "local", e) from e
        from fedbbpt_backends.heads import resolve_head

        self._reload = functools.partial(Network, model, weights, device=device, max_activation_mib=max_activation_mib)
        self._partitions: dict[tuple[object, ...], SplitModel] = {}
        self._head = resolve_head(classifier, self.network, provider)
        self.info = BackendInfo(
            model=model,
            input_size=self.network.model.size,
            classes=self.network.model.classes if self._head is None else self._head.classes,
            scores="logits",
            max_batch=min(self.network.max_batch, max_batch or self.network.max_batch),
            resolved={"model": self.network.model.name, "dtype": self.network.dtype, "device": self.network.device},
        )
        self.feature_extractor = self._features

    def query(self, inputs: Float32) -> BackendOutput:
        """Scores images (b, 3, h, w), float32 in [0, 1].

        Raises:
            BackendError: only a part of the model was kept (`partition_model`).
        """
        if self._head is None:
            return BackendOutput(self._whole().logits(inputs))
        return BackendOutput(self._head(self._whole().features(inputs)))

    def _features(self, inputs: Float32) -> BackendOutput:
        return BackendOutput(self._whole().features(inputs))

    def _whole(self) -> "Network":
        if self.network is None:
            raise BackendError("this process holds only a part of the model, which cannot answer queries")
        return self.network

    def computes_in(self, dtype: "Precision") -> "Precision":
        """See `Splittable`."""
        from fedbbpt_backends.device import resolve_dtype

        return "bfloat16" if "bfloat16" in str(resolve_dtype(dtype, self.info.resolved["device"])) else "float32"

    def partition_model(
        self,
        *,
        head_blocks: int,
        tail_blocks: int,
        num_prompt_tokens: int,
        deep_prompt: bool,
        num_classes: int,
        dtype: "Precision",
        role: "Role",
    ) -> "SplitModel":
        """See `Splittable.partition_model`; the model is loaded again, once per partition."""
        from fedbbpt_backends.split_vit import SplitViT

        key = (head_blocks, tail_blocks, num_prompt_tokens, deep_prompt, num_classes, dtype, role)
        if key not in self._partitions:
            self._partitions[key] = SplitViT(
                self._reload(dtype=dtype),
                head_blocks=head_blocks,
                tail_blocks=tail_blocks,
                num_prompt_tokens=num_prompt_tokens,
                deep_prompt=deep_prompt,
                num_classes=num_classes,
                role=role,
            )
        if role != "all":
            self.network = None
        return self._partitions[key]


class Network:
    """A model with its preprocessing, dtype, device and largest batch."""

    def __init__(self, model: str, weights: str | None, dtype: str, device: str, max_activation_mib: int) -> None:
        import torch

        from fedbbpt_backends.device import resolve_device, resolve_dtype
        from fedbbpt_backends.image_models import load_image_model

        self.device = resolve_device(device)
        self.model: ImageModel = load_image_model(model, weights, self.device)
        self.torch_dtype = resolve_dtype(dtype, self.device)
        if not self._supports(self.torch_dtype):
            if dtype != "auto":
                raise BackendError(f"{self.model.name} cannot compute in {dtype}; use -o backend.dtype=float32")
            self.torch_dtype, self.model = torch.float32, load_image_model(model, weights, self.device)
        self.model.net.requires_grad_(False)
        self.dtype = str(self.torch_dtype).removeprefix("torch.")
        most = MAX_BATCH_CPU if self.device == "cpu" else MAX_BATCH_GPU
        self.max_batch = int(
            np.clip(max_activation_mib * 2**20 // (self.model.activation * self.torch_dtype.itemsize), 1, most)
        )
        moments = self.model.preprocessing.mean, self.model.preprocessing.std
        mean, std = (torch.tensor(values, device=self.device).view(-1, 1, 1) for values in moments)
        self._scale, self._shift = 1 / std, -mean / std

    def _supports(self, dtype: "torch.dtype") -> bool:
        """Converts the model to this dtype and checks that it computes in it; some models mix dtypes."""
        import torch

        if dtype == torch.float32:  # in which it answered when it was loaded
            return True
        self.model.net.to(dtype)
        shape = (1, self.model.preprocessing.num_channels, *self.model.size)
        blank = torch.zeros(shape, dtype=dtype, device=self.device)
        try:
            with torch.inference_mode():
                (self.model.logits or self.model.features)(blank)
        except (RuntimeError, TypeError):
            return False
        return True

    def features(self, inputs: Float32) -> Float32:
        """Pooled features (b, D), float32."""
        return self._run(self.model.features, inputs)

    def logits(self, inputs: Float32) -> Float32:
        """The logits (b, C), float32, of the model's own classifier."""
        if self.model.logits is None:
            raise BackendError(f"{self.model.name} has no classifier of its own")
        return self._run(self.model.logits, inputs)

    def preprocess(self, inputs: Float32) -> "torch.Tensor":
        """Resizes if necessary, and normalises: images (b, 3, h, w) in [0, 1] -> (b, c, h', w') on the device."""
        import torch

        x = torch.from_numpy(np.ascontiguousarray(inputs)).to(self.device)
        if tuple(x.shape[2:]) != self.model.size:
            x = torch.nn.functional.interpolate(x, self.model.size, mode="bicubic", antialias=True).clamp(0, 1)
        if self.model.preprocessing.channel_order == "L":
            x = (x * torch.tensor(LUMA, device=self.device).view(3, 1, 1)).sum(1, keepdim=True)
        values = torch.addcmul(self._shift, x, self._scale).to(self.torch_dtype)
        return values.flip(1) if self.model.preprocessing.channel_order == "BGR" else values

    def _run(self, function: "Callable[[torch.Tensor], torch.Tensor]", inputs: Float32) -> Float32:
        import torch

        pieces = range(0, len(inputs), self.max_batch)
        with torch.inference_mode():
            outputs = [function(self.preprocess(inputs[i : i + self.max_batch])).float().cpu() for i in pieces]
        return torch.cat(outputs).numpy()


class FeatureEncoder(Encoder):
    """The embedded model's pooled features, computed in float32 on the CPU, whatever the machine is fastest in."""

    extra = "local"

    def __init__(self) -> None:
        try:
            self.network = Network("embedded", None, "float32", "cpu", 512)
        except ImportError as e:
            raise MissingExtra("encoder 'embedded'", "local", e) from e
        self.dim = self.features(np.zeros((1, 3, *self.network.model.size), np.float32)).shape[1]

    def features(self, inputs: Float32) -> Float32:
        """(b, 3, h, w) in [0, 1] -> (b, dim), with mean 0 and variance 1 per image."""
        features = self.network.features(inputs)
        centred = features - features.mean(1, keepdims=True)
        return centred / (centred.std(1, keepdims=True) + np.float32(1e-6))
