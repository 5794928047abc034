"""Files of tensors with plain facts about them: safetensors, whose metadata says what they are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from onefield.errors import DataError, first_line
from onefield.files import write_atomically


@dataclass(frozen=True)
class TensorFile:
    """One kind of such files.

    Attributes:
        key: of its metadata; tells it from other kinds.
        version: raised when the meaning of what is stored changes.
        holds: what such a file is, for messages, without article.
        cure: how to get one.
    """

    key: str
    version: int
    holds: str
    cure: str

    def write(self, path: str | Path, facts: Mapping[str, object], tensors: Mapping[str, Tensor]) -> None:
        """Writes a file that `opened` reads.

        Args:
            facts: plain JSON data.

        Raises:
            ResourceError: the file can't be written.
        """
        from safetensors.torch import save

        stored = {name: tensor.contiguous() for name, tensor in tensors.items()}
        content = json.dumps({"version": self.version, **facts})
        write_atomically(path, save(stored, metadata={self.key: content}))

    @contextmanager
    def opened(self, path: str | Path) -> Iterator[tuple[dict, dict[str, Tensor]]]:
        """The facts and tensors of a file, for a block that makes something of them.

        Raises:
            DataError: missing, damaged, of another kind or version, or the block could not use what it holds.
        """
        from safetensors import SafetensorError, safe_open

        if not Path(path).is_file():
            missing = "is a folder, no file" if Path(path).is_dir() else "does not exist"
            raise DataError(f"{path} {missing}; {self.cure}.")
        try:
            with safe_open(path, framework="pt") as file:
                facts = json.loads((file.metadata() or {}).get(self.key, "null"))
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - the file is no dict
            if not isinstance(facts, dict) or facts.get("version") != self.version:
                raise DataError(f"{path} holds no {self.holds} of version {self.version}; {self.cure}.")
            yield facts, tensors
        except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
            raise DataError(f"{path} holds no {self.holds} that can be read ({first_line(error)}).") from error

    def marks(self, path: str | Path) -> bool:
        """Whether a file is of this kind, of whatever version."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="pt") as file:
                return self.key in (file.metadata() or {})
        except (OSError, SafetensorError):
            return False
