import numpy as np
import pytest
from PIL import Image

from dcgan.errors import DataError
from dcgan.pictures import grids


def test_tiles_lie_in_rows_two_pixels_apart():
    images = np.stack([np.full((1, 3, 4), value, np.uint8) for value in (10, 20, 30, 40, 50)])
    grid = grids.tile(images, columns=3)
    assert grid.shape == (2 * (3 + 2) + 2, 3 * (4 + 2) + 2, 3)
    assert grid[2:5, 2:6].ravel().tolist() == [10] * 36
    assert grid[7:10, 8:12].ravel().tolist() == [50] * 36
    assert not grid[:, :2].any()


def test_a_png_holds_the_pixels_and_equal_pixels_give_equal_bytes(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    for name in ("a.png", "b.png"):
        grids.save_png(tmp_path / name, image)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), image)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_grids_are_read_enlarged_and_put_side_by_side(tmp_path):
    grid = grids.tile(
        np.random.default_rng(0).integers(0, 256, (4, 1, 8, 8), dtype=np.uint8), columns=2
    )
    grids.save_png(tmp_path / "a.png", grid)
    assert np.array_equal(grids.read(tmp_path / "a.png"), grid)
    assert grids.read(tmp_path / "a.png", 2).shape == (2 * grid.shape[0], 2 * grid.shape[1], 3)
    both = grids.beside(grid, "left", grid, "right")
    assert both.shape == (grid.shape[0] + grids.LABEL_HEIGHT, 2 * grid.shape[1] + 12, 3)
    (tmp_path / "b.png").write_bytes(b"<html>")
    for name in ("b.png", "none.png"):
        with pytest.raises(DataError, match="cannot be read as PNG"):
            grids.read(tmp_path / name)


@pytest.mark.parametrize("channels", [1, 3])
def test_cells_keep_their_pixels_and_tables_their_order(channels):
    images = np.random.default_rng(0).integers(0, 256, (4, channels, 16, 16), np.uint8)
    scale = -(-grids.CELL // 16)
    cells = [grids.cell(image) for image in images]
    assert cells[0].shape == (16 * scale, 16 * scale, 3)
    expected = np.broadcast_to(images[0].transpose(1, 2, 0), (16, 16, 3))
    assert (cells[0][::scale, ::scale] == expected).all()
    picture = grids.table([cells[:2], cells[2:]], title="t")
    side = 16 * scale
    top = picture.shape[0] - 2 * (side + grids.GAP)
    assert (picture[top : top + side, :side] == cells[0]).all()
    assert (
        picture[
            top + side + grids.GAP : top + 2 * side + grids.GAP,
            side + grids.GAP : 2 * side + grids.GAP,
        ]
        == cells[3]
    ).all()


def test_a_frame_is_drawn_around_the_region():
    picture = grids.cell(np.zeros((1, 20, 20), np.uint8), (5, 2, 9, 4))
    rows, columns = np.nonzero((picture == grids.FRAME).all(axis=2))
    assert (columns.min(), rows.min(), columns.max(), rows.max()) == (15, 6, 29, 14)


def test_a_note_shows_its_text_on_black():
    notes = [grids.note(text) for text in ("no duplicates dropped", "nothing")]
    assert all(note.shape == (24, 160, 3) and note.any() for note in notes)
    assert not np.array_equal(*notes)


def test_a_tile_is_what_torchvision_makes():
    torch = pytest.importorskip("torch")
    from torchvision.utils import make_grid

    generator = np.random.default_rng(0)
    for count, columns, channels in ((5, 3, 1), (5, 3, 3), (2, 8, 1), (1, 4, 3), (1, 4, 1)):
        images = generator.integers(0, 256, (count, channels, 6, 6), np.uint8)
        expected = make_grid(torch.from_numpy(images), nrow=columns, padding=2)
        got = grids.tile(images, columns)
        np.testing.assert_array_equal(got, expected.expand(3, -1, -1).permute(1, 2, 0).numpy())


def test_a_picture_for_people_is_enlarged_by_a_whole_number():
    assert grids.shown(np.zeros((50, 152, 3), np.uint8)).shape == (200, 608, 3)
    assert grids.shown(np.zeros((50, 600, 3), np.uint8)).shape == (50, 600, 3)
    assert grids.shown(np.zeros((5, 5, 3), np.uint8)).shape == (40, 40, 3)
