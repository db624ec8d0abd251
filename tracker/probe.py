"""Reads a device's files through any TVM server that has LLVM.

TVM's ``download`` asks for a file's size first, and files in /proc have none. So the server compiles a few
lines of LLVM IR, which need no linker and no C header. Runs in the session's child.
"""

from __future__ import annotations

import re
from typing import Any, Final

import numpy as np
import tvm
import tvm.runtime

from tracker.memory_limit import data_bytes
from tracker.remote import RemoteDevice

_LARGEST_FILE: Final = 4 << 20
_MARGIN: Final = 1 << 20
"""Of free heap, in which a block might be found that cannot be mapped."""

# Packed functions: (self, arguments, their count, result); a value has 16 bytes, the upper half its payload.
# read_file(path: tensor, text: tensor, limit: int) -> bytes read, or -1; trim() gives free heap pages
# back and lets large blocks do so by themselves, like the agent's own. limit_data(limit: int, probe: int)
# -> 1 if RLIMIT_DATA (2) was set and so large a block is then refused.
_IR: Final = r"""
@mode = private constant [2 x i8] c"r\00"
declare ptr @fopen(ptr, ptr)
declare i32 @fgetc(ptr)
declare i32 @fclose(ptr)
declare i32 @malloc_trim(i64)
declare i32 @mallopt(i32, i32)
declare i32 @getrlimit64(i32, ptr)
declare i32 @setrlimit64(i32, ptr)
declare ptr @malloc(i64)
declare void @free(ptr)

define i32 @__tvm_ffi_limit_data(ptr %self, ptr %arguments, i32 %count, ptr %result) {
  %limit_at = getelementptr i8, ptr %arguments, i32 8
  %limit = load i64, ptr %limit_at
  %probe_at = getelementptr i8, ptr %arguments, i32 24
  %probe = load i64, ptr %probe_at
  %limits = alloca [2 x i64]
  %top_pad = call i32 @mallopt(i32 -2, i32 0)
  %got = call i32 @getrlimit64(i32 2, ptr %limits)
  store i64 %limit, ptr %limits
  %set = call i32 @setrlimit64(i32 2, ptr %limits)
  %was_set = icmp eq i32 %set, 0
  %block = call ptr @malloc(i64 %probe)
  %refused = icmp eq ptr %block, null
  call void @free(ptr %block)
  %enforced = and i1 %was_set, %refused
  %number = zext i1 %enforced to i64
  store i32 1, ptr %result
  %number_at = getelementptr i8, ptr %result, i32 8
  store i64 %number, ptr %number_at
  ret i32 0
}

define i32 @__tvm_ffi_trim(ptr %self, ptr %arguments, i32 %count, ptr %result) {
  %mmap_threshold = call i32 @mallopt(i32 -3, i32 32768)
  %trim_threshold = call i32 @mallopt(i32 -1, i32 32768)
  %done = call i32 @malloc_trim(i64 0)
  ret i32 0
}

define i32 @__tvm_ffi_read_file(ptr %self, ptr %arguments, i32 %count, ptr %result) {
start:
  %path_at = getelementptr i8, ptr %arguments, i32 8
  %path_tensor = load ptr, ptr %path_at
  %path = load ptr, ptr %path_tensor
  %text_at = getelementptr i8, ptr %arguments, i32 24
  %text_tensor = load ptr, ptr %text_at
  %text = load ptr, ptr %text_tensor
  %limit_at = getelementptr i8, ptr %arguments, i32 40
  %limit = load i64, ptr %limit_at
  %count_at = getelementptr i8, ptr %result, i32 8
  store i32 1, ptr %result
  store i64 -1, ptr %count_at
  %file = call ptr @fopen(ptr %path, ptr @mode)
  %missing = icmp eq ptr %file, null
  br i1 %missing, label %done, label %read
read:
  %at = phi i64 [0, %start], [%next, %more]
  %byte = call i32 @fgetc(ptr %file)
  %end = icmp slt i32 %byte, 0
  %full = icmp sge i64 %at, %limit
  %stop = or i1 %end, %full
  br i1 %stop, label %close, label %more
more:
  %place = getelementptr i8, ptr %text, i64 %at
  %char = trunc i32 %byte to i8
  store i8 %char, ptr %place
  %next = add i64 %at, 1
  br label %read
close:
  store i64 %at, ptr %count_at
  %closed = call i32 @fclose(ptr %file)
  br label %done
done:
  ret i32 0
}
"""


class Probe:
    """The compiled probe on one device."""

    def __init__(self, device: RemoteDevice) -> None:
        self._device = device
        layout = _data_layout(device)
        source = f'target datalayout = "{layout}"\n{_IR}'
        self._module = device.load_as(device.fresh_name("probe.ll"), source.encode())
        self._text = tvm.runtime.empty((_LARGEST_FILE,), "uint8", device.cpu)

    def read(self, path: str) -> str:
        """A file's text; the empty text when it cannot be read."""
        name = self._device.tensor(np.frombuffer(path.encode() + b"\0", np.uint8))
        count = self._module["read_file"](name, self._text, _LARGEST_FILE)
        if count < 1:
            return ""
        text: Any = self._text._create_view((count,), "uint8", 0).numpy()
        return bytes(text).decode(errors="replace")

    def trim(self) -> None:
        """Gives free heap pages back to the kernel, and lets large blocks do so by themselves."""
        self._module["trim"]()

    def limit_memory(self, size: int) -> bool:
        """Lets the session's process map so many bytes more than it has; whether that is enforced."""
        present = data_bytes(self.read("/proc/self/status"))
        return bool(present and self._module["limit_data"](present + size, size + _MARGIN))


def _data_layout(device: RemoteDevice) -> str:
    """The server's own data layout: TVM names it when it refuses a module without one."""
    module = device.load_as(device.fresh_name("probe.ll"), _IR.encode())
    try:
        module["trim"]
    except tvm.error.RPCError as error:
        if found := re.search(r"ExecutionEngine \((.+?)\)", str(error)):
            return found[1]
        raise
    return ""
