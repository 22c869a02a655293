"""Every option of clipsearch in one frozen object, and the only place that reads the environment.

In: arguments, CLIPSEARCH_* variables, config.toml. Out: Settings, where the first of these that has
something to say wins, and the defaults come last. Knows nothing of what the options do.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

import platformdirs

from clipsearch.cores import available_cores
from clipsearch.errors import SettingsError

APP = "clipsearch"
LIBRARY_FOLDER = ".clipsearch"
MIN_DECODE_MEMORY = 128  # megabytes; Python, numpy and Pillow take about 50
PRECISIONS = ("float32", "bfloat16", "float16")
_SURROUNDINGS = (
    *("TERM", "TERM_PROGRAM", "LC_TERMINAL", "COLORTERM", "KITTY_WINDOW_ID", "TMUX", "STY"),
    *("DISPLAY", "WAYLAND_DISPLAY"),
)
_TRUE = ("1", "true", "yes", "on")
_FALSE = ("0", "false", "no", "off")


@dataclass(frozen=True)
class Settings:
    """What the user chose; the values below are the defaults, written here and nowhere else."""

    model: str = "ViT-B/32"  # for new libraries; an existing one knows its model
    library: Path | None = None  # None: see `library_path`
    cache_dir: Path = field(
        default_factory=lambda: platformdirs.user_cache_path(APP, appauthor=False) / "models"
    )
    offline: bool = False
    # A mirror: a folder on the web that has the files of the models by the names they have here.
    model_url: str | None = None
    # Whether a query may name a picture on the web; a server must not fetch what strangers ask for.
    fetch_urls: bool = True
    vocab: Path | None = None  # the merges of models that have none beside them
    # Larger pictures are refused, JPEGs by the size at which they are decoded; None:
    # images.MAX_PIXELS.
    max_pixels: int | None = None
    # Processes that decode pictures, and what each may use: megabytes in all, and seconds of
    # processor time for one file (by the clock, twice as many). The largest picture that the
    # default of `max_pixels` lets through needs 390 MB, transparent and on its side 1,060.
    decode_workers: int = field(default_factory=lambda: min(8, available_cores()))
    decode_memory: int = 1280
    decode_seconds: int = 60
    # About half a second of work for ViT-B/32 on two cores: what a kill can cost.
    batch_size: int = 32
    device: str | None = None  # None: the best that the machine has
    precision: str | None = None  # None: what the device computes fastest without loss

    @classmethod
    def load(
        cls,
        *,
        environ: Mapping[str, str] | None = None,
        config_file: Path | None = None,
        **given: object,
    ) -> Settings:
        """Join all sources. A `given` value of None counts as not given. Raises SettingsError."""
        environ = os.environ if environ is None else environ
        chosen = _from_config(config_file or config_path())
        chosen |= _from_environment(environ)
        for name, value in given.items():
            if value is not None:
                chosen[name] = _checked(name, value, name)
        return cls(**chosen)  # type: ignore[arg-type]

    def library_path(self, start: Path | None = None) -> Path:
        """The chosen library, else the nearest `.clipsearch` upward, else the user's own.

        `start` is where the way up begins, the working folder if None.
        """
        if self.library is not None:
            return self.library.expanduser().absolute()
        here = (start or Path.cwd()).absolute()
        for folder in (here, *here.parents):
            if (folder / LIBRARY_FOLDER).is_dir():
                return folder / LIBRARY_FOLDER
        return platformdirs.user_data_path(APP, appauthor=False) / "library"


def history_path() -> Path:
    """Where the prompt keeps what was asked there."""
    return platformdirs.user_data_path(APP, appauthor=False) / "history"


def surroundings(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """What terminal and desktop say of themselves: the variables of _SURROUNDINGS that are set."""
    environ = os.environ if environ is None else environ
    return {name: environ[name] for name in _SURROUNDINGS if environ.get(name)}


def config_path() -> Path:
    """Where config.toml is looked for; its keys are the fields of Settings."""
    return platformdirs.user_config_path(APP, appauthor=False) / "config.toml"


def _from_config(path: Path) -> dict[str, object]:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        if isinstance(error, OSError) and error.strerror:  # its own text repeats the path
            reason = error.strerror.lower()
        raise SettingsError(
            f"the settings file {path} cannot be read ({reason}): correct or remove it"
        ) from error
    return {
        name: _checked(name, value, f"{name} in {path}")
        for name, value in table.items()
        if _known(name, path)
    }


def _known(name: str, path: Path) -> bool:
    if name not in _CHECKS:
        options = ", ".join(sorted(_CHECKS))
        raise SettingsError(f'"{name}" in {path} is no option: the options are {options}')
    return True


def _from_environment(environ: Mapping[str, str]) -> dict[str, object]:
    chosen: dict[str, object] = {}
    # The Hugging Face tools' switch is honoured too: whoever set it wants no downloads from anyone.
    # It is not ours to judge: what is no yes there means no.
    if environ.get("HF_HUB_OFFLINE", "").strip().lower() in _TRUE:
        chosen["offline"] = True
    for name in _CHECKS:
        variable = _variable(name)
        if environ.get(variable, "").strip():
            chosen[name] = _checked(name, environ[variable].strip(), variable)
    return chosen


def _variable(name: str) -> str:
    return "CLIPSEARCH_CACHE" if name == "cache_dir" else f"CLIPSEARCH_{name.upper()}"


def _checked(name: str, value: object, source: str) -> object:
    """`value` in the type of the field; `source` is what the message blames."""
    if name not in _CHECKS:
        options = ", ".join(sorted(_CHECKS))
        raise SettingsError(f'"{name}" is no option: the options are {options}')
    check, wanted = _CHECKS[name]
    try:
        return check(value)
    except (TypeError, ValueError):
        raise SettingsError(f'{source} is "{value}", but it must be {wanted}') from None


def _text(value: object) -> str:
    if not isinstance(value, str | os.PathLike) or not str(value).strip():
        raise ValueError
    return os.fspath(value)


def _folder(value: object) -> Path:
    return Path(_text(value)).expanduser()


def _address(value: object) -> str:
    address = _text(value)
    if not address.startswith(("https://", "http://")):
        raise ValueError
    return address


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str) or int(value) < 1:
        raise ValueError
    return int(value)


def _megabytes(value: object) -> int:
    if _count(value) < MIN_DECODE_MEMORY:
        raise ValueError
    return _count(value)


def _switch(value: object) -> bool:
    word = str(value).lower()
    if word not in _TRUE + _FALSE:
        raise ValueError
    return word in _TRUE


def _precision(value: object) -> str:
    if value not in PRECISIONS:
        raise ValueError
    return str(value)


_WHOLE_NUMBER = (_count, "a whole number of at least 1")
_CHECKS: dict[str, tuple[Callable[[object], object], str]] = {
    "model": (_text, "the name of a model, a file or a folder"),
    "library": (_folder, "a folder"),
    "cache_dir": (_folder, "a folder"),
    "vocab": (_folder, "a file"),
    "offline": (_switch, "true or false"),
    "fetch_urls": (_switch, "true or false"),
    "model_url": (_address, "an address that begins with https:// or http://"),
    "max_pixels": _WHOLE_NUMBER,
    "decode_workers": _WHOLE_NUMBER,
    "decode_memory": (_megabytes, f"megabytes, a whole number of at least {MIN_DECODE_MEMORY}"),
    "decode_seconds": _WHOLE_NUMBER,
    "batch_size": _WHOLE_NUMBER,
    "device": (_text, 'a device of torch such as "cpu" or "cuda"'),
    "precision": (_precision, "one of " + ", ".join(PRECISIONS)),
}
assert set(_CHECKS) == {option.name for option in fields(Settings)}
