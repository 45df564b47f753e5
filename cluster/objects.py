"""Files of a store in object storage: S3, GCS and what speaks their protocols, through obstore."""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import obstore
import obstore.store
from obstore.exceptions import AlreadyExistsError, BaseError

from cluster.files import Unusable
from valence.errors import BadInput

SCHEMES = ("s3", "gs", "file", "memory")
AT_ONCE = 32
"""requests; a single one takes 10 to 100 ms, most of it waiting"""
PATIENCE_S = "VALENCE_STORE_PATIENCE_S"
"""environment: how long a store may answer with errors (500, 503, no connection) before a command gives up"""


class Objects:
    """Files at a URL. What the store refuses for a while is asked again, with growing pauses."""

    def __init__(self, url: str):
        parts = urlsplit(url)
        if parts.scheme not in SCHEMES or "@" in parts.netloc or parts.query:
            shown = f"{parts.scheme}://…{parts.path}" if "@" in parts.netloc or parts.query else url
            raise BadInput(
                f"--store {shown}",
                allowed="s3://bucket/prefix or gs://bucket/prefix, without keys in it",
                do="correct it; keys belong into the environment or the machine's role",
            )
        self.place = url.rstrip("/")
        patience = timedelta(seconds=float(os.environ.get(PATIENCE_S, "120")))
        self._store: Any
        try:
            if parts.scheme == "memory":  # of this process, for tests
                self._store = obstore.store.MemoryStore()
            elif parts.scheme == "file":
                self._store = obstore.store.LocalStore.from_url(url, mkdir=True)
            else:
                self._store = obstore.store.from_url(url, retry_config={"retry_timeout": patience})
        except BaseError as error:
            raise self._unusable("cannot be opened", error) from error

    def put_if_absent(self, name: str, content: bytes) -> bool:
        try:
            obstore.put(self._store, name, content, mode="create")
            return True
        except AlreadyExistsError:
            # an answer that was lost after the object was written makes the repeated request lose to itself
            return self._holds(name, content)
        except (BaseError, OSError) as error:
            if self._holds(name, content):
                return True
            raise self._unusable(f"{name} cannot be written", error) from error

    def replace(self, name: str, content: bytes) -> None:
        try:
            obstore.put(self._store, name, content)
        except (BaseError, OSError) as error:
            raise self._unusable(f"{name} cannot be written", error) from error

    def read(self, name: str) -> bytes:
        try:
            return bytes(obstore.get(self._store, name).bytes())
        except FileNotFoundError:
            raise
        except (BaseError, OSError) as error:
            raise self._unusable(f"{name} cannot be read", error) from error

    def read_each(self, names: Iterable[str]) -> Iterator[tuple[str, bytes | None]]:
        names = list(names)
        with ThreadPoolExecutor(min(AT_ONCE, max(len(names), 1))) as pool:
            yield from zip(names, pool.map(self._read_if_there, names), strict=True)

    def exists(self, name: str) -> bool:
        try:
            obstore.head(self._store, name)
            return True
        except FileNotFoundError:
            return False
        except (BaseError, OSError) as error:
            raise self._unusable(f"{name} cannot be looked up", error) from error

    def delete(self, name: str) -> None:
        try:
            obstore.delete(self._store, name)
        except FileNotFoundError:
            return
        except (BaseError, OSError) as error:
            raise self._unusable(f"{name} cannot be put aside", error) from error

    def names(self, folder: str) -> list[str]:
        return [name for name, _ in self._listed(folder)]

    def stamps(self, folder: str) -> dict[str, str]:
        return {name: f"{facts['size']}-{facts['e_tag']}" for name, facts in self._listed(folder)}

    def by_time(self, folder: str) -> list[str]:
        return [name for _, name in sorted((facts["last_modified"], name) for name, facts in self._listed(folder))]

    def touch(self, name: str) -> None:
        self.replace(name, self.read(name))

    def _listed(self, folder: str) -> list[tuple[str, Any]]:
        try:
            pages = obstore.list(self._store, folder, chunk_size=1000)
            found = [(facts["path"].removeprefix(f"{folder}/"), facts) for page in pages for facts in page]
        except FileNotFoundError:
            return []
        except (BaseError, OSError) as error:
            raise self._unusable(f"{folder}/ cannot be listed", error) from error
        return [(name, facts) for name, facts in found if "/" not in name and not name.startswith(".")]

    def _read_if_there(self, name: str) -> bytes | None:
        try:
            return self.read(name)
        except FileNotFoundError:
            return None

    def _holds(self, name: str, content: bytes) -> bool:
        try:
            return bytes(obstore.get(self._store, name).bytes()) == content
        except (BaseError, OSError):
            return False

    def _unusable(self, what: str, error: Exception) -> Unusable:
        return Unusable(
            f"{self.place}: {what}: {str(error).splitlines()[0]}",
            allowed="a bucket that exists and that every node that trains may read, list and write",
            do="correct the URL, the keys in the environment or the bucket's policy, or wait until the service is well "
            "again; then run the same command again: all committed cells stay",
        )
