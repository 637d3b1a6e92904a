"""The endpoint file: requests and responses of an HTTP endpoint, described in TOML (`examples/http_json.toml`)."""

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
from fedbbpt.web.credentials import key_from_env
from fedbbpt.web.option_types import Timeout
from fedbbpt.web.urls import parse_service_url

NAME, VALUE = re.compile(r"[\w!#$%&'*+.^`|~-]+", re.ASCII), re.compile(r"[ -~]*")  # of headers
SECRET_HEADERS = ("authorization", "api-key", "x-api-key")  # their values are secrets


class Table(BaseModel):
    """A table of the file."""

    model_config = ConfigDict(frozen=True, strict=True, str_max_length=MAX_STRING)


class Auth(Table):
    """The header for the key, and the environment variable that contains the key."""

    variable: str
    header: str = "Authorization"
    prefix: str = "Bearer "

    def key(self) -> str | None:
        """The key; None in a dry run without one.

        Raises:
            ConfigError: the variable is not set, or its value cannot stand in a header.
        """
        key = key_from_env(self.variable)
        if key is None:
            raise_unless_dry_run(
                ConfigError(f"the endpoint asks for a key: set the environment variable {self.variable} to it")
            )
        return key


class ImageFormat(Table):
    """How an image is sent: as an 8-bit PNG in base64, bare or as `data:image/png;base64,…`."""

    width: PositiveInt  # pixels
    height: PositiveInt
    encoding: Literal["png-base64", "data-uri"] = "png-base64"


class EndpointConfig(Table):
    """An endpoint. Paths are JMESPath expressions (jmespath.org), applied to the JSON of a response."""

    url: str
    modality: Modality
    body: JsonValue  # see `fill_body`
    scores: str  # path to a list per input, of C scores or D features
    kind: Literal["logits", "log-probabilities", "probabilities", "embeddings"]
    method: Literal["POST", "PUT", "PATCH"] = "POST"
    max_inputs_per_request: PositiveInt = 1
    classes: list[str] | None = None  # in the order of the scores; with `classes_path`, those to select
    classes_path: str | None = None  # path to a list per input: the classes in the order of its scores
    dimensions: PositiveInt | None = None  # of embeddings
    tokens_path: str | None = None  # path to the number of tokens of the request
    headers: dict[str, str] = {}  # public
    auth: Auth | None = None
    image: ImageFormat | None = None
    timeout: Timeout = 60.0  # seconds without any data


TABLES: dict[str, type[Table]] = {"auth": Auth, "image": ImageFormat}


def read_endpoint(path: Path) -> EndpointConfig:
    """Reads and validates an endpoint file.

    Raises:
        UnknownName: a key does not exist.
        ConfigError: the file is missing, a key is missing or has the wrong type, or keys contradict each other.
    """
    values = read_toml(path)
    _check_keys(str(path), values, EndpointConfig)
    for name, model in TABLES.items():
        if isinstance(table := values.get(name), dict):
            _check_keys(f"{name} in {path}", table, model)
    config = validate(EndpointConfig, values, str(path))
    parse_service_url(config.url, f"url in {path}")
    for wrong, what in _violations(config):
        if wrong:
            raise ConfigError(f"{path}: {what}")
    return config


def fill_body(template: Any, inputs: Sequence[str]) -> Any:
    """The body of a request with these inputs.

    "{inputs}" becomes their list, and a list of one element that contains {input} gets that element once per input.
    Elsewhere, {input} is the only input, alone or inside a string.

    >>> fill_body({"texts": [{"text": "{input}"}]}, ["a", "b"])
    {'texts': [{'text': 'a'}, {'text': 'b'}]}
    """
    match template:
        case "{inputs}":
            return list(inputs)
        case str() if len(inputs) == 1:
            return template.replace("{input}", inputs[0])
        case [element] if "{input}" in json.dumps(element):
            return [fill_body(element, [one]) for one in inputs]
        case list():
            return [fill_body(element, inputs) for element in template]
        case dict():
            return {key: fill_body(value, inputs) for key, value in template.items()}
        case _:
            return template


def _check_keys(where: str, table: dict[str, Any], model: type[Table]) -> None:
    check_keys(f"key of {where}", table, model.model_fields)
    if missing := [key for key, field in model.model_fields.items() if field.is_required() and key not in table]:
        raise ConfigError(f"{where} lacks {', '.join(missing)}")


def _violations(d: EndpointConfig) -> list[tuple[bool, str]]:
    """Rules as pairs: whether the config breaks it, and what to do then."""
    embeds, names = d.kind == "embeddings", d.classes or ()
    public = d.headers | ({d.auth.header: d.auth.prefix} if d.auth else {})
    secret = next((name for name in d.headers if name.lower() in SECRET_HEADERS), None)
    inputs = [f"<input {i}>" for i in range(min(d.max_inputs_per_request, 2))]
    body = json.dumps(fill_body(d.body, inputs))
    return [
        (
            not all(NAME.fullmatch(name) and VALUE.fullmatch(value) for name, value in public.items()),
            "headers, and auth.header and auth.prefix, need names of ASCII letters and signs, and values of printable "
            "ASCII",
        ),
        (
            secret is not None,
            f"headers are public; leave out {secret} and name the variable that holds the key in auth",
        ),
        (
            not all(one in body for one in inputs),
            "body must contain the inputs: {inputs} for their list, {input} for each in a list of one element, or "
            "{input} for the only input with max_inputs_per_request = 1",
        ),
        (
            (d.modality == "image") != (d.image is not None),
            "image = {width, height} belongs to modality = 'image'",
        ),
        (embeds != (d.dimensions is not None), "dimensions belongs to kind = 'embeddings'"),
        (
            embeds and bool(d.classes or d.classes_path),
            "embeddings have no classes; leave out classes and classes_path",
        ),
        (
            not (embeds or d.classes or d.classes_path),
            "classes, in the order of the scores, or classes_path is missing",
        ),
        (len(set(names)) < len(names), "classes contains a name twice"),
    ]
