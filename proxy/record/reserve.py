"""Blocks of the disk held ahead for the audit log, beyond its end: what is promised room has it, however full the disk.

`fallocate` with `FALLOC_FL_KEEP_SIZE`, which Python does not offer: the file's size, and so what readers and appends
see, stays as it is (fallocate(2)). A file system without it is asked how much is free, which binds nobody.
"""

import ctypes
import errno
import os

_KEEP_SIZE = 1
_WITHOUT = (errno.EOPNOTSUPP, errno.ENOSYS)

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


class Reserve:
    """Room for `size` bytes beyond the end of one file, held anew as it is used up. `size` 0: none is wanted."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._until = 0  # where in the file the held blocks end
        self._end = 0
        self._free = 0  # of a file system that holds nothing

    @property
    def room(self) -> int:
        """Bytes that can be appended for certain."""
        return max(0, self._until - self._end, self._free)

    def follow(self, descriptor: int, end: int) -> None:
        """The file ends at `end` now. Never raises: where nothing can be held, there is less room."""
        if not self.size:
            return
        if end < self._end:
            self._until = 0  # what is cut off takes the blocks behind it along
        self._end = end
        if self._until - end < self.size * 3 // 4:
            self._hold(descriptor)

    def forget(self) -> None:
        """The file is another one."""
        self._until = self._end = self._free = 0

    def release(self, descriptor: int) -> None:
        """Give back what is held beyond the end. Raises `OSError`."""
        if self.size:
            os.ftruncate(descriptor, os.fstat(descriptor).st_size)
        self.forget()

    def can_move(self, descriptor: int) -> bool:
        """Whether another file of this file system would find as much room, once it is released here."""
        system = os.fstatvfs(descriptor)
        return not self.size or system.f_bavail * system.f_frsize + self.room >= self.size

    def _hold(self, descriptor: int) -> None:
        if _libc.fallocate(descriptor, _KEEP_SIZE, self._end, self.size) == 0:
            self._until = self._end + self.size
            self._free = 0
        elif ctypes.get_errno() in _WITHOUT:
            system = os.fstatvfs(descriptor)
            self._free = min(self.size, system.f_bavail * system.f_frsize)
