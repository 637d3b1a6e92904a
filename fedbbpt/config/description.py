"""What is known of a component before it is built: its summary, its options and its source."""

import inspect
import json
import re
from typing import Any, NamedTuple

from pydantic import BaseModel, TypeAdapter

from fedbbpt.config.components import load_class, option_fields

NAME = r"(?:Mc|Mac|O['’])?[A-Z][a-zé]+(?:[-’'][A-Z][a-z]+)?"
ARXIV = r"arXiv[: ]\d{4}\.\d{4,5}"
CITATION = re.compile(  # Name 2023 · Name & Name 2023 · Name et al. 2023 (TMLR, arXiv 2301.00001) · arXiv 2301.00001
    rf"\b{NAME}(?: et al\.| (?:and|&) {NAME})? (?:19|20)\d\d(?:(?:[ ,:(]+[A-Z]\w+)?[ ,:(]+{ARXIV})?|{ARXIV}"
)
TYPES = {  # of JSON schema, in TOML's and Python's words
    **{"integer": "int", "number": "float", "string": "str", "boolean": "bool", "array": "list"},
    "object": "table",
}


class OptionRow(NamedTuple):
    """An option of a component, as text."""

    name: str
    type: str  # with bounds: `float > 0`
    default: str  # as TOML writes it, or `required` or `unset`
    help: str  # a sentence of the class's docstring, or nothing


class Description(NamedTuple):
    """A component for a reader."""

    summary: str
    options: list[OptionRow]
    source: str  # the class by its full name
    papers: list[str]  # that the docstrings of class and module cite


def describe(kind: str, name: str) -> Description:
    """Describes a component; of a wrapping prompt named as `outer:inner`, with the options of both.

    >>> describe("engines", "serial").source
    'fedbbpt.engines.serial.Serial'

    Raises:
        UnknownName: no such component.
    """
    names = name.split(":") if kind == "prompts" else [name]
    classes = [load_class(kind, one) for one in names]
    rows: dict[str, OptionRow] = {}
    for component in classes:
        for option, (annotation, default) in option_fields(component).items():
            row = OptionRow(option, type_text(annotation), value_text(default), _help(component, option))
            rows.setdefault(option, row)
    source = ", ".join(f"{component.__module__}.{component.__qualname__}" for component in classes)
    papers = [paper for component in classes for paper in _papers(component)]
    return Description(summary(classes[0]), list(rows.values()), source, list(dict.fromkeys(papers)))


def describe_fields(model: type[BaseModel]) -> list[OptionRow]:
    """Describes the plain settings of a model, such as `Config` or `Data`, not the tables in it.

    >>> from fedbbpt.config.schema import Config
    >>> describe_fields(Config)[1]
    OptionRow(name='seed', type='int ≥ 0', default='1', help='random seed')
    """
    rows = []
    for name, schema in model.model_json_schema()["properties"].items():
        if description := model.model_fields[name].description:
            default = value_text(schema.get("default", ... if model.model_fields[name].is_required() else None))
            rows.append(OptionRow(name, _schema_text(schema), default, description))
    return rows


def summary(component: type) -> str:
    """The first line of a class's docstring."""
    return (component.__doc__ or "").strip().partition("\n")[0]


def type_text(annotation: Any) -> str:
    """Writes the type of an option with its bounds.

    >>> from typing import Annotated, Literal
    >>> from pydantic import Field
    >>> type_text(Annotated[float, Field(gt=0, le=1)] | None)
    '0 < float ≤ 1'
    >>> type_text(Literal["mean", "adam"])
    '"mean" | "adam"'
    """
    return _schema_text(TypeAdapter(annotation).json_schema())


def _schema_text(schema: dict[str, Any]) -> str:
    """A JSON schema as a short text."""
    if "anyOf" in schema:
        return " | ".join(_schema_text(one) for one in schema["anyOf"] if one != {"type": "null"})
    if "enum" in schema or "const" in schema:
        return " | ".join(value_text(value) for value in schema.get("enum", [schema.get("const")]))
    name = TYPES.get(schema.get("type", ""), "any")
    if name == "list":
        items = schema.get("prefixItems") or [schema.get("items", {})]
        return f"list of {', '.join(map(_schema_text, items))}"
    low, high = _bound(schema, "exclusiveMinimum", "minimum"), _bound(schema, "exclusiveMaximum", "maximum")
    if low and not high:
        return f"{name} {'>' if low[0] == '<' else '≥'} {low[1]}"
    return (f"{low[1]} {low[0]} " if low else "") + name + (f" {high[0]} {high[1]}" if high else "")


def _bound(schema: dict[str, Any], exclusive: str, inclusive: str) -> tuple[str, str] | None:
    """The sign and the value of a bound."""
    return next(
        ((sign, f"{schema[key]:,.10g}") for key, sign in ((exclusive, "<"), (inclusive, "≤")) if key in schema), None
    )


def value_text(value: Any) -> str:
    """A value as TOML writes it."""
    if value is ...:
        return "required"
    if value is None:
        return "unset"
    return str(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


def _help(component: type, option: str) -> str:
    """What the docstring says of an option: its entry under `Args:`, else the first sentence with it in backticks."""
    for documented in inspect.getmro(component):
        text = inspect.cleandoc(documented.__doc__ or "")
        if entry := re.search(rf"^ +{option}: (.+(?:\n {{8,}}.+)*)", text, re.MULTILINE):
            return " ".join(entry[1].split())
        for paragraph in re.split(r"\n\s*\n|\n\s*(?:\d\.|-) ", text):
            for sentence in re.split(r"(?<=[.]) (?=[A-Z`(])", " ".join(paragraph.split())):
                if f"`{option}`" in sentence:
                    return sentence
    return ""


def _papers(component: type) -> list[str]:
    module = inspect.getmodule(component)
    docstrings = (component.__doc__, module.__doc__ if module else None)
    text = " ".join(" ".join(docstring.split()) for docstring in docstrings if docstring)
    found = [citation[0].replace("arXiv:", "arXiv ") for citation in CITATION.finditer(text)]
    return [re.sub(r"[ ,:]*[(:][ ,:(]*", ", ", citation) for citation in found]
