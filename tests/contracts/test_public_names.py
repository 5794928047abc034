"""The package's public face stays small, and everything on it exists and is explained."""

import inspect

import onefield

MOST_NAMES = 25


def test_the_list_is_short_and_sorted():
    assert 0 < len(onefield.__all__) <= MOST_NAMES
    assert list(onefield.__all__) == sorted(onefield.__all__)
    assert len(set(onefield.__all__)) == len(onefield.__all__)


def test_every_name_is_there_and_explained():
    for name in onefield.__all__:
        value = getattr(onefield, name)
        assert inspect.getdoc(value), name
        assert value.__module__.startswith("onefield."), name
