from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from astroctl.cli import cli
from astroctl.cli.group import COMMANDS
from tests.astroctl.conftest import Astroctl


def every_command() -> Iterator[tuple[str, ...]]:
    context = click.Context(cli)
    for name in COMMANDS:
        yield (name,)
        command = cli.get_command(context, name)
        if isinstance(command, click.Group):
            yield from ((name, sub) for sub in sorted(command.commands))


@pytest.mark.parametrize("path", list(every_command()), ids=" ".join)
def test_help_ends_with_an_example_and_names_a_variable_for_each_option(
    path: tuple[str, ...], astroctl: Astroctl
) -> None:
    result = astroctl(*path, "--help")
    assert result.exit_code == 0
    before, _, example = result.output.rpartition("Example:")
    assert before
    last = path[-1] if path != ("config",) else "schema"
    assert f"astroctl {path[0]}" in example
    assert last in example
    if len(path) == 2 or path[0] not in ("submit", "config", "data", "keys", "pilot", "pools"):
        variable = "_".join(["ASTROCTL", *path, "DEBUG"]).upper()
        assert variable in "".join(result.output.split())


def test_the_summary_list_has_every_command(astroctl: Astroctl) -> None:
    text = astroctl("--help").output
    assert all(f"  {name} " in text for name in COMMANDS)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from astroctl.cli import cli\n"
        "try:\n    cli.main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'pydantic', 'yaml', 'httpx', 'fsspec', 'numpy', 'torch', 'ray', 'transformers'}\n"
        "found = heavy & set(sys.modules)\nassert not found, found\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_every_module_can_be_imported_without_what_is_heavy() -> None:
    code = (
        "import importlib, pkgutil, sys, astroctl\n"
        "for m in pkgutil.walk_packages(astroctl.__path__, 'astroctl.'):\n"
        "    importlib.import_module(m.name)\n"
        "heavy = {'numpy', 'torch', 'ray', 'transformers', 'deepspeed', 'safetensors'}\n"
        "found = heavy & set(sys.modules)\nassert not found, found\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_mistyped_command_is_answered_with_the_nearest(astroctl: Astroctl) -> None:
    result = astroctl("stauts")
    assert result.exit_code == 2
    assert "Did you mean `status`?" in result.stderr


def test_an_option_comes_from_its_variable(astroctl: Astroctl, run_file: Path, home: Path) -> None:
    result = astroctl("validate", "-f", run_file, env={"ASTROCTL_VALIDATE_OUTPUT": "json"})
    assert result.stdout.startswith("{")


def test_user_errors_are_two_lines_on_standard_error(astroctl: Astroctl, home: Path) -> None:
    result = astroctl("status", "nothing")
    assert result.exit_code == 3
    assert result.stdout == ""
    assert (
        result.stderr.splitlines()[0] == "error: no run `default/nothing` is known on this machine"
    )
    assert result.stderr.splitlines()[1].startswith("hint: ")


def test_debug_shows_the_traceback(home: Path) -> None:
    command = [sys.executable, "-c", "from astroctl.cli import main; main()"]
    for where in (["--debug", "status", "nothing"], ["status", "nothing", "--debug"]):
        done = subprocess.run([*command, *where], capture_output=True, text=True)
        assert done.returncode == 3
        assert "Traceback" in done.stderr
        assert "error: no run" in done.stderr


def test_an_unexpected_error_is_one_line_and_a_way_to_the_traceback(
    astroctl: Astroctl, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.mkdir()
    (home / "runs.json").write_text('{"default/x": {"nonsense": 1}}')
    result = astroctl("list")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: TypeError: ")
    assert "--debug" in result.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell: str, astroctl: Astroctl) -> None:
    result = astroctl("completion", shell)
    assert result.exit_code == 0
    assert "_ASTROCTL_COMPLETE" in result.stdout


def complete(words: str, home: Path, cwd: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", "from astroctl.cli import main; main()"],
        env={
            "_ASTROCTL_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split(" ")) - 1),
            "ASTROCTL_HOME": str(home),
        },
        cwd=cwd,
        capture_output=True,
        text=True,
        check=True,
    )
    return [line.partition(",")[2] for line in done.stdout.split()]


def test_completion_knows_runs_and_stages(home: Path, run_file: Path) -> None:
    from astroctl.runs import registry

    registry.put(registry.Record("default", "alpha", "/nowhere"))
    registry.put(registry.Record("team", "beta", "/nowhere"))
    assert set(complete("astroctl status ", home, run_file.parent)) >= {"alpha", "team/beta"}
    assert complete("astroctl logs al", home, run_file.parent) == ["alpha"]
    words = f"astroctl submit train -f {run_file.name} --until c"
    assert complete(words, home, run_file.parent) == ["corpus", "cpt"]
    assert complete("astroctl resume missing --stages c", home, run_file.parent) == []


def test_an_option_without_its_value_is_told_with_the_commands_own_help(
    astroctl: Astroctl,
) -> None:
    result = astroctl("serve", "--stop")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == "hint: astroctl serve --help"
