"""The shared host/device arithmetic by itself, compiled without torch: which pixels an ellipse reaches, rotations,
frames, exponentials."""

from __future__ import annotations

import ctypes
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.helpers import tolerances

WIDTH, HEIGHT, TILE = 70, 53, 16
FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
CLEAR = 1e-6  # relative distance to 1/255 at which rounding cannot decide


@st.composite
def splats(draw: st.DrawFn) -> np.ndarray:
    """x, y, xx, xy, yy, opacity: any size, shape and direction, needles included, in and around the image."""
    x, y = draw(st.floats(-40, WIDTH + 40)), draw(st.floats(-40, HEIGHT + 40))
    long, short = 10 ** draw(st.floats(-1, 2)), 10 ** draw(st.floats(-1, 1))
    angle = draw(st.floats(0, math.pi))
    c, s = math.cos(angle), math.sin(angle)
    xx, yy = 0.3 + long**2 * c * c + short**2 * s * s, 0.3 + long**2 * s * s + short**2 * c * c
    xy = (long**2 - short**2) * c * s
    return np.array([x, y, xx, xy, yy, draw(st.floats(1 / 255 * 1.001, 1.0))])


def forms_of(splat: np.ndarray) -> np.ndarray:
    """d^T inv(covariance) d at every pixel, [H, W], by brute force."""
    x, y, xx, xy, yy, _ = splat
    inverse = np.linalg.inv(np.array([[xx, xy], [xy, yy]]))
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    d = np.stack([columns - x, rows - y], -1)
    return np.einsum("hwi,ij,hwj->hw", d, inverse, d)


def reached(splat: np.ndarray) -> np.ndarray:
    """[H, W] bool: alpha >= 1/255. Draws again where a pixel is too near to call."""
    alpha = splat[5] * np.exp(-0.5 * forms_of(splat))
    assume(np.abs(alpha * 255 - 1).min() > CLEAR)
    return alpha * 255 >= 1


def pointer(array: np.ndarray) -> ctypes.c_void_p:
    return array.ctypes.data_as(ctypes.c_void_p)


def range_of(function, *arguments) -> tuple[int, int]:
    out = np.zeros(2, np.int32)
    function(*arguments, pointer(out))
    return int(out[0]), int(out[1])


@FUZZ
@given(splats())
def test_a_row_span_holds_exactly_the_reached_pixels(core: ctypes.CDLL, splat: np.ndarray) -> None:
    mask = reached(splat)
    for y in range(HEIGHT):
        first, last = range_of(core.row_span_of, pointer(splat), y, WIDTH - 1)
        expected = np.flatnonzero(mask[y])
        assert list(range(first, last + 1)) == list(expected)


@FUZZ
@given(splats())
def test_every_reached_row_is_listed(core: ctypes.CDLL, splat: np.ndarray) -> None:
    """The continuous ellipse may pass a row between two pixel centres, so rows may be listed that hold no pixel; none
    may be missing."""
    first, last = range_of(core.rows_of, pointer(splat), HEIGHT - 1)
    rows = np.flatnonzero(reached(splat).any(1))
    assert set(rows) <= set(range(first, last + 1))
    half = math.sqrt(2 * math.log(255 * splat[5]) * splat[4])
    assert (first >= splat[1] - half - 1e-6 and last <= splat[1] + half + 1e-6) or last < first


@FUZZ
@given(splats(), st.integers(0, HEIGHT - 1), st.integers(0, 20))
def test_a_strip_is_the_union_of_its_shadow(core: ctypes.CDLL, splat: np.ndarray, top: int, rows: int) -> None:
    """Oracle: the continuous rows of the strip, sampled finely, each with its own chord."""
    bottom = min(top + rows, HEIGHT - 1)
    first, last = range_of(core.strip_of, pointer(splat), top, bottom, WIDTH - 1)
    x, y, xx, xy, yy, opacity = splat
    cutoff = 2 * math.log(255 * opacity)
    dy = np.linspace(top - y, bottom - y, 20001)
    room = cutoff - dy**2 / yy
    inside = room > 0
    if not inside.any():
        assert last < first or math.sqrt(cutoff * yy) > abs(dy).min() - 1e-3
        return
    half = np.sqrt(room[inside] * (xx - xy * xy / yy))
    left, right = (x + xy / yy * dy[inside] - half).min(), (x + xy / yy * dy[inside] + half).max()
    slack = 0.02 * math.sqrt(xx * cutoff)  # of the sampling, which misses the very ends
    listed = set(range(first, last + 1))
    assert {i for i in range(WIDTH) if left + 1e-6 <= i <= right - 1e-6} <= listed
    assert listed <= {i for i in range(WIDTH) if left - slack <= i <= right + slack}


@FUZZ
@given(splats())
def test_every_tile_with_a_reached_pixel_is_listed_and_no_tile_out_of_reach(
    core: ctypes.CDLL, splat: np.ndarray
) -> None:
    mask = reached(splat)
    core.least_form.restype = ctypes.c_double
    first_row, last_row = range_of(core.tile_rows_of, pointer(splat), HEIGHT)
    for row in range((HEIGHT + TILE - 1) // TILE):
        listed: set[int] = set()
        if first_row <= row <= last_row:
            first, last = range_of(core.tile_columns_of, pointer(splat), row, WIDTH, HEIGHT)
            listed = set(range(first, last + 1))
        for column in range((WIDTH + TILE - 1) // TILE):
            y0, y1 = row * TILE, min(row * TILE + TILE, HEIGHT) - 1
            x0, x1 = column * TILE, min(column * TILE + TILE, WIDTH) - 1
            least = core.least_form(pointer(splat), *map(ctypes.c_double, (x0, x1, y0, y1)))
            if mask[y0 : y1 + 1, x0 : x1 + 1].any():
                assert column in listed
            if least > 2 * math.log(255 * splat[5]) * (1 + CLEAR):
                assert column not in listed


@FUZZ
@given(splats(), st.integers(0, WIDTH - 1), st.integers(0, HEIGHT - 1), st.integers(0, 20), st.integers(0, 20))
def test_the_least_form_over_a_rectangle_is_the_least(
    core: ctypes.CDLL, splat: np.ndarray, x0: int, y0: int, width: int, height: int
) -> None:
    """Oracle: projected gradient descent on a convex function, which cannot stop elsewhere."""
    core.least_form.restype = ctypes.c_double
    x1, y1 = x0 + width, y0 + height
    least = core.least_form(pointer(splat), *map(ctypes.c_double, (x0, x1, y0, y1)))
    x, y, xx, xy, yy, _ = splat
    a, b, c = np.array([yy, -xy, xx]) / (xx * yy - xy * xy)
    px, py = min(max(x, x0), x1), min(max(y, y0), y1)
    for _ in range(20000):  # exact minimisation along one axis and then the other
        px = min(max(x - b / a * (py - y), x0), x1)
        py = min(max(y - b / c * (px - x), y0), y1)
    dx, dy = px - x, py - y
    expected = a * dx * dx + 2 * b * dx * dy + c * dy * dy
    assert least == pytest.approx(expected, rel=1e-3, abs=1e-6)
    assert least <= expected * (1 + 1e-9) + 1e-9


def test_a_splat_that_touches_one_pixel_of_a_tile_reaches_that_tile(core: ctypes.CDLL) -> None:
    """A round splat left of tile 1, opaque enough to reach its first column in one row by a hair; and one that misses
    by a hair."""
    distance, variance = 4.0, 2.0
    opacity = math.exp(0.5 * distance**2 / variance) / 255
    for factor, expected in ((1 + 1e-6, [0, 1]), (1 - 1e-6, [0])):
        splat = np.array([16 - distance, 5.0, variance, 0.0, variance, opacity * factor])
        first, last = range_of(core.tile_columns_of, pointer(splat), 0, WIDTH, HEIGHT)
        assert list(range(first, last + 1)) == expected


def test_a_thin_diagonal_ellipse_skips_the_tiles_of_its_box_that_it_passes_by(core: ctypes.CDLL) -> None:
    """Its box is all 4 x 4 tiles; it runs through the corners of the diagonal ones, so it meets their next neighbours
    only."""
    splat = np.array([31.5, 31.5, 200.3, 199.9, 200.3, 0.9])
    lists = [range_of(core.tile_columns_of, pointer(splat), row, 64, 64) for row in range(4)]
    assert lists == [(0, 1), (0, 2), (1, 3), (2, 3)]


@FUZZ
@given(splats(), st.integers(0, WIDTH - 1), st.integers(0, HEIGHT - 1))
def test_a_swept_splat_has_the_alpha_of_its_splat(core: ctypes.CDLL, splat: np.ndarray, x: int, y: int) -> None:
    core.alpha_at.restype = core.swept_alpha_at.restype = ctypes.c_double
    pixel = (pointer(splat), ctypes.c_double(x), ctypes.c_double(y))
    assert core.swept_alpha_at(*pixel) == pytest.approx(core.alpha_at(*pixel), rel=1e-9, abs=1e-12)


@FUZZ
@given(splats(), st.integers(0, WIDTH // TILE), st.integers(0, HEIGHT // TILE))
def test_every_part_of_a_tile_with_a_reached_pixel_has_its_bit(
    core: ctypes.CDLL, splat: np.ndarray, column: int, row: int
) -> None:
    """And no part that the least form over its pixels' rectangle keeps out."""
    core.least_form.restype = core.cutoff_of.restype = ctypes.c_double
    core.parts_of_tile.restype = ctypes.c_uint32
    mask, x, y = reached(splat), column * TILE, row * TILE
    parts = core.parts_of_tile(pointer(splat), ctypes.c_double(x), ctypes.c_double(y))
    for part in range(8):
        x0, y0 = x + part % 2 * 8, y + part // 2 * 4
        has_bit = bool(parts >> part & 1)
        assert has_bit or not mask[y0 : y0 + 4, x0 : x0 + 8].any()
        least = core.least_form(pointer(splat), *map(ctypes.c_double, (x0, x0 + 7, y0, y0 + 3)))
        assert has_bit == (least <= core.cutoff_of(pointer(splat)))


@pytest.mark.parametrize(("low", "high"), [(-1e30, 1e30), (-math.inf, math.inf), (-1e300, 3.0)])
def test_whole_numbers_stay_inside_their_range(core: ctypes.CDLL, low: float, high: float) -> None:
    first, last = range_of(core.whole_numbers, ctypes.c_double(low), ctypes.c_double(high), 0, 9)
    assert first == 0
    assert last == min(9, high)


@pytest.mark.parametrize(
    ("low", "high"), [(math.nan, 3.0), (0.0, math.nan), (1e30, 2e30), (-5.0, -4.0), (3.2, 3.8), (5.0, 4.0)]
)
def test_no_whole_number_where_there_is_none(core: ctypes.CDLL, low: float, high: float) -> None:
    for function, scalar in ((core.whole_numbers, ctypes.c_double), (core.whole_numbers_float, ctypes.c_float)):
        first, last = range_of(function, scalar(low), scalar(high), 0, 9)
        assert last < first


@pytest.mark.parametrize(
    ("alpha", "transmittance", "step"),
    [
        (0.5 / 255, 1.0, 0),
        (1 / 255, 1.0, 1),
        (0.5, 1.0, 1),
        (0.99, 1.1e-2, 1),
        (0.99, 0.9e-2, 2),
        (math.nan, 1.0, 0),
        (0.5 / 255, 1e-4, 0),
    ],
)
def test_a_step_is_skipped_composited_or_the_last(
    core: ctypes.CDLL, alpha: float, transmittance: float, step: int
) -> None:
    assert core.decide_step(ctypes.c_double(alpha), ctypes.c_double(transmittance)) == step


def test_alpha_is_clamped_under_one(core: ctypes.CDLL) -> None:
    core.alpha_at.restype = ctypes.c_double
    splat = np.array([3.0, 3.0, 2.0, 0.0, 2.0, 1.0])
    assert core.alpha_at(pointer(splat), ctypes.c_double(3), ctypes.c_double(3)) == 0.99


@FUZZ
@given(st.lists(st.floats(-1, 1), min_size=4, max_size=4))
def test_quaternion_to_matrix_and_back(core: ctypes.CDLL, values: list[float]) -> None:
    q = np.array(values)
    assume(np.linalg.norm(q) > 1e-3)
    matrix, back = np.zeros(9), np.zeros(4)
    core.matrix_of_quaternion(pointer(q), pointer(matrix))
    core.quaternion_of_matrix(pointer(matrix), pointer(back))
    r = matrix.reshape(3, 3)
    assert np.allclose(r @ r.T, np.eye(3), atol=1e-14)
    assert np.linalg.det(r) > 0
    unit = q / np.linalg.norm(q)
    assert np.allclose(back, unit, atol=1e-13) or np.allclose(back, -unit, atol=1e-13)


@pytest.mark.parametrize(
    "q", [[0, 0, 0, 0], [1e-20, 0, 0, 0], [math.nan, 0, 0, 1], [math.inf, 0, 0, 0], [3e38, 0, 0, 3e38]]
)
def test_what_has_no_direction_normalises_to_zero(core: ctypes.CDLL, q: list[float]) -> None:
    given_q, out = np.array(q, np.float32), np.ones(4, np.float32)
    core.normalized_float(pointer(given_q), pointer(out))
    assert (out == 0).all()


HALF = st.floats(-1, 1, width=32)


@FUZZ
@given(st.lists(HALF, min_size=9, max_size=9), HALF, HALF, st.sampled_from([1.0, 1e-3, 1e-6, 1e-9, 1e-11, 1e-20, 0.0]))
def test_every_triangle_has_a_proper_frame(
    core: ctypes.CDLL, corners: list[float], a: float, b: float, size: float
) -> None:
    scaled = (np.array(corners) * size).astype(np.float32)
    out = np.zeros(13, np.float32)
    core.frame_of(pointer(scaled), ctypes.c_float(a), ctypes.c_float(b), pointer(out))
    r = out[:9].reshape(3, 3).astype(np.float64)
    assert np.allclose(r.T @ r, np.eye(3), atol=2e-6)
    assert np.linalg.det(r) == pytest.approx(1, abs=2e-6)
    matrix = np.zeros(9)
    core.matrix_of_quaternion(pointer(out[9:].astype(np.float64)), pointer(matrix))
    assert np.allclose(matrix.reshape(3, 3), r, atol=2e-6)


HUGE = [np.full(9, np.nan), np.full(9, np.inf), np.linspace(-3e38, 3e38, 9), np.linspace(-1, 1, 9) ** 3 * 1e30]


@pytest.mark.parametrize("corners", HUGE)
def test_a_triangle_that_is_not_finite_still_has_a_frame(core: ctypes.CDLL, corners: np.ndarray) -> None:
    out = np.zeros(13, np.float32)
    core.frame_of(pointer(corners.astype(np.float32)), ctypes.c_float(1), ctypes.c_float(0), pointer(out))
    assert np.isfinite(out).all()
    assert np.linalg.det(out[:9].reshape(3, 3)) == pytest.approx(1, abs=1e-5)


def test_the_vector_exponential_is_good_to_one_unit(core: ctypes.CDLL) -> None:
    x = np.linspace(-86.9, 0.5, 1 << 18).astype(np.float32)
    out = np.zeros_like(x)
    core.exponentials(pointer(x), ctypes.c_int64(x.size), pointer(out))
    exact = np.exp(x.astype(np.float64))
    assert (np.abs(out / exact - 1)).max() <= tolerances.EXPONENTIAL_FLOAT32.relative


def test_the_vector_exponential_of_a_far_pixel_is_next_to_nothing(core: ctypes.CDLL) -> None:
    x = np.full(16, -1e30, np.float32)
    x[3], x[4] = -np.inf, -1000
    out = np.zeros_like(x)
    core.exponentials(pointer(x), ctypes.c_int64(16), pointer(out))
    assert (out >= 0).all()
    assert (out < 1e-37).all()
