"""Who wins among argument, environment, config file and default, and what a bad value says."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipsearch.errors import SettingsError
from clipsearch.settings import Settings, history_path, surroundings


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def test_defaults_hold_where_nobody_says_anything(config: Path) -> None:
    settings = Settings.load(environ={}, config_file=config)
    assert settings.model == "ViT-B/32"
    assert settings.library is None and not settings.offline
    assert settings.cache_dir.name == "models"
    assert settings.decode_workers >= 1


def test_the_config_file_beats_the_default(config: Path) -> None:
    config.write_text('model = "mini"\nbatch_size = 8\noffline = true\n')
    settings = Settings.load(environ={}, config_file=config)
    assert (settings.model, settings.batch_size, settings.offline) == ("mini", 8, True)


def test_the_environment_beats_the_config_file(config: Path) -> None:
    config.write_text('model = "mini"\n')
    settings = Settings.load(environ={"CLIPSEARCH_MODEL": "RN50"}, config_file=config)
    assert settings.model == "RN50"


def test_an_argument_beats_the_environment(config: Path) -> None:
    settings = Settings.load(
        environ={"CLIPSEARCH_MODEL": "RN50"}, config_file=config, model="mini", batch_size=None
    )
    assert settings.model == "mini"
    assert settings.batch_size == Settings().batch_size


def test_an_empty_variable_counts_as_not_set(config: Path) -> None:
    assert Settings.load(environ={"CLIPSEARCH_MODEL": ""}, config_file=config) == Settings()


@pytest.mark.parametrize("variable", ["CLIPSEARCH_OFFLINE", "HF_HUB_OFFLINE"])
def test_either_variable_means_offline(config: Path, variable: str) -> None:
    assert Settings.load(environ={variable: "1"}, config_file=config).offline


def test_our_own_variable_decides_where_both_are_set(config: Path) -> None:
    environ = {"CLIPSEARCH_OFFLINE": "0", "HF_HUB_OFFLINE": "1"}
    assert not Settings.load(environ=environ, config_file=config).offline


def test_the_cache_can_be_moved(config: Path, tmp_path: Path) -> None:
    environ = {"CLIPSEARCH_CACHE": str(tmp_path / "weights")}
    assert Settings.load(environ=environ, config_file=config).cache_dir == tmp_path / "weights"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CLIPSEARCH_BATCH_SIZE", "many"),
        ("CLIPSEARCH_BATCH_SIZE", "0"),
        ("CLIPSEARCH_MAX_PIXELS", "-5"),
        ("CLIPSEARCH_OFFLINE", "perhaps"),
        ("CLIPSEARCH_PRECISION", "int3"),
        ("CLIPSEARCH_MODEL_URL", "file:///etc/passwd"),
    ],
)
def test_a_bad_variable_is_named_with_its_value(config: Path, variable: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f'{variable} is "{value}", but it must be'):
        Settings.load(environ={variable: value}, config_file=config)


def test_an_unknown_key_in_the_config_file_is_refused(config: Path) -> None:
    config.write_text('modell = "mini"\n')
    with pytest.raises(SettingsError, match=r'"modell" in .*config\.toml is no option.*model'):
        Settings.load(environ={}, config_file=config)


@pytest.mark.parametrize("content", [b"model = ", b"\xff\xfe", b"batch_size = true"])
def test_a_broken_config_file_is_named(config: Path, content: bytes) -> None:
    config.write_bytes(content)
    with pytest.raises(SettingsError, match=r"config\.toml"):
        Settings.load(environ={}, config_file=config)


def test_an_unknown_argument_is_refused(config: Path) -> None:
    with pytest.raises(SettingsError, match='"colour" is no option'):
        Settings.load(environ={}, config_file=config, colour="red")


def test_the_library_is_the_one_that_was_given(tmp_path: Path) -> None:
    (tmp_path / ".clipsearch").mkdir()
    settings = Settings(library=tmp_path / "mine")
    assert settings.library_path(tmp_path) == tmp_path / "mine"


def test_the_nearest_library_upward_is_found(tmp_path: Path) -> None:
    inner = tmp_path / "photos" / "2023"
    inner.mkdir(parents=True)
    (tmp_path / ".clipsearch").mkdir()
    assert Settings().library_path(inner) == tmp_path / ".clipsearch"


def test_without_a_library_upward_it_is_the_users_own(tmp_path: Path) -> None:
    path = Settings().library_path(tmp_path)
    assert path.is_absolute() and path.name == "library" and path.parent.name == "clipsearch"


def test_a_settings_file_that_is_a_folder_or_no_text_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=rf"{tmp_path} cannot be read \(is a directory\): "):
        Settings.load(environ={}, config_file=tmp_path)
    (tmp_path / "config.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="not UTF-8"):
        Settings.load(environ={}, config_file=tmp_path / "config.toml")


def test_a_foreign_switch_that_says_neither_yes_nor_no_is_no_error(config: Path) -> None:
    assert not Settings.load(environ={"HF_HUB_OFFLINE": "perhaps"}, config_file=config).offline


def test_a_mirror_is_an_address_on_the_web(config: Path) -> None:
    environ = {"CLIPSEARCH_MODEL_URL": "https://mirror.example/models"}
    assert (
        Settings.load(environ=environ, config_file=config).model_url
        == environ["CLIPSEARCH_MODEL_URL"]
    )


def test_surroundings_are_the_variables_that_terminals_and_desktops_set() -> None:
    environ = {"TERM": "xterm", "TMUX": "", "PATH": "/bin", "DISPLAY": ":0"}
    assert surroundings(environ) == {"TERM": "xterm", "DISPLAY": ":0"}


def test_the_history_lies_in_the_users_own_data() -> None:
    assert history_path().parent == Settings().library_path(Path("/")).parent
