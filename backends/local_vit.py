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

# Larger batches gain nothing on a CPU, and lose once a layer no longer fits into its caches.
MOST_ON_CPU, MOST_ON_GPU = 128, 2048
LUMA = (0.299, 0.587, 0.114)  # of red, green and blue in grey (ITU-R BT.601), as Pillow has it


class LocalViT(Splittable):
    """A local vision model: the embedded one, one from timm or Hugging Face, or your own folder.

    `model` is embedded, timm:NAME (with optional `weights`, a file), hf:ID or dir:PATH. `classifier` names the source
    of the class scores: `own`, the model's classifier; `prototypes` or `linear`, fitted to the provider's shots; a head
    of the embedded model by name (`mnist`); or a safetensors file. `auto` takes the first one available of `own`, the
    head that the task names, and `prototypes`. A call holds at most `max_batch` images, and as many as keep its
    activations below `max_activation_mib` (MiB); with max_batch=1, the scores of an image have the same bits in every
    call. dtype `auto` is bfloat16 if the device computes faster in it.
    """

    modalities: tuple[Modality, ...] = ("image",)

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
        self._cuts: dict[tuple[object, ...], SplitModel] = {}
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
        """Class scores of images (b, 3, h, w), float32 in [0, 1].

        Raises:
            BackendError: the model was given up for a part of it (`split`).
        """
        if self._head is None:
            return BackendOutput(self._whole().logits(inputs))
        return BackendOutput(self._head(self._whole().features(inputs)))

    def _features(self, inputs: Float32) -> BackendOutput:
        return BackendOutput(self._whole().features(inputs))

    def _whole(self) -> "Network":
        if self.network is None:
            raise BackendError("only a part of the model is here, which cannot answer alone")
        return self.network

    def computes_in(self, dtype: "Precision") -> "Precision":
        """See `Splittable`."""
        from fedbbpt_backends.device import dtype_of

        return "bfloat16" if "bfloat16" in str(dtype_of(dtype, self.info.resolved["device"])) else "float32"

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
        """See `Splittable.partition_model`; the model is loaded anew, once for each cut."""
        from fedbbpt_backends.split_vit import SplitViT

        cut = (head_blocks, tail_blocks, num_prompt_tokens, deep_prompt, num_classes, dtype, role)
        if cut not in self._cuts:
            self._cuts[cut] = SplitViT(
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
        return self._cuts[cut]


class Network:
    """A model with its normalisation and resizing, its number format and its batch limit."""

    def __init__(self, model: str, weights: str | None, dtype: str, device: str, max_activation_mib: int) -> None:
        import torch

        from fedbbpt_backends.device import dtype_of, usable_device
        from fedbbpt_backends.image_models import load_image_model

        self.device = usable_device(device)
        self.model: ImageModel = load_image_model(model, weights, self.device)
        self.precision = dtype_of(dtype, self.device)
        if not self._takes(self.precision):
            if dtype != "auto":
                raise BackendError(f"{self.model.name} does not compute in {dtype}; use -o backend.dtype=float32")
            self.precision, self.model = torch.float32, load_image_model(model, weights, self.device)
        self.model.net.requires_grad_(False)
        self.dtype = str(self.precision).removeprefix("torch.")
        most = MOST_ON_CPU if self.device == "cpu" else MOST_ON_GPU
        self.max_batch = int(
            np.clip(max_activation_mib * 2**20 // (self.model.activation * self.precision.itemsize), 1, most)
        )
        moments = self.model.preprocessing.mean, self.model.preprocessing.std
        mean, std = (torch.tensor(values, device=self.device).view(-1, 1, 1) for values in moments)
        self._scale, self._shift = 1 / std, -mean / std

    def _takes(self, precision: "torch.dtype") -> bool:
        """Whether the model computes in this number format, in which it is from now on: some mix others into it."""
        import torch

        if precision == torch.float32:  # in which it has answered when it was loaded
            return True
        self.model.net.to(precision)
        shape = (1, self.model.preprocessing.num_channels, *self.model.size)
        blank = torch.zeros(shape, dtype=precision, device=self.device)
        try:
            with torch.inference_mode():
                (self.model.logits or self.model.features)(blank)
        except (RuntimeError, TypeError):
            return False
        return True

    def features(self, inputs: Float32) -> Float32:
        """Pooled features (b, D)."""
        return self._run(self.model.features, inputs)

    def logits(self, inputs: Float32) -> Float32:
        """The model's own class scores (b, C)."""
        if self.model.logits is None:
            raise BackendError(f"{self.model.name} has no classifier of its own")
        return self._run(self.model.logits, inputs)

    def prepare(self, inputs: Float32) -> "torch.Tensor":
        """What the model reads (b, c, h, w): resized if need be, normalised, in its number format and on its device."""
        import torch

        x = torch.from_numpy(np.ascontiguousarray(inputs)).to(self.device)
        if tuple(x.shape[2:]) != self.model.size:
            x = torch.nn.functional.interpolate(x, self.model.size, mode="bicubic", antialias=True).clamp(0, 1)
        if self.model.preprocessing.channel_order == "L":
            x = (x * torch.tensor(LUMA, device=self.device).view(3, 1, 1)).sum(1, keepdim=True)
        values = torch.addcmul(self._shift, x, self._scale).to(self.precision)
        return values.flip(1) if self.model.preprocessing.channel_order == "BGR" else values

    def _run(self, function: "Callable[[torch.Tensor], torch.Tensor]", inputs: Float32) -> Float32:
        import torch

        pieces = range(0, len(inputs), self.max_batch)
        with torch.inference_mode():
            outputs = [function(self.prepare(inputs[i : i + self.max_batch])).float().cpu() for i in pieces]
        return torch.cat(outputs).numpy()


class FeatureEncoder(Encoder):
    """The embedded model's pooled features, in float32 so that they are the same on every processor's fast path."""

    def __init__(self) -> None:
        try:
            self.network = Network("embedded", None, "float32", "cpu", 512)
        except ImportError as e:
            raise MissingExtra("encoder 'embedded'", "local", e) from e
        self.dim = self.features(np.zeros((1, 3, *self.network.model.size), np.float32)).shape[1]

    def features(self, inputs: Float32) -> Float32:
        """(b, 3, h, w) in [0, 1] -> (b, dim), mean 0 and variance 1 by image."""
        features = self.network.features(inputs)
        centred = features - features.mean(1, keepdims=True)
        return centred / (centred.std(1, keepdims=True) + np.float32(1e-6))
