"""Makes the options of `annealq classify` from the fields of a request, and a request from the options."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Annotated, Any

import typer
from pydantic.fields import FieldInfo
from typer.models import OptionInfo

from producer.commands.shared import options as o
from producer.runs.request import ClassificationRequest
from schema.errors import ParameterError
from schema.parameters import Parameters, fields_of, plain_type, scope, solver

_SHORT = {"network": "-n", "reads": "-r", "limit": "-l"}
_MORE_HELP = {"anneal_schedule": " Give JSON, or a file of it."}


def declared(name: str, field: FieldInfo) -> OptionInfo:
    """Return the option for ``field``, called ``name``, of a request; its help is the description."""
    flags = [f"--{name.removesuffix('_us').replace('_', '-')}", *([_SHORT[name]] if name in _SHORT else [])]
    option: OptionInfo = typer.Option(*flags, help=f"{field.description}{_MORE_HELP.get(name, '')}")
    return option


Qpu = Annotated[str | None, declared("qpu", fields_of(Parameters)["qpu"])]
Tiles = Annotated[int | None, declared("tiles", fields_of(Parameters)["tiles"])]

_REQUIRED = inspect.Parameter.empty
# Request fields whose option differs from the field: name, annotation and default of the option.
_WRITTEN: dict[str, tuple[str, Any, Any]] = {
    "data": ("data", o.Data, _REQUIRED),
    "labels": ("labels", o.Labels, None),
    "classes": ("classes", o.Classes, None),
    "solver": ("solver_name", o.SolverName, "local"),
    "calibrated": ("no_calibration", o.NoCalibration, False),
    "budget_us": ("budget", o.Budget, None),
    "windows": ("window", o.Window, None),
    "zone": ("tz", o.Zone, None),
}


def takes_request(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give ``command`` the options of a request; its first parameter receives the request."""
    _request, *own = inspect.signature(command, eval_str=True).parameters.values()
    names = [option.name for option in own]
    options = [*_request_options(), *(_option(each.name, each.annotation, each.default) for each in own)]

    @functools.wraps(command)
    def run(**given: Any) -> Any:
        return command(request_of(given), **{name: given[name] for name in names})

    run.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    run.__annotations__ = {option.name: option.annotation for option in options}
    return run


def request_of(given: Mapping[str, Any]) -> ClassificationRequest:
    """Return the request for the values ``given`` by option name; raise ParameterError if one is wrong."""
    if given["tz"] is not None and not given["window"] and given["deadline"] is None:
        raise ParameterError(f"--tz {given['tz']} is only valid with --window or --deadline")
    asked = {name: _read(name, given[name]) for name in fields_of(Parameters) if given[name] is not None}
    same = {name: given[name] for name in fields_of(ClassificationRequest) if name in given}
    return ClassificationRequest(
        **{
            **same,
            "labels": None if given["labels"] is None else str(given["labels"]),
            "classes": None if given["classes"] is None else tuple(given["classes"].split(",")),
            "solver": solver(given["solver_name"]),
            "asked": asked,
            "calibrated": not given["no_calibration"],
            "budget_us": o.microseconds(given["budget"]),
            "windows": tuple(given["window"] or ()),
            "zone": given["tz"],
        }
    )


def _request_options() -> list[inspect.Parameter]:
    """Return one option for each field of a request, and for each sampling parameter in place of `asked`."""
    options: list[inspect.Parameter] = []
    request_fields = fields_of(ClassificationRequest)
    for name in dict.fromkeys(("data", "labels", *request_fields)):
        if name in _WRITTEN:
            options.append(_option(*_WRITTEN[name]))
        elif name == "asked":
            options += [_parameter(parameter, field) for parameter, field in fields_of(Parameters).items()]
        else:
            field = request_fields[name]
            options.append(_option(name, Annotated[field.annotation, declared(name, field)], field.default))
    return options


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    """Return the option of a sampling parameter: without a default, if a calibration may choose its value."""
    kind = plain_type(field)
    if kind not in (int, float, str) and not issubclass(kind, StrEnum):
        kind = str  # read by `_read`
    default = None if scope(field).calibrated else field.default
    return _option(name, Annotated[kind | None if default is None else kind, declared(name, field)], default)


def _option(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _read(name: str, value: Any) -> Any:
    return o.read_schedule(value) if name == "anneal_schedule" else value
