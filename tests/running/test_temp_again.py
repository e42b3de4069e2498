"""A temporary output that is needed again in the very build that made it and has removed it since."""

from __future__ import annotations

from story import Story


def test_a_folder_of_temporaries_whose_readers_were_up_to_date(story: Story) -> None:
    story.write(
        "Flowfile",
        """
        c = glob(ch/{c}.t)
        all: up/{c}
            cat {in} > {out}
        [temp]
        ch/: big
            split -l1 --additional-suffix=.t {in} {out}
        [temp]
        up/{c}: ch/{c}.t
            cat {in} > {out}
        """,
    )
    story.write("big", "1\n2\n")
    assert story.build().ran == 4
    story.write("big", "1\n3\n")  # up/aa reads what it read; `all` must read it, and it is gone, as are the chunks
    ran = story.build()
    assert story.read("all") == "1\n3\n"
    assert ("up/aa",) in ran.jobs() and ("up/ab",) in ran.jobs()
    assert story.build().ran == 0
