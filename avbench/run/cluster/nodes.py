"""The nodes of a cluster: each is compared with the driver before it gets work, also one that joins later."""

from __future__ import annotations

import logging
import pickle
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from avbench.errors import EnvironmentProblem
from avbench.run.cluster.connect import Connection
from avbench.run.cluster.node_side import Description, Inquiry, describe
from avbench.run.cluster.settings import RaySettings

log = logging.getLogger(__name__)

_LOOK_S = 3.0
_ANSWER_S = 300.0


@dataclass(frozen=True)
class Node:
    """A node that may score.

    Attributes:
        id: Ray's.
        name: its host, or the name it was given, and the start of the id.
        slots: actors that it has room for.
    """

    id: str
    name: str
    slots: int


class Nodes:
    """Nodes with room for an actor that agree with the driver. Its methods call Ray: see `CallThread`.

    Args:
        connection: the cluster.
        settings: what an actor needs.
        inquiry: what each node is asked.
    """

    def __init__(self, connection: Connection, settings: RaySettings, inquiry: Inquiry) -> None:
        self.usable: dict[str, Node] = {}
        self._ray = connection.ray
        self._settings = settings
        self._expected = describe(Inquiry(inquiry.metrics, inquiry.setup))
        self._question = self._ray.put(pickle.dumps(inquiry))
        self._asked: dict[Any, Node] = {}
        self._known: set[str] = set()
        self._next_look = 0.0

    def require(self) -> None:
        """Ask all nodes that are there now.

        Raises:
            EnvironmentProblem: one differs from the driver or does not see a file, or none has room for an actor.
        """
        self._ask_new()
        asked = list(self._asked)
        if not asked:
            raise EnvironmentProblem(self._no_room())
        answered, late = self._ray.wait(asked, num_returns=len(asked), timeout=_ANSWER_S)
        if late:
            raise EnvironmentProblem(f"node {self._asked[late[0]].name} does not answer within {_ANSWER_S:g} s.")
        for reference in answered:
            if problem := self._settle(reference):
                raise EnvironmentProblem(problem)

    def require_files(self, inquiry: Inquiry) -> None:
        """Ask all nodes anew, with other files, and those that join from now on; raises what `require` raises."""
        self._question = self._ray.put(pickle.dumps(inquiry))
        self._known.clear()
        self.usable.clear()
        self.require()

    def refresh(self) -> None:
        """Let go of nodes that were lost, take in those that joined; one that differs is left out, with a warning."""
        if time.monotonic() >= self._next_look:
            self._ask_new()
            self._next_look = time.monotonic() + _LOOK_S
        for reference in self._ray.wait(list(self._asked), num_returns=1, timeout=0)[0] if self._asked else ():
            if problem := self._settle(reference):
                log.warning("not used: %s", problem)

    def alive(self, node: Node) -> bool:
        """Whether Ray has not lost it."""
        return any(each["NodeID"] == node.id and each["Alive"] for each in self._ray.nodes())

    def drop(self, node: Node) -> None:
        """Give it no work any more."""
        self.usable.pop(node.id, None)

    def on(self, node: Node) -> Any:
        """Where a task or actor runs: on this node and nowhere else."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        return NodeAffinitySchedulingStrategy(node.id, soft=False)

    def _ask_new(self) -> None:
        alive = {each["NodeID"]: each for each in self._ray.nodes() if each["Alive"]}
        self.usable = {key: node for key, node in self.usable.items() if key in alive}
        task = self._ray.remote(num_cpus=0, max_retries=0)(_question_of_any_version())
        for key, each in alive.items():
            slots = self._settings.slots(each["Resources"])
            if key not in self._known and slots:
                node = Node(key, f"{_host(each)} ({key[:8]})", slots)
                self._known.add(key)
                self._asked[task.options(scheduling_strategy=self.on(node)).remote(self._question)] = node

    def _settle(self, reference: Any) -> str | None:
        """Take a node that answered; what is wrong with it, if anything is."""
        node = self._asked.pop(reference)
        try:
            answer = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            lines = str(error).strip().splitlines()
            return f"node {node.name} cannot answer: {lines[-1] if lines else type(error).__name__}"
        if problem := difference(self._expected, answer):
            return f"node {node.name}{problem}"
        self.usable[node.id] = node
        return None

    def _no_room(self) -> str:
        needs = ", ".join(f"{name}={amount:g}" for name, amount in self._settings.needs.items())
        return f"no node of the Ray cluster can hold a worker ({needs}): ask for less (--gpus-per-worker, --resources)."


def difference(expected: Description, answer: Description | str) -> str | None:
    """How a node differs from the driver, as the end of a sentence about it; None where it does not."""
    if isinstance(answer, str):
        return f": {answer}"
    if answer.problem:
        return f": {answer.problem}"
    if answer.unseen:
        files = "1 file" if answer.n_unseen == 1 else f"{answer.n_unseen} files"
        listed = ", ".join(answer.unseen) + (" ..." if answer.n_unseen > len(answer.unseen) else "")
        return f" does not see {files} of clips with the size that they have here: {listed}"
    if answer.refused:
        return f" cannot read {answer.refused}, and this machine can: check the credentials and the network of the node"
    for name in sorted(expected.identity.keys() | answer.identity.keys()):
        here, there = expected.identity.get(name, "not installed"), answer.identity.get(name, "not installed")
        if here != there:
            return f" differs from this machine in {name}: {there} there, {here} here. Install the same on all nodes."
    return None


def _host(description: dict[str, Any]) -> str:
    name, address = str(description.get("NodeName") or ""), str(description["NodeManagerAddress"])
    return name if name and name != address else str(description["NodeManagerHostname"] or address)


def _question_of_any_version() -> Callable[[bytes], Any]:
    """A function that nodes without this module understand: nested, it is sent as code."""

    def answer(question: bytes) -> Any:
        try:
            import pickle
            from importlib.metadata import PackageNotFoundError, version

            try:
                installed = f"avbench {version('avbench')}"
            except PackageNotFoundError:
                return "avbench is not installed there"
            from avbench.run.cluster.node_side import describe

            return describe(pickle.loads(question))  # noqa: S301 - the driver's
        except Exception as error:  # noqa: BLE001 - whatever another version lacks
            return f"it has another version ({installed}): {type(error).__name__}: {error}"

    return answer
