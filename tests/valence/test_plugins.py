"""Plug-ins: the files they are made of, names that are taken, what is wrong in them, and their way to other nodes."""

import colorsys
import dataclasses
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from valence.errors import BadInput
from valence.plugin_files import contents_of
from valence.plugins import PluginFiles, load_plugin, plugin_files
from valence.registry import forget
from valence.strategies import STRATEGIES

LOSS = """
from valence.strategies import STRATEGIES, Strategy

@STRATEGIES.register({name!r})
class Mine(Strategy):
    kind, lambda_ = "values", 0.1
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a file below tmp_path; whatever is imported from there is forgotten after the test."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("VALENCE_CACHE", str(tmp_path / "cache"))

    def written(name: str, text: str = "") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    yield written
    for name, module in list(sys.modules.items()):
        facts = vars(module)  # asked for by name, some modules import others
        file = facts.get("__file__") or next(iter(facts.get("__path__") or ()), "")
        if str(file).startswith(str(tmp_path)):
            del sys.modules[name]
            forget(name)


def refused(word) -> str:
    with pytest.raises(BadInput) as caught:
        load_plugin(str(word))
    return str(caught.value)


def test_relative_imports_are_of_the_file_that_makes_them(write, tmp_path):
    write("kit/__init__.py", "from . import start\n")
    write("kit/start.py")
    write("kit/other.py")
    write("kit/losses/__init__.py")
    write("kit/losses/other.py", "from .deep.one import x\n")
    write("kit/losses/deep/__init__.py", "x = 1\n")
    write("kit/losses/deep/one.py", "from .. import late\nfrom ...start import __name__\nx = 1\n")
    write("kit/losses/late.py")
    write("kit/losses/unused.py")
    write(
        "kit/losses/mine.py", "from . import other\ndef later():\n    from kit import at_run_time\n    import beside\n"
    )
    write("kit/at_run_time.py", "this is no Python, and has not been imported\n")
    write("beside.py")
    sys.path.insert(0, str(tmp_path))
    load_plugin("kit.losses.mine")
    first, *others = contents_of("kit.losses.mine")
    assert first == "kit/losses/mine.py"
    assert others == [
        "beside.py", "kit/__init__.py", "kit/at_run_time.py", "kit/losses/__init__.py", "kit/losses/deep/__init__.py",
        "kit/losses/deep/one.py", "kit/losses/late.py", "kit/losses/other.py", "kit/start.py",
    ]  # fmt: skip


def test_what_is_installed_below_the_plugins_folder_is_not_the_users(write, tmp_path, monkeypatch):
    """A plug-in in the home folder, which Python and an environment lie in."""
    prefix = tmp_path / "env"
    for place in ("env/lib/bought", "env/lib/python3.11/site-packages/installed", "src/helper"):
        write(f"{place}.py")
        sys.path.append(str((tmp_path / place).parent))
    monkeypatch.setattr(colorsys, "__file__", str(write("python/colorsys.py")))
    plugin = write("home_loss.py", "import colorsys, bought, installed, helper, torch, valence.cell, pytest\n")
    monkeypatch.setattr(sys, "prefix", str(prefix))
    load_plugin(str(plugin))
    assert list(contents_of("home_loss")) == ["home_loss.py", "helper.py"]


@pytest.mark.parametrize("name", ["colorsys", "this", "mlflow", "_pytest", "valence", "cluster"])
def test_a_file_called_as_another_module(write, name):
    for _ in range(2):
        assert f"another module is called {name}" in refused(write(f"{name}.py"))
        sys.path.insert(0, str(write(f"{name}.py").parent))  # the same where its own folder is searched first


def test_the_check_does_not_import(write):
    code = (
        "import sys, valence\nfrom valence.plugins import load_plugin\nassert 'mlflow' not in sys.modules\n"
        f"try:\n    load_plugin({str(write('mlflow.py'))!r})\nexcept ValueError as error:\n    print(error)\n"
        "assert 'mlflow' not in sys.modules"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "another module is called mlflow" in found.stdout, found.stderr


def test_two_files_of_one_name(write):
    load_plugin(str(write("one/my_loss.py", "x = 1\n")))
    assert "my_loss" in refused(write("two/my_loss.py", "x = 2\n"))
    assert load_plugin(str(write("three/my_loss.py", "x = 1\n"))) == "my_loss", "a copy is the same plug-in"


def test_an_edited_file_is_not_taken_for_the_loaded_one(write):
    path = write("edited_loss.py", LOSS.format(name="edited"))
    load_plugin(str(path))
    before = STRATEGIES.digest("edited")
    path.write_text(path.read_text() + "# edited\n")
    assert STRATEGIES.digest("edited") == before, "the digest is of the code that runs"
    assert plugin_files("edited_loss").files[0][1] == LOSS.format(name="edited").encode()
    assert "start the command again" in refused(path)


def test_a_file_in_the_home_folder(write, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write("at_home.py")
    assert load_plugin("~/at_home.py") == "at_home"
    assert "nosuchuser" in refused("~nosuchuser/x.py")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("x = 1\ny = (\n", ("SyntaxError", ", line 2:")),
        ("\nimport no_such_module_at_all\n", ("No module named 'no_such_module_at_all'", ", line 2:")),
        ("from valence.strategies import NoSuch\n", ("ImportError", "cannot import name 'NoSuch'", ", line 1:")),
        ("\n\nfrom . import other\n", ("relative import", ", line 3:")),
        ("import json\njson.loads('{')\n", ("JSONDecodeError", ", line 2:")),
        ("import sys\nsys.exit(3)\n", ("SystemExit: 3", ", line 2:")),
        ("x = '\0'\n", ("SyntaxError",)),
    ],
)
def test_what_is_wrong_inside_is_told_with_file_and_line(write, text, parts):
    path = write("wrong_inside.py", text)
    message = refused(path)
    for part in (str(path), *parts):
        assert part in message
    assert "wrong_inside" not in sys.modules


def test_an_error_beside_the_plugin_is_told_there(write):
    helper = write("wrong_helper.py", "x = 1\nx.nothing\n")
    assert f"{helper}, line 2: AttributeError" in refused(write("good_loss.py", "import wrong_helper\n"))


def test_words_that_are_no_plugin(write, tmp_path):
    (tmp_path / "folder.py").mkdir()
    assert "not a file" in refused(tmp_path / "folder.py")
    assert "no such file" in refused(tmp_path / "none.py")
    assert "is a Python name" in refused(write("my-loss.py"))
    assert "is a Python name" in refused(write("__init__.py"))
    assert "no such module" in refused("no_such_package.losses")


def test_a_name_of_ours_is_not_taken(write, repository):
    """The template is a copy of one of ours, with its name still in it."""
    before = list(STRATEGIES)
    copy = write("copied.py", (repository / "valence/strategies/aux_mse.py").read_text())
    copy.write_text(LOSS.format(name="good") + copy.read_text())
    message = refused(copy)
    assert str(copy) in message.splitlines()[0]
    assert "strategy 'aux_mse'" in message.splitlines()[0]
    assert list(STRATEGIES) == before, "nothing of the file stays"
    assert STRATEGIES["aux_mse"].__module__ == "valence.strategies.aux_mse"


def test_a_name_of_ours_is_not_taken_before_ours_are_imported(write, repository):
    copy = write("copied.py", (repository / "valence/strategies/aux_mse.py").read_text())
    code = (
        f"import valence\nfrom valence.plugins import load_plugin\ntry:\n    load_plugin({str(copy)!r})\n"
        "except ValueError as error:\n    print(type(error).__name__, error)\n"
        "from valence.strategies import STRATEGIES\nprint(len(STRATEGIES), STRATEGIES['aux_mse'].__module__)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    ours = [name for name in STRATEGIES if STRATEGIES[name].__module__.startswith("valence.")]
    assert f"BadInput {copy}: strategy 'aux_mse'" in found.stdout, found.stderr
    assert f"{len(ours)} valence.strategies.aux_mse" in found.stdout


@pytest.mark.parametrize("name", ["a:b", "a,b", "a/b", "a=b", "a b", "a\tb", ""])
def test_names_that_words_of_a_command_cannot_hold(write, name):
    path = write("odd_name.py", LOSS.format(name=name))
    assert f"{path}: strategy {name!r}" in refused(path)


def test_names_of_groups(write):
    from cluster.request import resolve

    path = write("group_loss.py", LOSS.format(name="paper25"))
    with pytest.raises(BadInput, match=rf"{path}: strategy 'paper25' is the name of a group"):
        resolve(plugins=str(path), strategies="paper25")


def test_a_plugin_reaches_a_node_that_does_not_have_it(write, tmp_path):
    text = "from tools.read import scale\nimport steps\n" + LOSS.format(name="sent")
    path = write("driver/sent_loss.py", text)
    write("driver/tools/__init__.py")
    write("driver/tools/read.py", "scale = 2\n")
    write("driver/steps.py", "steps = 'those of the driver'\n")
    load_plugin(str(path))
    sent, digest = plugin_files("sent_loss"), STRATEGIES.digest("sent")
    assert [name for name, _ in sent.files] == ["sent_loss.py", "steps.py", "tools/__init__.py", "tools/read.py"]
    shutil.rmtree(tmp_path / "driver")
    write("node/steps.py", "steps = 'those of the node'\n")
    code = (
        "import pickle, sys, valence\nfrom valence.plugins import load_plugin\n"
        "assert load_plugin(pickle.loads(sys.stdin.buffer.read())) == 'sent_loss'\n"
        "import sent_loss\nfrom valence.strategies import STRATEGIES\n"
        "print(STRATEGIES.digest('sent'), sent_loss.scale, sent_loss.steps.steps, sent_loss.__file__)"
    )

    def on_node():
        cache = {"VALENCE_CACHE": str(tmp_path / "node_cache"), "PYTHONPATH": str(tmp_path / "node")}
        run = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(sent), capture_output=True,
                             env=os.environ | cache, cwd=tmp_path / "node")  # fmt: skip
        assert run.returncode == 0, run.stderr.decode()
        return run.stdout.decode().strip()

    folder = tmp_path / "node_cache" / "plugins" / sent.digest
    assert on_node() == f"{digest} 2 those of the driver {folder / 'sent_loss.py'}"
    (folder / "tools/read.py").write_text("scale = 3\n")  # damaged, or cut off
    assert f"{digest} 2 " in on_node()
    assert load_plugin(sent) == "sent_loss", "the process that sends it has it"
    changed = dataclasses.replace(sent, files=(("sent_loss.py", b"x = 1\n"), *sent.files[1:]))
    assert changed.digest != sent.digest
    with pytest.raises(BadInput, match="other modules under the names"):
        load_plugin(changed)


def test_a_cache_that_cannot_be_written(write, tmp_path, monkeypatch):
    monkeypatch.setenv("VALENCE_CACHE", str(write("is_a_file")))
    with pytest.raises(BadInput, match="set VALENCE_CACHE"):
        load_plugin(PluginFiles(module="unsent", files=(("unsent.py", b""),)))


def test_a_node_without_the_sweeps_folder_says_so_before_it_loads(write, tmp_path, one_thread):
    from cluster.context import Context, set_up_process

    plugin = PluginFiles(module="unloaded", files=(("unloaded.py", b"raise RuntimeError\n"),))
    context = Context(
        folder=str(tmp_path), prepared={}, splits={}, recipes={}, inputs={}, targets={}, plugins=(plugin,)
    )
    with pytest.raises(BadInput, match="is not the sweep's folder on node"):
        set_up_process(context, "cpu")
    (tmp_path / "plans").mkdir()
    with pytest.raises(BadInput, match=r"unloaded\.py, line 1: RuntimeError"):
        set_up_process(context, "cpu")
