"""Names of pictures: as short as they can be, and each its own."""

from onefield.training.evaluation import picture_names


def test_pictures_bear_the_last_part_of_their_view():
    assert picture_names(["./test/r_0", "test/b.c.jpg", "d.png"]) == ["r_0.png", "b.c.png", "d.png"]


def test_views_of_one_name_in_two_folders_keep_their_own_pictures():
    views = ["left/1.jpg", "right/1.jpg", "/right/1.png", "../2.jpg"]
    assert picture_names(views) == ["left-1.jpg.png", "right-1.jpg.png", "right-1.png.png", "2.png"]
