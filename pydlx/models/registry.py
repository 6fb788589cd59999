"""The registry of models: list their names, build one by name, and know the options it was built with."""

from __future__ import annotations

import difflib
import fnmatch
import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
from torch import nn

from pydlx._checks import check_type

Builder = TypeVar("Builder", bound=Callable[..., nn.Module])

# Importing these packages registers their models.
_PACKAGES = (
    "pydlx.models.segmentation",
    "pydlx.models.detection",
    "pydlx.models.gan",
    "pydlx.models.readers",
    "pydlx.models.entities",
    "pydlx.models.relations",
)

_NO_DEFAULT = inspect.Parameter.empty

_builders: dict[str, Callable[..., nn.Module]] = {}


def register_model(name: str) -> Callable[[Builder], Builder]:
    """Register a builder of models under a name.

    Args:
        name: The name that ``create_model`` takes.

    Returns:
        A decorator for a class, or a function that returns the model. Its options are keyword arguments whose values
        are numbers, strings, bools, None, or lists of these, so that a checkpoint can store them.
    """

    def register(builder: Builder) -> Builder:
        if name in _builders:
            raise ValueError(f"register_model: name must be new, got {name!r}")
        _builders[name] = builder
        return builder

    return register


def list_models(pattern: str = "*") -> list[str]:
    """The names of all models that match a pattern, sorted.

    Args:
        pattern: With the wildcards of file names, such as ``"fcn*"``.

    Example:
        >>> list_models("fcn8*")
        ['fcn8s', 'fcn8s_at_once']
    """
    check_type("list_models", "pattern", pattern, str, "a pattern such as 'fcn*'")
    return sorted(fnmatch.filter(_known(), pattern))


def models_of(kind: type[nn.Module]) -> list[str]:
    """The names of all models of a class, sorted.

    Args:
        kind: A class, such as ``pydlx.models.readers.Reader``.

    Example:
        >>> from pydlx.models.segmentation import FCN
        >>> "fcn8s" in models_of(FCN)
        True
    """
    return sorted(name for name, builder in _known().items() if isinstance(builder, type) and issubclass(builder, kind))


def create_model(name: str, **options: Any) -> nn.Module:
    """Build a model.

    Args:
        name: One of ``list_models()``.
        options: Options of the model; the defaults are the paper's values.

    Returns:
        The model, initialised as its paper says. ``model.model_name`` and ``model.model_options`` hold the name and all
        options, defaults included; checkpoints store them.

    Raises:
        ValueError: If there is no such model, or an option has a wrong value.
        TypeError: If the model has no such option.

    Example:
        >>> create_model("fcn8s", num_classes=11).model_options["num_classes"]
        11
    """
    builders = _known()
    if not isinstance(name, str) or name not in builders:
        close = difflib.get_close_matches(str(name), builders, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(sorted(builders))}"
        raise ValueError(f"create_model: name must be a known model, got {name!r}; {hint}")
    options = all_options(name, options)
    if missing := [option for option in required_options(name) if option not in options]:
        raise TypeError(f"create_model: {name} must be given {', '.join(missing)}")
    model: Any = builders[name](**options)
    model.model_name, model.model_options = name, options
    return model


def all_options(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Complete the given options of a known model by the defaults of the others.

    Raises:
        TypeError: If the model has no such option.
    """
    parameters = _parameters(_known()[name])
    if unknown := sorted(options.keys() - parameters.keys()):
        raise TypeError(f"create_model: {name} has no option {unknown[0]!r}, it takes {', '.join(parameters)}")
    given = {key: _plain(value) for key, value in options.items()}
    defaults = {key: parameter.default for key, parameter in parameters.items() if parameter.default is not _NO_DEFAULT}
    return {key: (given if key in given else defaults)[key] for key in parameters if key in given or key in defaults}


def required_options(name: str) -> list[str]:
    """The options of a known model that have no default."""
    return [key for key, parameter in _parameters(_known()[name]).items() if parameter.default is _NO_DEFAULT]


def _parameters(builder: Callable[..., nn.Module]) -> dict[str, inspect.Parameter]:
    """Return a builder's keyword parameters by name.

    A class with ``**options`` passes these to its base class, or to the class in its attribute ``options_of``; the
    parameters of that class are included.
    """
    parameters = dict(inspect.signature(builder).parameters)
    if isinstance(builder, type) and (passed := _passed_on(parameters)):
        del parameters[passed]
        parameters |= {  # a class's own parameters come first and replace inherited ones of the same name
            key: value
            for key, value in _parameters(vars(builder).get("options_of", builder.__mro__[1])).items()
            if key not in parameters
        }
    return {key: value for key, value in parameters.items() if value.kind is not value.POSITIONAL_ONLY}


def _passed_on(parameters: Mapping[str, inspect.Parameter]) -> str | None:
    return next((key for key, parameter in parameters.items() if parameter.kind is parameter.VAR_KEYWORD), None)


def _plain(value: Any) -> Any:
    """Convert NumPy scalars to Python numbers, which checkpoints can store."""
    return value.item() if isinstance(value, np.generic) else value


def _known() -> dict[str, Callable[..., nn.Module]]:
    for package in _PACKAGES:
        importlib.import_module(package)
    return _builders
