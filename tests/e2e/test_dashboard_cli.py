"""The command `antiphon dashboard`: what it refuses, and how it ends."""

import signal
import socket
import subprocess
import sys

import pytest
from conftest import COMMAND
from dashboard import answers
from serving import until

import antiphon.dashboard
from antiphon.client.port import free_port


def test_it_refuses_what_is_no_folder(cli, tmp_path):
    (tmp_path / "runs").write_text("")
    done = cli("dashboard", "--root", tmp_path / "runs")
    assert done.status == 2
    assert "is not a folder; set --root" in done.err


def test_it_refuses_a_port_that_is_taken(cli, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = cli("dashboard", "--root", tmp_path, "--port", taken.getsockname()[1])
    assert done.status == 2
    assert "cannot listen on 127.0.0.1" in done.err


@pytest.mark.parametrize("package", ["nicegui", "uvicorn"])
def test_without_its_packages_it_names_the_extra(cli, tmp_path, monkeypatch, package):
    monkeypatch.setattr(antiphon, "dashboard", antiphon.dashboard)  # Put back after it was imported anew.
    for name in [name for name in sys.modules if name.startswith("antiphon.dashboard")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    done = cli("dashboard", "--root", tmp_path)
    assert done.status == 2
    assert f"needs the package '{package}'; install it with: pip install 'antiphon[dashboard]'" in done.err


def test_it_ends_quietly_when_interrupted(tmp_path):
    port = free_port()
    command = [*COMMAND, "dashboard", f"--root={tmp_path}", f"--port={port}"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert until(lambda: answers(f"http://127.0.0.1:{port}"), 90)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert said == f"Showing the runs in {tmp_path} at http://127.0.0.1:{port} (Ctrl+C to stop)\n"
    assert process.returncode == 0
