"""Label Studio's client in memory: as much of it as we use, with a connection that can be cut."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import httpx
from label_studio_sdk.core.api_error import ApiError


class Task(SimpleNamespace):
    @property
    def total_annotations(self) -> int:
        return len(self.annotations)

    def model_dump(self) -> dict[str, Any]:
        return dict(vars(self))


class FakeLabelStudio:
    """``client.projects.create(…)`` and so on; after ``calls_left`` writing calls the connection breaks."""

    def __init__(self) -> None:
        self.calls_left = 10**9
        self.number = 0
        self.all_projects: dict[int, SimpleNamespace] = {}
        self.all_tasks: dict[int, Task] = {}
        self.made_views: list[dict[str, Any]] = []
        self.stores: list[SimpleNamespace] = []
        self.people = [SimpleNamespace(id=1, email="ann.b@x.org", username="ab")]
        self.people.append(SimpleNamespace(id=2, email="alf.b@x.org", username="ab"))
        self.projects = SimpleNamespace(
            list=lambda: list(self.all_projects.values()),
            create=self._create,
            update=self._update_project,
            import_tasks=self._import,
            import_predictions=self._import_predictions,
        )
        self.views = SimpleNamespace(create=lambda **view: self.made_views.append(view))
        self.users = SimpleNamespace(list=lambda: self.people)
        self.import_storage = SimpleNamespace(
            local=SimpleNamespace(list=lambda project: self.stores, create=self._store)
        )
        self.tasks = SimpleNamespace(list=self._list, update=self._update_task)
        self.actions = SimpleNamespace(create=self._act)
        self.predictions = SimpleNamespace(
            list=lambda task, project: [SimpleNamespace(**p) for p in self.all_tasks[task].predictions],
            delete=self._delete_prediction,
            create=self._predict,
        )
        self.annotations = SimpleNamespace(
            list=lambda id: [SimpleNamespace(**a) for a in self.all_tasks[id].annotations],
        )

    def next(self) -> int:
        self.number += 1
        return self.number

    def now(self) -> str:
        """A clock that never stands still."""
        return f"2026-01-01T00:{self.next() // 60:02d}:{self.number % 60:02d}.5Z"

    def write(self) -> None:
        if self.calls_left <= 0:
            raise httpx.ConnectError("refused")
        self.calls_left -= 1

    def _create(self, **values: Any) -> SimpleNamespace:
        self.write()
        made = SimpleNamespace(id=self.next(), **values)
        self.all_projects[made.id] = made
        return made

    def _update_project(self, id: int, **values: Any) -> None:
        self.write()
        vars(self.all_projects[id]).update(values)

    def _store(self, **values: Any) -> None:
        if "nowhere" in values["path"]:
            raise ApiError(status_code=400, body="not below the document root")
        self.stores.append(SimpleNamespace(**values))

    def _import(self, id: int, request: list[dict[str, Any]], request_options: dict[str, int]) -> None:
        assert request_options == {"max_retries": 0}
        self.write()
        for body in request:
            number = self.next()
            predictions = [{"id": self.next(), **p} for p in body["predictions"]]
            self.all_tasks[number] = Task(
                id=number,
                project=id,
                data=dict(body["data"]),
                predictions=predictions,
                annotations=[],
                created_at=self.now(),
            )

    def _list(self, project: int, only_annotated: bool = False, **_: Any) -> Iterator[Task]:
        for task in self.all_tasks.values():
            if task.project == project and (task.annotations or not only_annotated):
                yield task

    def _update_task(self, id: str, data: dict[str, Any]) -> None:
        self.write()
        self.all_tasks[int(id)].data = dict(data)

    def _delete_prediction(self, id: int) -> None:
        self.write()
        for task in self.all_tasks.values():
            task.predictions = [p for p in task.predictions if p["id"] != id]

    def _act(self, id: str, project: int, selected_items: dict[str, Any]) -> None:
        assert id == "delete_tasks_predictions" and not selected_items["all"]
        self.write()
        for number in selected_items["included"]:
            self.all_tasks[number].predictions = []

    def _import_predictions(self, id: int, request: list[dict[str, Any]]) -> None:
        self.write()
        for item in request:
            values = {k: v for k, v in item.items() if k != "task"}
            self.all_tasks[item["task"]].predictions.append({"id": self.next(), **values})

    def _predict(self, task: int, **values: Any) -> None:
        self.write()
        self.all_tasks[task].predictions.append({"id": self.next(), **values})

    def annotate(self, candidate_id: str, who: int, result: list[Any] | None = None, **changes: Any) -> dict[str, Any]:
        """Submit an annotation; without ``result`` the first proposal as it is."""
        task = next(t for t in self.all_tasks.values() if t.data["candidate_id"] == candidate_id)
        proposal = task.predictions[-1]
        made = {
            "id": self.next(),
            "result": proposal["result"] if result is None else result,
            "completed_by": who,
            "updated_at": self.now(),
            "lead_time": 4.0,
            "was_cancelled": False,
            "parent_prediction": proposal["id"],
            **changes,
        }
        task.annotations.append(made)
        return made
