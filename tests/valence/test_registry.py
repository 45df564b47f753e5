"""Plug-ins: found without an edit, refused by name with close matches, told apart by their source."""

import importlib.metadata
import sys

import pytest

from valence.errors import BadInput
from valence.plugins import load_plugin
from valence.registry import Registry, unknown_name


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "pets"
    folder.mkdir()
    (folder / "__init__.py").write_text("from valence.registry import Registry\nPETS = Registry('pet', 'pets')\n")
    (folder / "cat.py").write_text("from pets import PETS\n@PETS.register('cat')\nclass Cat: pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    for name in [name for name in sys.modules if name.split(".")[0] == "pets"]:
        del sys.modules[name]


def test_a_new_file_is_found(package):
    (package / "dog.py").write_text("from pets import PETS\n@PETS.register('dog')\ndef dog(): pass\n")
    from pets import PETS

    assert list(PETS) == ["cat", "dog"]
    assert PETS["cat"].__name__ == "Cat"


def test_an_unknown_name_gets_close_matches_and_the_list(package):
    from pets import PETS

    with pytest.raises(BadInput, match=r"unknown pet 'cta'") as caught:
        PETS["cta"]
    assert "did you mean cat" in str(caught.value)
    assert "allowed: cat" in str(caught.value)


def test_a_file_that_cannot_be_imported_is_named(package):
    (package / "dog.py").write_text("import no_such_module_at_all\n")
    from pets import PETS

    with pytest.raises(ImportError, match=r"pets/dog\.py"):
        PETS["cat"]


def test_one_name_from_two_files_is_refused(package):
    (package / "tom.py").write_text("from pets import PETS\n@PETS.register('cat')\nclass Tom: pass\n")
    from pets import PETS

    with pytest.raises(ImportError, match="registered twice"):
        PETS["cat"]


def test_the_digest_of_a_users_file_changes_with_it(package):
    from pets import PETS

    before = PETS.digest("cat")
    assert len(before) == 8
    (package / "cat.py").write_text((package / "cat.py").read_text() + "# edited\n")
    assert PETS.digest("cat") != before


def test_our_own_entries_have_no_digest():
    from valence.strategies import STRATEGIES

    assert STRATEGIES.digest("none") == ""


def test_a_missing_plugin_module_is_bad_input():
    with pytest.raises(BadInput, match="no_such_plugin"):
        load_plugin("no_such_plugin")


def test_unknown_name_without_close_match():
    assert "take a name from the list" in str(unknown_name("pet", "zzzz", ["cat"]))


def test_registry_is_read_only():
    registry = Registry("pet", "valence.strategies")
    with pytest.raises(TypeError):
        registry["cat"] = object()


def test_a_registry_is_never_half_full(package):
    (package / "ant.py").write_text("from pets import PETS\n@PETS.register('ant')\ndef ant(): pass\n")
    (package / "bee.py").write_text("import no_such_module_at_all\n")
    from pets import PETS

    for _ in range(2):
        with pytest.raises(ImportError, match=r"pets/bee\.py"):
            list(PETS)


def test_what_is_no_class_is_of_the_file_that_registers_it(package, tmp_path):
    text = "import functools\nfrom pets import PETS\nPETS.register('partial')(functools.partial(print, {}))\n"
    (tmp_path / "pets_of_mine.py").write_text(text.format(1))
    try:
        load_plugin("pets_of_mine")
        from pets import PETS

        first = PETS.digest("partial")
        del sys.modules["pets_of_mine"]
        (tmp_path / "pets_of_mine.py").write_text(text.format(22))
        load_plugin("pets_of_mine")
        assert PETS.digest("partial") != first
    finally:
        sys.modules.pop("pets_of_mine", None)


def test_an_installed_plugin_that_fails_is_named(package, monkeypatch):
    entry_point = importlib.metadata.EntryPoint("mine", "no_such_plugin_installed", "valence.plugins")
    monkeypatch.setattr("valence.registry._plugins_loaded", False)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [entry_point])
    from pets import PETS

    for _ in range(2):
        with pytest.raises(BadInput, match="plug-in no_such_plugin_installed"):
            list(PETS)
