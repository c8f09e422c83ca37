"""The methods of HTTP, each by its name."""

from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar

Made = TypeVar("Made")


class Verbs(ABC, Generic[Made]):
    """What can make requests of any method has these; options are those of its `request`."""

    @abstractmethod
    def request(self, *arguments: Any, **options: Any) -> Made:
        """A request: its method, its path, and options."""

    def get(self, *arguments: Any, **options: Any) -> Made:
        """GET of a path."""
        return self.request("GET", *arguments, **options)

    def post(self, path: str, **options: Any) -> Made:
        """POST."""
        return self.request("POST", path, **options)

    def put(self, path: str, **options: Any) -> Made:
        """PUT."""
        return self.request("PUT", path, **options)

    def patch(self, path: str, **options: Any) -> Made:
        """PATCH."""
        return self.request("PATCH", path, **options)

    def delete(self, path: str, **options: Any) -> Made:
        """DELETE."""
        return self.request("DELETE", path, **options)
