"""What an endpoint reads and answers, as a TOML file says it (`examples/http_json.toml`)."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, JsonValue, PositiveInt

from fedbbpt.backend import Modality
from fedbbpt.config.settings import read_toml
from fedbbpt.config.validation import MAX_STRING, check_keys, validate
from fedbbpt.dry_run import raise_unless_dry_run
from fedbbpt.errors import ConfigError
from fedbbpt.web.credentials import key_in
from fedbbpt.web.option_types import Timeout
from fedbbpt.web.urls import read_address

NAME, VALUE = re.compile(r"[\w!#$%&'*+.^`|~-]+", re.ASCII), re.compile(r"[ -~]*")  # of headers
FOR_KEYS = ("authorization", "api-key", "x-api-key")  # headers whose values are secrets


class Table(BaseModel):
    """A table of the file."""

    model_config = ConfigDict(frozen=True, strict=True, str_max_length=MAX_STRING)


class Auth(Table):
    """The header that takes the key, and the environment variable that holds it."""

    variable: str
    header: str = "Authorization"
    prefix: str = "Bearer "

    def key(self) -> str | None:
        """The secret.

        Raises:
            ConfigError: the variable holds none, or what no header can take.
        """
        key = key_in(self.variable)
        if key is None:
            raise_unless_dry_run(
                ConfigError(f"the endpoint asks for a key: set the environment variable {self.variable} to it")
            )
        return key


class Picture(Table):
    """How an image is sent: as PNG of 8 bits in base64, bare or as `data:image/png;base64,…`."""

    width: PositiveInt  # pixels
    height: PositiveInt
    encoding: Literal["png-base64", "data-uri"] = "png-base64"


class Description(Table):
    """An endpoint. The paths are JMESPath (jmespath.org), applied to the JSON of an answer."""

    url: str
    modality: Modality
    body: JsonValue  # see `fill`
    scores: str  # path to a list for each input, of C scores or D features
    kind: Literal["logits", "log-probabilities", "probabilities", "embeddings"]
    method: Literal["POST", "PUT", "PATCH"] = "POST"
    max_inputs_per_request: PositiveInt = 1
    classes: list[str] | None = None  # in the order of the scores; with `classes_path` those wanted, or else the task's
    classes_path: str | None = None  # to a list for each input: the classes in the order of its scores
    dimensions: PositiveInt | None = None  # of embeddings
    tokens_path: str | None = None  # to the number of tokens that the request took
    headers: dict[str, str] = {}  # public
    auth: Auth | None = None
    image: Picture | None = None
    timeout: Timeout = 60.0  # seconds without a sign of life


TABLES: dict[str, type[Table]] = {"auth": Auth, "image": Picture}


def read_description(path: Path) -> Description:
    """The endpoint that a file describes.

    Raises:
        UnknownName: a key that does not exist.
        ConfigError: no such file, a key is missing or of the wrong type, or keys contradict each other.
    """
    values = read_toml(path)
    _check_keys(str(path), values, Description)
    for name, model in TABLES.items():
        if isinstance(table := values.get(name), dict):
            _check_keys(f"{name} in {path}", table, model)
    description = validate(Description, values, str(path))
    read_address(description.url, f"url in {path}")
    for wrong, what in _rules(description):
        if wrong:
            raise ConfigError(f"{path}: {what}")
    return description


def fill(template: Any, inputs: Sequence[str]) -> Any:
    """The body of a request about some inputs.

    "{inputs}" becomes their list, and a list whose one element holds {input} has that element once for each of them;
    anywhere else {input} is the only input, alone or within a longer string.
    """
    match template:
        case "{inputs}":
            return list(inputs)
        case str() if len(inputs) == 1:
            return template.replace("{input}", inputs[0])
        case [element] if "{input}" in json.dumps(element):
            return [fill(element, [one]) for one in inputs]
        case list():
            return [fill(element, inputs) for element in template]
        case dict():
            return {key: fill(value, inputs) for key, value in template.items()}
        case _:
            return template


def _check_keys(where: str, table: dict[str, Any], model: type[Table]) -> None:
    check_keys(f"key of {where}", table, model.model_fields)
    if missing := [key for key, field in model.model_fields.items() if field.is_required() and key not in table]:
        raise ConfigError(f"{where} lacks {', '.join(missing)}")


def _rules(d: Description) -> list[tuple[bool, str]]:
    """What must not be, and what to do about it."""
    embeds, names = d.kind == "embeddings", d.classes or ()
    public = d.headers | ({d.auth.header: d.auth.prefix} if d.auth else {})
    secret = next((name for name in d.headers if name.lower() in FOR_KEYS), None)
    inputs = [f"<input {i}>" for i in range(min(d.max_inputs_per_request, 2))]
    body = json.dumps(fill(d.body, inputs))
    return [
        (
            not all(NAME.fullmatch(name) and VALUE.fullmatch(value) for name, value in public.items()),
            "headers must have names of ASCII letters and signs, and values of printable ASCII; auth.header and "
            "auth.prefix, too",
        ),
        (
            secret is not None,
            f"headers are public; leave out {secret} and name the variable that holds the key in auth",
        ),
        (
            not all(one in body for one in inputs),
            "body must hold the inputs: {inputs} for their list, {input} for each in a list of one element, or for the "
            "only one with max_inputs_per_request = 1",
        ),
        ((d.modality == "image") != (d.image is not None), "image = {width, height} goes with modality = 'image'"),
        (embeds != (d.dimensions is not None), "dimensions goes with kind = 'embeddings'"),
        (
            embeds and bool(d.classes or d.classes_path),
            "embeddings have no classes; leave out classes and classes_path",
        ),
        (
            not (embeds or d.classes or d.classes_path),
            "classes, in the order of the scores, or classes_path is missing",
        ),
        (len(set(names)) < len(names), "classes holds a name twice"),
    ]
