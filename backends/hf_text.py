"""A pretrained text model on this machine, treated as a black box: texts in, class scores out."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import PositiveInt

from fedbbpt.assets.catalogue import ASSETS
from fedbbpt.backend import Backend, BackendInfo, BackendOutput, Modality, Provider, check_scores
from fedbbpt.data.texts import as_texts
from fedbbpt.errors import BackendError, ConfigError, FedbbptError, MissingExtra
from fedbbpt.types import Float32, Inputs
from fedbbpt_backends.template import COMPLETION, QUESTION, Template, resolve_label_words
from fedbbpt_backends.verbalizer import Verbalizer, length_buckets

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from fedbbpt_backends.generation import Generator
    from fedbbpt_backends.heads import LinearHead
    from fedbbpt_backends.text_models import TextModel

MAX_TOKENS = 4096  # per forward pass, padding included: more is no faster on a CPU
MAX_BATCH = 128
WITH_LABEL_WORDS = ("verbalizer", "generated")  # classifiers that use label words
CAUSAL_ASSETS = ("smollm2",)


class HfText(Backend):
    """A local text model: one of the assets, one from Hugging Face, or your own folder.

    `model` is minilm (all-MiniLM-L6-v2, 23 M parameters), smollm2 (SmolLM2-135M-Instruct), bert-tiny (all fetched on
    first use), hf:ID or dir:PATH. `classifier` names the source of the class scores: `verbalizer`, the probability of
    each class's label words in the template (see `Verbalizer`); `generated`, the label words that the model generates,
    as with a service that returns no scores; `own`, the model's classifier; `prototypes` or `linear`, on the mean of
    the last layer, fitted to the provider's shots; or a safetensors file; auto takes the first one available of `own`,
    `verbalizer` (causal models only), and `prototypes`. `template` contains {text}, and may contain {question} and
    {options}. `label_words` are one string per class; the default is the task's. `device` is torch's name of one; auto
    is the GPU if there is one. `dtype` auto is bfloat16 if the device computes faster in it. Texts are truncated to
    `max_tokens`. With `single_string`, prompt and text are tokenized and truncated as one string, as behind a network.
    A call holds at most `max_batch` texts; with 1, the scores of a text have the same bits in every call.
    """

    modalities: tuple[Modality, ...] = ("text",)
    extra = "local"
    private_options: tuple[str, ...] = ("device",)

    def __init__(
        self,
        provider: Provider,
        /,
        *,
        model: str = "minilm",
        classifier: str = "auto",
        template: str | None = None,
        label_words: list[str] | None = None,
        dtype: Literal["auto", "float32", "bfloat16"] = "auto",
        device: str = "auto",
        max_tokens: PositiveInt = 128,
        single_string: bool = False,
        max_batch: PositiveInt = MAX_BATCH,
    ) -> None:
        try:
            self.network = TextNetwork(model, dtype, device, max_tokens)
        except ImportError as e:
            raise MissingExtra("backend 'hf-text'", "local", e) from e
        from fedbbpt_backends.heads import resolve_head
        from fedbbpt_backends.loading import short_reason

        text_model = self.network.model
        if classifier == "auto" and text_model.logits is None and text_model.language == "causal":
            classifier = "verbalizer"
        self.verbalizer: Verbalizer | None = None
        self._head: LinearHead | None = None
        self._generator: Generator | None = None
        if classifier in WITH_LABEL_WORDS:
            template = template or (QUESTION if classifier == "generated" else None)
            self.verbalizer = Verbalizer(text_model, provider, template, label_words, max_tokens, single_string)
            if classifier == "generated":
                from fedbbpt_backends import generation

                self._generator = generation.Generator(text_model, self.verbalizer)
        else:
            if template is not None or label_words is not None:
                raise ConfigError(
                    "backend.template and backend.label_words need a verbalizer; use -o backend.classifier=verbalizer"
                )
            self._head = resolve_head(classifier, self.network, provider)
        self.info = BackendInfo(
            model=model,
            input_size=None,
            classes=(self.verbalizer or self._head or text_model).classes,
            scores="log-probabilities" if self._generator else "logits",
            max_batch=max_batch,
            embeddings=text_model.embeddings if self.verbalizer else None,
            resolved={"model": self.network.model.name, "dtype": self.network.dtype, "device": self.network.device},
        )
        self.feature_extractor = self._features
        self.label_words = self.verbalizer and self.verbalizer.label_words
        check_scores(self.info)
        try:
            self.query(as_texts(["a"]))
        except (FedbbptError, MemoryError):
            raise
        except Exception as e:  # models raise anything for inputs that they do not accept
            raise BackendError(
                f"{model} cannot be queried with backend.classifier={classifier}: {short_reason(e)}"
            ) from e

    @staticmethod
    def sketch(provider: Provider, options: Mapping[str, Any]) -> BackendInfo | None:
        """See `Backend.sketch`; known for assets with their default classifier."""
        model, writes = options["model"], options["model"] in CAUSAL_ASSETS
        asked = options["template"], options["label_words"], options["single_string"]
        if model not in ASSETS or options["classifier"] != "auto" or not (writes or asked == (None, None, False)):
            return None
        if writes:
            words = resolve_label_words(options["label_words"], provider.classes, provider.label_words)
            Template(options["template"] or COMPLETION, provider.question, words, " ")
        classes = provider.classes if writes or provider.shots is not None else ()
        return BackendInfo(model, None, classes, "logits", options["max_batch"])

    @staticmethod
    def uses_verbalizer(options: Mapping[str, Any]) -> bool:
        """See `Backend.uses_verbalizer`; with classifier `auto`, known for assets only."""
        return options["classifier"] in WITH_LABEL_WORDS or (
            options["classifier"] == "auto" and options["model"] in CAUSAL_ASSETS
        )

    def query(self, inputs: Inputs) -> BackendOutput:
        """Scores texts (b,); counts their tokens after truncation, without padding."""
        if self._generator is not None:
            return self._generator(inputs)
        if self.verbalizer is not None:
            scores, tokens = self.verbalizer(inputs)
        elif self._head is None:
            scores, tokens = self.network.logits(inputs)
        else:
            features, tokens = self.network.read(inputs)
            scores = self._head(features)
        return BackendOutput(scores, tokens)

    def _features(self, inputs: Inputs) -> BackendOutput:
        return BackendOutput(*self.network.read(inputs))


class TextNetwork:
    """A model with its tokenizer, dtype, device and maximum length."""

    def __init__(self, model: str, dtype: str, device: str, max_tokens: int) -> None:
        from fedbbpt_backends.device import resolve_device, resolve_dtype
        from fedbbpt_backends.text_models import load_text_model

        self.device = resolve_device(device)
        self.model: TextModel = load_text_model(model, self.device)
        self._dtype = resolve_dtype(dtype, self.device)
        self.dtype = str(self._dtype).removeprefix("torch.")
        self.model.net.to(self._dtype).requires_grad_(False)
        self._longest = min(max_tokens, self.model.longest)

    def features(self, inputs: Inputs) -> Float32:
        """Pooled features (b, D), float32."""
        return self.read(inputs)[0]

    def read(self, inputs: Inputs) -> tuple[Float32, int]:
        """Pooled features (b, D), float32, and the number of tokens read."""
        return self._run(self.model.features, inputs)

    def logits(self, inputs: Inputs) -> tuple[Float32, int]:
        """The logits (b, C), float32, of the model's own classifier, and the number of tokens read."""
        if self.model.logits is None:
            raise BackendError(f"{self.model.name} has no classifier of its own")
        return self._run(self.model.logits, inputs)

    def _run(
        self, function: "Callable[[torch.Tensor, torch.Tensor], torch.Tensor]", inputs: Inputs
    ) -> tuple[Float32, int]:
        """Runs texts of similar length together, to save padding."""
        import torch

        from fedbbpt_backends.text_models import pad_batch

        ids = self.model.tokenizer(list(inputs), truncation=True, max_length=self._longest)["input_ids"]
        lengths = [len(tokens) for tokens in ids]
        pieces = length_buckets(lengths, MAX_TOKENS)
        outputs = []
        with torch.inference_mode():
            for rows in pieces:
                some, mask = pad_batch([ids[i] for i in rows], self.model.padding)
                outputs.append(function(some.to(self.device), mask.to(self.device)).float().cpu().numpy())
        ordered = np.concatenate(outputs)
        result = np.empty_like(ordered)
        result[np.concatenate(pieces)] = ordered
        return result, sum(lengths)
