from dcgan.pictures import letters


def test_plain_names_stay_and_others_get_their_number():
    names = ["T-shirt/top", "\u76f4\u526a", "na\u00efve dir", "a" * 40, "", "line\nend"]
    assert letters.shown(names, letters.in_matplotlib) == [
        "T-shirt/top", r"1: \u76f4\u526a", "na\u00efve dir", f"3: {'a' * 21}...", "4: ",
        r"5: line\nend",
    ]  # fmt: skip


def test_different_names_stay_different():
    names = ["\u76f4" * 30, "\u76f4" * 31, " ", "  "]
    assert len(set(letters.shown(names, letters.in_matplotlib))) == 4


def test_both_fonts_have_what_is_said_of_them():
    assert all(map(letters.in_matplotlib, "aZ0 \u00e9\u0416\u03b1"))
    assert not letters.in_matplotlib("\u76f4")
    assert letters.in_pillow("\u00e9") and not letters.in_pillow("\u0416")
