"""Completion, as the shells ask for it."""

from __future__ import annotations

import shutil

import pytest

from hypermesh.cli.main import LISTED

from .shell import HM, Machine

NAMES = [each.name for section in LISTED.values() for each in section]


def bash(machine: Machine, *words: str) -> list[str]:
    """What bash would offer for the last of `words`."""
    asked = {"_HM_COMPLETE": "bash_complete", "COMP_CWORD": str(len(words))}
    line = " ".join(("hm", *words))
    done = Machine(machine.directory, machine.name, {**asked, "COMP_WORDS": line}).succeeds()
    assert done.stderr == b""
    return [each.partition(",")[2] for each in done.stdout.decode().splitlines() if each]


def test_commands(nowhere: Machine) -> None:
    assert bash(nowhere, "") == NAMES
    assert bash(nowhere, "wa") == ["wallet"]
    assert set(bash(nowhere, "--t")) == {"--timeout"}
    assert "release" in bash(nowhere, "lease", "")
    assert "--output" in bash(nowhere, "lease", "ls", "--")
    assert bash(nowhere, "lease", "ls", "--output", "j") == ["json", "jsonl"]


def test_zsh_and_fish_get_help_too(nowhere: Machine) -> None:
    zsh = {"_HM_COMPLETE": "zsh_complete", "COMP_CWORD": "1", "COMP_WORDS": "hm wal"}
    done = Machine(nowhere.directory, nowhere.name, zsh).succeeds()
    assert done.stdout == b"plain\nwallet\nShow the owner's account.\n"
    fish = {"_HM_COMPLETE": "fish_complete", "COMP_CWORD": "wal", "COMP_WORDS": "hm wal"}
    done = Machine(nowhere.directory, nowhere.name, fish).succeeds()
    assert b"wallet" in done.stdout
    assert b"Show the owner" in done.stdout


def test_without_a_node_there_are_no_ids_and_no_words(nowhere: Machine) -> None:
    assert bash(nowhere, "lease", "show", "") == []
    assert not nowhere.data.exists()


def test_with_a_broken_configuration_there_are_no_words_either(nowhere: Machine) -> None:
    (nowhere.directory / "hypermesh.toml").write_text("[")
    try:
        assert bash(nowhere, "lease", "show", "") == []
    finally:
        (nowhere.directory / "hypermesh.toml").unlink()


def test_live_ids(home: Machine, memory: str) -> None:
    lease = home.json("memory", "put", memory, stdin=b"to be completed")["lease"]
    try:
        assert lease in bash(home, "lease", "show", "")
        assert bash(home, "lease", "show", lease[:12]) == [lease]
        assert bash(home, "lease", "release", "xyz") == []
        assert bash(home, "explain", lease[:12]) == [lease]
        assert bash(home, "try-to-cheat", "tamper") == ["tamper-block"]
        elsewhere = Machine(home.directory, "elsewhere")
        assert bash(elsewhere, "lease", "show", "") == []
        assert lease in bash(elsewhere, "lease", "show", "--data", str(home.data), "")
    finally:
        home.succeeds("lease", "release", lease)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_says_how_to_install_it(nowhere: Machine, shell: str) -> None:
    script = nowhere.succeeds("completion", shell).stdout.decode()
    assert f"hm completion {shell}" in script
    assert f"_HM_COMPLETE={shell}_complete" in script
    assert script.startswith("#compdef hm\n" if shell == "zsh" else "# Completion of hm")
    assert nowhere.json("completion", shell) == {"shell": shell, "script": script.rstrip("\n")}


def test_bash_itself(nowhere: Machine) -> None:
    if shutil.which("bash") is None:
        pytest.skip("there is no bash here")
    script = (
        f'set -e; PATH={HM.parent}:$PATH; eval "$(hm completion bash)"; complete -p hm; '
        'COMP_WORDS=(hm lea); COMP_CWORD=1; _hm_completion hm lea hm; echo "${COMPREPLY[@]}"'
    )
    done = nowhere.run("bash", "-c", script)
    assert done.stderr == b""
    first, second = done.stdout.decode().splitlines()
    assert "_hm_completion hm" in first
    assert second == "lease"
