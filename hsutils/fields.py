"""Values from a TOML file or a command line become dataclasses, or a list of what is wrong.

Problems are collected, not raised, so that a user reads of all of them at once.
"""

import dataclasses
import itertools
import json
import math
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

CHOICES = {
    "compute.accelerator": ("auto", "cpu", "gpu", "cuda", "mps"),
    "data.source": ("challenge", "synthetic"),
    "splits.method": ("published", "generated"),
    "splits.leave_out": ("", *"abcdef", *map("".join, itertools.combinations("abcdef", 2))),
    "augment.pair": ("masked", "crops"),
    "splits.labeled": ("finetune", "all"),
    "splits.softly": ("pretrain", "both"),
    "networks.cnn": ("paper", "compact"),
    "front_end.scaling": ("min-max", "band mean"),
    "distillation.targets": ("soft labels", "hard decisions", "fine-tune labels"),
    "distillation.then": ("nothing", "labels", "own opinions"),
    "compute.precision": ("auto", "32-true", "bf16-mixed", "16-mixed", "64-true"),
}
STAGES = ("pretrain", "finetune", "student", "baseline")
FITS = STAGES[1:]
for _fit in FITS:
    CHOICES[f"{_fit}.sampling"] = ("each once", "even")
    CHOICES[f"{_fit}.schedule"] = ("constant", "cosine")
    CHOICES[f"{_fit}.keep"] = ("best", "last")
POSITIVE = {
    *("data.seconds_scale", "splits.label_share", "augment.crop_seconds", "artificial.seconds"),
    *("compute.devices", "compute.nodes"),
    *(f"front_end.{name}" for name in ("clip_seconds", "sample_rate", "n_fft", "hop", "mels")),
    *(f"front_end.{name}" for name in ("bins", "floor", "scale")),
    *(f"{stage}.{name}" for stage in STAGES for name in ("epochs", "learning_rate", "temperature")),
} - {"pretrain.epochs"}
AT_LEAST = {
    **dict.fromkeys(
        ("seed", "data.seed", "data.recordings", "compute.threads", "compute.workers"), 0
    ),
    "pretrain.epochs": 0,
    **dict.fromkeys(
        (f"front_end.{n}" for n in ("low_hz", "pass_low_hz", "pass_high_hz", "bits")), 0
    ),
    **dict.fromkeys((f"augment.{name}_masks" for name in ("frequency", "time")), 0),
    **dict.fromkeys((f"{stage}.weight_decay" for stage in STAGES), 0),
    **{
        f"{s}.{n}": 0
        for s in FITS
        for n in ("patience", "focal_gamma", "crop_seconds", "mixup", "artificial")
    },
    "networks.width": 1,
    "artificial.recordings": 2,
    "artificial.seed": 0,
    # Neither batch normalization nor NT-Xent can use a batch of one recording.
    **dict.fromkeys((f"{stage}.batch_size" for stage in STAGES), 2),
    "augment.masked_share": 0,
}
AT_MOST = {"augment.masked_share": 1, "splits.label_share": 1, "front_end.bits": 24}


def parse_overrides(
    overrides: Iterable[str] | Mapping[str, Any], problems: list[str]
) -> Mapping[str, Any]:
    """Dotted key -> value of `key=value` texts (values in TOML syntax; bare words are text)."""
    if isinstance(overrides, Mapping):
        return overrides
    parsed = {}
    for text in overrides.split() if isinstance(overrides, str) else overrides:
        key, equals, value = text.partition("=")
        if not equals:
            problems.append(f"override '{text}' is not key=value; write e.g. pretrain.epochs=1")
            continue
        try:
            parsed[key.strip()] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            parsed[key.strip()] = value
    return parsed


def override(values: dict[str, Any], key: str, value: Any, problems: list[str]) -> None:
    """Replace the field with a dotted key; a table replaces only the fields it names."""
    if isinstance(value, Mapping):
        for name, part in value.items():
            override(values, f"{key}.{name}", part, problems)
        return
    *tables, name = key.split(".")
    for table in tables:
        values = values.setdefault(table, {})
        if not isinstance(values, dict):
            problems.append(f"override '{key}': '{table}' is a single field; name it alone")
            return
    values[name] = value


def build(cls: type, values: Any, prefix: str, problems: list[str]) -> Any:
    """The dataclass with these values, and its defaults for the rest.

    Args:
        cls: a dataclass whose fields are str, int, float, bool or such dataclasses.
        values: field -> value; anything else is a problem.
        prefix: of the fields' names in problems, such as "pretrain.".
        problems: receives a line for each unknown, mistyped or out-of-range field.
    """
    if not isinstance(values, Mapping):
        problems.append(f"'{prefix.rstrip('.')}' must be a table, not {values!r}")
        return cls()
    fields = {f.name: f for f in dataclasses.fields(cls)}
    arguments = {}
    for key, value in values.items():
        name = prefix + key
        if key not in fields:
            problems.append(f"unknown field '{name}'; known here: {', '.join(fields)}")
        elif dataclasses.is_dataclass(fields[key].type):
            arguments[key] = build(fields[key].type, value, f"{name}.", problems)
        else:
            arguments[key] = _checked(name, value, fields[key].type, problems)
    return cls(**arguments)


def _checked(name: str, value: Any, kind: type, problems: list[str]) -> Any:
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        problems.append(f"'{name}' must be {kind.__name__}, not {value!r}")
    elif name in CHOICES and value not in CHOICES[name]:
        known = ", ".join(choice or "''" for choice in CHOICES[name])
        problems.append(f"'{name}' must be one of {known}, not {value!r}")
    elif kind is float and not math.isfinite(value):
        problems.append(f"'{name}' must be a finite number, not {value!r}")
    elif name in POSITIVE and not value > 0:
        problems.append(f"'{name}' must be above 0, not {value!r}")
    elif name in AT_LEAST and value < AT_LEAST[name]:
        problems.append(f"'{name}' must be at least {AT_LEAST[name]}, not {value!r}")
    elif name in AT_MOST and value > AT_MOST[name]:
        problems.append(f"'{name}' must be at most {AT_MOST[name]}, not {value!r}")
    return value


def toml_lines(values: Mapping[str, Any]) -> str:
    """One `key = value` line for each text, number or truth value."""
    return "\n".join(f"{key} = {_toml_value(value)}" for key, value in values.items())


def _toml_value(value: Any) -> str:
    # JSON's escapes are TOML's, but for half an emoji and the delete character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
