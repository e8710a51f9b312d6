"""Laws of the figures about storage and databases."""


def test_databases_share_one_logarithmic_axis(draw):
    figure = draw("stored_levels")
    shown = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_title(loc="left") for axes in shown] == [f"database {d}" for d in "abcdef"]
    assert len({axes.get_xlim() for axes in shown}) == 1 and shown[0].get_xscale() == "log"


def test_chance_is_marked_beneath_every_probe(draw):
    (axes,) = draw("database_probe").axes
    chance = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "|"]
    assert chance == [0.17] * 4
