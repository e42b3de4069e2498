"""What the last screen says after a failure, where a newcomer went wrong before."""

from __future__ import annotations

from story import Story


def test_a_traceback_of_a_recipe_is_no_reason_to_declare_the_flowfile(story: Story) -> None:
    story.write("Flowfile", "[python]\nout.txt: a.txt\n    open(out, 'w').write(k)\n")
    story.write("a.txt")
    err = story.bflow("build", ok=1).err
    assert "NameError" in err and "declare" not in err


def test_a_name_in_makes_form_in_a_recipe(story: Story) -> None:
    story.write("Flowfile", "CC = gcc\nout.txt:\n    $(CC) --version > {out}\n")
    assert "{CC}, not $(CC)" in story.bflow("build", ok=1).err


def test_the_target_that_needs_a_file_is_not_what_was_meant(story: Story) -> None:
    story.write("Flowfile", "out.txt: nope.txt\n    cat {in} > {out}\n")
    assert "did you mean" not in story.bflow("build", ok=2).err
