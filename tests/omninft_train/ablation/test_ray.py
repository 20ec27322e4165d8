"""The Ray backend with a stand-in for Ray: the same steps, the same results, errors and interruptions passed on."""

from __future__ import annotations

import pickle
import sys
import types
from pathlib import Path

import pytest

from avbench.errors import EnvironmentProblem
from omninft_train.ablation import Request, make_backend, open_ablation


class FakeRay(types.ModuleType):
    """Runs a task when it is waited for. Arguments and results are pickled, as they would be."""

    class exceptions:
        class RayError(Exception):
            pass

        class RayTaskError(RayError):
            def __init__(self, cause: Exception) -> None:
                self.cause = cause

    def __init__(self) -> None:
        super().__init__("ray")
        self.initialised, self.addresses, self.options, self.cancelled, self.order = False, [], [], [], []
        self.dies: str | None = None

    def is_initialized(self):
        return self.initialised

    def init(self, address=None, **_):
        if address == "nowhere":
            raise ConnectionError("nobody answers")
        self.initialised = True
        self.addresses.append(address)

    def shutdown(self):
        self.initialised = False

    def remote(self, **options):
        def wrap(function):
            def remote(*arguments):
                self.options.append(options)
                return pickle.dumps((function, arguments))

            return types.SimpleNamespace(remote=remote)

        return wrap

    def wait(self, references, num_returns, timeout):
        assert self.initialised
        return references[-1:], references[:-1]  # out of order, as a cluster may

    def get(self, reference):
        function, arguments = pickle.loads(reference)
        self.order.append(arguments[2].id)
        if self.dies == arguments[2].id:
            raise self.exceptions.RayError("the worker died\nmore")
        try:
            return pickle.loads(pickle.dumps(function(*arguments)))
        except EnvironmentProblem as error:
            raise self.exceptions.RayTaskError(error) from error

    def cancel(self, reference):
        self.cancelled.append(pickle.loads(reference)[1][2].id)


@pytest.fixture
def ray(monkeypatch):
    module = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", module)
    return module


def run(grid: Path, out: Path, backend: str) -> dict[str, bytes]:
    ablation = open_ablation(Request(str(grid), out=out))
    ablation.run(make_backend(backend, ablation.grid))
    ablation.tables(Path("none"))
    return {name: (out / name).read_bytes() for name in ("results.csv", "differences.csv")}


def test_results_are_those_of_the_local_backend(ray, small_grid, tmp_path):
    small_grid.write_text(small_grid.read_text() + "\n[gpus]\ntrain = 2\n")
    assert run(small_grid, tmp_path / "a", "ray") == run(small_grid, tmp_path / "b", "local")
    assert not ray.initialised, "a cluster that was joined is left"
    assert ray.order.index("pretrain") == 0
    gpus = [options["num_gpus"] for options in ray.options]
    assert gpus.count(2) == 2
    assert gpus.count(0) == len(gpus) - 2
    assert {options["max_retries"] for options in ray.options} == {0}


def test_a_cluster_of_the_caller_is_kept(ray, small_grid, tmp_path):
    ray.initialised = True
    run(small_grid, tmp_path / "a", "ray")
    assert (ray.initialised, ray.addresses) == (True, [])


def test_failures_of_steps_and_workers_are_told(ray, small_grid, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_FAIL", "vanilla/seed-0/run --recipe")
    with pytest.raises(EnvironmentProblem, match="train vanilla seed 0 failed, exit code 3: the loss is not finite"):
        run(small_grid, tmp_path / "a", "ray")
    monkeypatch.delenv("FAKE_FAIL")
    ray.dies = "evaluate vanilla seed 0"
    with pytest.raises(EnvironmentProblem, match="evaluate vanilla seed 0 failed, Ray: the worker died"):
        run(small_grid, tmp_path / "a", "ray")
    ray.dies = None
    assert run(small_grid, tmp_path / "a", "ray")


def test_no_cluster_and_no_ray_are_one_line(ray, small_grid, monkeypatch):
    ablation = open_ablation(Request(str(small_grid)))
    monkeypatch.setenv("RAY_ADDRESS", "nowhere")
    with pytest.raises(EnvironmentProblem, match=r"^no Ray cluster: nobody answers\. Check RAY_ADDRESS"):
        make_backend("ray", ablation.grid)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EnvironmentProblem, match="not installed: pip install"):
        make_backend("ray", ablation.grid)


def test_an_interruption_cancels_what_is_running(ray, small_grid, tmp_path, monkeypatch):
    ablation = open_ablation(Request(str(small_grid), out=tmp_path / "a"))
    monkeypatch.setattr(ray, "wait", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        ablation.run(make_backend("ray", ablation.grid))
    assert ray.cancelled == ["pretrain"]
    assert not ray.initialised
