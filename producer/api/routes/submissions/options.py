"""Fields of POST /v1/runs: those of a request, named as the options of `annealq classify`, with units."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    create_model,
    model_validator,
)
from pydantic.fields import FieldInfo

from producer.api.core.errors import InvalidFields
from producer.images.preprocessing import Preprocessing
from producer.runs.request import MAX_BUDGET_US, Prices, RunRequest, Tags
from producer.webhooks.kinds import Kind
from producer.webhooks.signing import check_secret
from schema.calendar.windows import EXAMPLES, MAX_WINDOWS
from schema.errors import ParameterError
from schema.parameters import (
    Parameters,
    fields_of,
    is_automatic,
    is_list,
    is_structured,
    limits_of,
    plain_type,
)

# In a form these are JSON.
_SEVERAL = (
    "window",
    "tags",
    "prices",
    *(name for name, field in fields_of(Parameters).items() if is_list(field)),
)
_STRUCTURED = ("webhook", *(name for name, field in fields_of(Parameters).items() if is_structured(field)))


def _plain(text: str) -> str:
    if not text.isprintable():
        raise ValueError("only printable characters can be used")
    return text


Text = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_plain)]
LongText = Annotated[str, Field(min_length=1, max_length=2_000), AfterValidator(_plain)]


def _secret(text: str) -> str:
    try:
        return check_secret(text)
    except ParameterError as error:
        raise ValueError(str(error)) from None


class Webhook(BaseModel):
    """Address that is told what happens to a run, by default all but its progress."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: LongText
    secret: Annotated[str, Field(max_length=200), AfterValidator(_secret)] | None = Field(
        None,
        description="Signs the messages, as standardwebhooks.com says: whsec_ and the base64 of 24 to 64 "
        "random bytes. Default: the secret of the key's owner.",
    )
    events: Annotated[list[Kind], Field(min_length=1, max_length=len(Kind))] | None = Field(
        None, description="The kinds of messages that are sent; default: all but `progress`."
    )


# Fields of a request that have the same name, type and limits over HTTP.
_SAME = (
    "network",
    "solver",
    "priority",
    "batch_size",
    "limit",
    "read_as",
    "resize",
    "fit",
    "invert",
    "scale_pixels",
    "deadline",
    "target",
)


_OTHERS = ("budget_s", "calibration", "classes", "prices", "tags", "tz", "window")
_ALIASES = {"read_as": "as"}  # words of Python


class RequestFields(BaseModel):
    """How to classify; the models below add the fields that `RunRequest` and `Parameters` declare."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: Text | None = Field(None, description="The run's name, for display.")
    budget_s: float | None = Field(
        None, gt=0, le=MAX_BUDGET_US / 1e6, description="QPU seconds that the run may be charged."
    )
    window: Text | Annotated[list[Text], Field(min_length=1, max_length=MAX_WINDOWS)] | None = Field(
        None,
        description=f"Hours in which the run may work: {EXAMPLES}; one, or a list. In a form, the field may "
        "come several times. Outside of them the run is paused; it resumes automatically.",
    )
    tz: Text | None = Field(
        None, description="Time zone of window and deadline, for example Europe/London; default: UTC."
    )
    tags: Tags = Field((), description="Words by which the run is found again. In a form, several times.")
    prices: Prices = Field(
        (),
        description="With a target: the price of a minute of QPU time, 30, or of one QPU, NAME=45; the "
        "cheapest setting is then that of the lowest price. In a form, several times.",
    )
    classes: LongText | None = Field(None, description="Only images with these labels: 0,1,7 or names.")
    calibration: bool = Field(True, description="Take what is not given from the newest calibration.")
    part: Text | None = Field(None, description="Split or array to use where the data has several.")

    def request(self) -> RunRequest:
        """Return what is asked of the run.

        Raises:
            ParameterError: a value is out of range, or the solver does not have it.
        """
        asked = {*_SAME, *_OTHERS, *fields_of(Parameters)}
        return RunRequest.from_options(self.model_dump(include=asked, exclude_none=True))

    @property
    def preprocessing(self) -> Preprocessing:
        """Return what is done to each image; raise ParameterError as `request` does."""
        return self.request().preprocessing


class RunBodyOptions(RequestFields):
    """How to classify images that are sent, or that are at a `uri`."""

    webhook: Webhook | None = None
    uri: LongText | None = Field(None, description="A file below the operator's folders, instead of images.")


class ScheduledFields(RequestFields):
    """What a schedule classifies each time it is due, with the fields of POST /v1/runs."""

    uri: LongText = Field(description="A file or folder below the operator's folders.")


class RunBody(RunBodyOptions):
    """The JSON body of POST /v1/runs: images as numbers, or a `uri`."""

    images: list[Any] | None = Field(
        None,
        description="(N, H, W), or (N, H, W, 3) for colour: rows of pixels, 0..255 or 0..1, of at least one "
        "image; or (N, D): vectors of numbers, see `as`.",
    )
    labels: list[Any] | None = Field(None, description="A whole number for each image.")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.images is None) == (self.uri is None):
            raise ValueError("give either `images` or a `uri`")
        return self


def _declared() -> dict[str, Any]:
    """Return the fields of a request and the sampling parameters, which may be left out, by name."""
    return request_fields(*_SAME) | parameter_fields()


def request_fields(*names: str) -> dict[str, Any]:
    """Return the fields ``names`` of a request, with their limits and descriptions."""
    declared = fields_of(RunRequest)
    return {name: _field(declared[name], alias=_ALIASES.get(name)) for name in names}


def parameter_fields() -> dict[str, Any]:
    """Return the fields of the sampling parameters by name; all may be left out."""
    return {name: _field(field, optional=True) for name, field in fields_of(Parameters).items()}


def _field(declared: FieldInfo, *, optional: bool = False, alias: str | None = None) -> tuple[Any, Any]:
    kind: Any = declared.annotation
    if is_automatic(declared):  # limits are those of the number alone
        kind = Annotated[kind, Field(**limits_of(declared))] | Literal["auto"]
        return kind | None, Field(None, title=declared.title, description=declared.description)
    if plain_type(declared) is str:
        kind = Annotated[kind, AfterValidator(lambda text: text and _plain(text))]
    default = None if optional else declared.default
    about = Field(
        default, alias=alias, title=declared.title, description=declared.description, **limits_of(declared)
    )
    return kind | None if optional else kind, about


_Form = create_model("Form", __base__=RunBodyOptions, __doc__=RunBodyOptions.__doc__, **_declared())
_Request = create_model("Request", __base__=RunBody, __doc__=RunBody.__doc__, **_declared())
ScheduledRun = create_model(
    "ScheduledRun", __base__=ScheduledFields, __doc__=ScheduledFields.__doc__, **_declared()
)


def from_json(values: dict[str, Any]) -> RunBody:
    """Return the body of ``values``; raise ParameterError that names each wrong field."""
    try:
        return _Request.model_validate(values)
    except ValidationError as error:
        raise InvalidFields(error.errors(), "body") from None


def from_form(fields: Sequence[tuple[str, str]]) -> RunBodyOptions:
    """Return the form of ``fields``: names and values; those of `_SEVERAL` may come several times.

    Raises:
        ParameterError: it names each wrong field.
    """
    values: dict[str, Any] = dict(fields)
    for several in _SEVERAL:
        if several in values:
            values[several] = [value for name, value in fields if name == several]
    for name in _STRUCTURED:
        if name in values:
            try:
                values[name] = json.loads(values[name])
            except (ValueError, RecursionError):
                raise ParameterError(f"{name}: write it as JSON in a form") from None
    try:
        return _Form.model_validate(values)
    except ValidationError as error:
        raise InvalidFields(error.errors(), "body") from None


def schemas() -> dict[str, Any]:
    """Return the JSON schemas of the JSON body and the form by name, for /openapi.json."""
    described: dict[str, Any] = {}
    for name, model in (("Request", _Request), ("Form", _Form)):
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        described |= schema.pop("$defs", {})
        described[name] = schema
    file = {"type": "string", "format": "binary"}
    described["Form"]["properties"] |= {"images": {"type": "array", "items": file}, "labels": file}
    return described
