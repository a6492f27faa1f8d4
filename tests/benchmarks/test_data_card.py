from benchmarks.data_card import person, terms

COPYRIGHT = """Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: 2004 A Programmer <a@example.org>
License: GPL-2

Files: data/music/*
       data/menu.ogg
Copyright: (c) 2010-2012 Ada Composer <ada@example.org>
           Bob Drummer
License: CC-BY-SA-3.0
 The text of the licence.

Files: data/music/last.ogg
Copyright: Ada Composer
License: CC0
"""


def test_only_the_terms_of_the_music_count() -> None:
    assert terms(COPYRIGHT) == (["CC-BY-SA-3.0", "CC0"], ["Ada Composer", "Bob Drummer"])


def test_a_package_that_says_nothing_of_music_has_its_general_terms() -> None:
    assert terms(COPYRIGHT.split("Files: data")[0]) == (["GPL-2"], ["A Programmer"])


def test_years_and_addresses_are_no_names() -> None:
    assert person("2004, 2005 Ada Composer <ada@example.org>") == "Ada Composer"
