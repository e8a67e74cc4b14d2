"""A large file to S3 in parts that survive a cut: the next try sends only what is not there.

S3 keeps the parts of an unfinished upload until it is completed or aborted (a lifecycle rule of the
bucket may do that after some days). Every request carries a checksum, which S3 compares.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

from astroctl.upload.plan import LocalFile
from astrosage.errors import DataError

PART_BYTES = 16 * 2**20
_MOST_PARTS = 9_000  # of the 10,000 that S3 allows


class PartUpload:
    """One file on its way.

    Args:
        fs: An s3fs file system.
        uri: Where it goes.
        file: What is sent.
    """

    def __init__(self, fs: Any, uri: str, file: LocalFile) -> None:
        self._fs, self._file = fs, file
        bucket, key, _ = fs.split_path(uri)
        self._place = {"Bucket": bucket, "Key": key}
        # Depends on the size alone, so that the next try cuts the file in the same places.
        megabytes = -(-file.size // (_MOST_PARTS * 2**20))
        self._part_bytes = max(PART_BYTES, megabytes * 2**20)

    def run(self, sent: Callable[[int], None]) -> None:
        """Send what is missing and put the parts together.

        Raises:
            DataError: If the file is not the planned one.
        """
        upload = self._unfinished()
        there = self._parts(upload) if upload else {}
        upload = upload or self._call("create_multipart_upload")["UploadId"]
        parts, whole = [], hashlib.sha256()
        for number, block in enumerate(self._blocks(), 1):
            whole.update(block)
            tag = f'"{hashlib.md5(block, usedforsecurity=False).hexdigest()}"'
            if there.get(number) != (len(block), tag):
                answer = self._call("upload_part", UploadId=upload, PartNumber=number, Body=block)
                tag = answer["ETag"]
            parts.append({"PartNumber": number, "ETag": tag})
            sent(len(block))
        if whole.hexdigest() != self._file.sha256:
            self._call("abort_multipart_upload", UploadId=upload)
            raise DataError(
                f"{self._file.path} changed while it was brought along",
                "wait until it is written, then submit again",
            )
        self._call("complete_multipart_upload", UploadId=upload, MultipartUpload={"Parts": parts})

    def _blocks(self) -> Iterator[bytes]:
        with self._file.path.open("rb") as stream:
            while block := stream.read(self._part_bytes):
                yield block

    def _unfinished(self) -> str | None:
        """The newest upload of this key that was begun and not ended."""
        try:
            answer = self._fs.call_s3(
                "list_multipart_uploads", Bucket=self._place["Bucket"], Prefix=self._place["Key"]
            )
        except (PermissionError, NotImplementedError):
            return None  # some accounts may write but not list; some stores cannot
        mine = [u for u in answer.get("Uploads") or [] if u["Key"] == self._place["Key"]]
        newest = max(mine, key=lambda u: u["Initiated"], default=None)
        return str(newest["UploadId"]) if newest else None

    def _parts(self, upload: str) -> dict[int, tuple[int, str]]:
        """``(bytes, tag)`` of the parts that are there, by number."""
        found: dict[int, tuple[int, str]] = {}
        marker = 0
        while True:
            answer = self._call("list_parts", UploadId=upload, PartNumberMarker=marker)
            for part in answer.get("Parts") or []:
                found[part["PartNumber"]] = (part["Size"], part["ETag"])
            if not answer.get("IsTruncated"):
                return found
            marker = answer["NextPartNumberMarker"]

    def _call(self, method: str, **arguments: Any) -> Any:
        return self._fs.call_s3(method, **self._place, **arguments)
