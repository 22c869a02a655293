"""The vector of a query: every kind of probe, how they add up, and what is said about them."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clipsearch.errors import QueryError
from clipsearch.probes import Query, SavedProbe, TextProbe, UrlProbe, VectorProbe, parse
from clipsearch.query.known import Known
from clipsearch.query.vector import Composed, query_vector
from clipsearch.settings import Settings
from clipsearch.vectors import FloatArray, normalise
from tests.clip.servers import Server, serving
from tests.conftest import Paint
from tests.fakes import ColourEncoder

RED, GREEN, BLUE = ColourEncoder().encode_texts(["red", "green", "blue"])


def composed(asked: str | Query, vectors: dict[int, Any] | None = None, **given: Any) -> Composed:
    query = parse(asked) if isinstance(asked, str) else asked
    return query_vector(Known(query, vectors or {}), ColourEncoder(), Settings(**given))


def mean(*vectors: FloatArray) -> FloatArray:
    return normalise(np.mean(vectors, axis=0))


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as state:
        file = BytesIO()
        Image.new("RGB", (16, 12), "blue").save(file, "PNG")
        state.content = file.getvalue()
        yield state


@pytest.mark.parametrize(
    "asked", ["red", "2:red", "red + blue", "3:red - 0.5:green + blue", "0.001:red", "1000:red"]
)
def test_a_composed_vector_has_unit_length(asked: str) -> None:
    assert np.linalg.norm(composed(asked).vector) == pytest.approx(1.0, abs=1e-6)


def test_probes_add_up_by_their_weights(paint: Paint) -> None:
    path = paint("blue.png", "blue")
    wanted = normalise(2 * RED + BLUE - 0.5 * GREEN)
    np.testing.assert_allclose(composed(f"2:red + {path} - 0.5:green").vector, wanted, atol=1e-6)


def test_words_with_templates_are_the_mean_of_the_filled_ones() -> None:
    found = composed('red + blue template:"{}" template:"green {}"').vector
    filled = ColourEncoder().encode_texts(["green red", "green blue"])
    wanted = normalise(mean(RED, filled[0]) + mean(BLUE, filled[1]))
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_one_template_is_the_filled_text_to_the_last_bit() -> None:
    wanted = ColourEncoder().encode_texts(["a green red"])[0]
    np.testing.assert_array_equal(composed('red template:"a green {}"').vector, normalise(wanted))


def test_an_image_of_the_library_has_the_vector_that_is_stored() -> None:
    np.testing.assert_allclose(composed("#7 + red", {7: BLUE}).vector, mean(BLUE, RED), atol=1e-6)


def test_a_saved_query_counts_as_one_vector_with_templates_of_its_own() -> None:
    meaning = parse('3:green + 3:blue template:"{} red"')
    filled = ColourEncoder().encode_texts(["green red", "blue red"])
    query = Query((TextProbe("red"), SavedProbe("sea", 1.0, meaning)), templates=("{} {}",))
    np.testing.assert_allclose(composed(query).vector, mean(RED, mean(*filled)), atol=1e-6)


def test_a_saved_query_without_templates_takes_those_it_is_used_with() -> None:
    query = Query((SavedProbe("sea", 1.0, parse("blue")),), templates=("{} red",))
    wanted = ColourEncoder().encode_texts(["blue red"])[0]
    np.testing.assert_allclose(composed(query).vector, wanted, atol=1e-6)


def test_a_picture_on_the_web_is_like_one_on_the_disk(server: Server, tmp_path: Path) -> None:
    (tmp_path / "same.png").write_bytes(server.content)
    from_disk = composed(f"{tmp_path}/same.png").vector
    np.testing.assert_array_equal(composed(server.url).vector, from_disk)


def test_what_the_web_has_instead_of_a_picture_is_refused(server: Server) -> None:
    server.content = b"MZ" + bytes(1000)
    with pytest.raises(QueryError, match="is not a picture of a kind that can be read"):
        composed(server.url)


def test_a_picture_on_the_web_may_be_no_larger_than_one_on_the_disk(server: Server) -> None:
    with pytest.raises(QueryError, match="more than the limit of 100"):
        composed(server.url, max_pixels=100)


def test_an_address_that_answers_with_an_error_is_named(server: Server) -> None:
    server.status = 404
    with pytest.raises(QueryError, match=r"127\.0\.0\.1.*404 Not Found.*give its path"):
        composed(server.url)


def test_a_password_in_an_address_is_not_repeated(server: Server) -> None:
    with pytest.raises(QueryError) as caught:
        composed(server.url.replace("//", "//me:secret@"))
    assert "127.0.0.1" in str(caught.value).partition("cannot be")[0]
    assert "secret" not in str(caught.value).partition("cannot be")[0]


@pytest.mark.parametrize(
    ("given", "switch"),
    [({"fetch_urls": False}, "CLIPSEARCH_FETCH_URLS"), ({"offline": True}, "CLIPSEARCH_OFFLINE")],
)
def test_nothing_is_fetched_where_that_is_forbidden(
    server: Server, given: dict[str, Any], switch: str
) -> None:
    with pytest.raises(QueryError, match=f"{switch} forbids it"):
        composed(server.url, **given)
    assert not server.requests


@pytest.mark.parametrize(
    "asked",
    ["red - red", "red + blue - blue - red", "1000:red + blue - 1000:red - blue", "#1 - red"],
)
def test_probes_that_cancel_out_are_refused(asked: str) -> None:
    stored = RED.astype(np.float16).astype(np.float32)  # what rounding leaves means nothing
    with pytest.raises(QueryError, match="cancel each other out"):
        composed(asked, {1: stored})


@pytest.mark.parametrize("numbers", [[0, 0, 0, 0], [1, 2, np.nan, 0], [1, np.inf, 0, 0]])
def test_a_vector_without_direction_is_refused(numbers: list[float]) -> None:
    with pytest.raises(QueryError, match="the vector cannot be used"):
        composed(Query((VectorProbe(np.array(numbers)),)))


def test_a_text_too_long_for_the_model_is_cut_and_that_is_told() -> None:
    found = composed("dog " * 5000)
    assert found.notes == (
        'the text "dog dog dog dog dog dog dog dog dog dog…" is longer than the model reads: '
        "the first 75 of its 5,000 tokens were used",
    )
    assert not composed("dog " * 75).notes


def test_a_picture_on_the_web_is_fetched_once(server: Server) -> None:
    composed(Query((UrlProbe(server.url), TextProbe("red"))))
    assert len(server.requests) == 1
