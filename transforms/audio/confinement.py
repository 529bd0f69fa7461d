"""Confinement: removes a process's access to what a decoder does not need: other files, the network, other programs (Linux).

Landlock (kernel 5.13) limits files, TCP (6.7) and signals (6.12); a seccomp filter denies sockets of every kind, new programs
and system calls that affect other processes. Both apply to the calling process and its children, and cannot be undone.
On other systems, and in containers that forbid these calls, access remains; `confine` returns what it could remove.
"""

import ctypes
import os
import platform
import struct
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from errno import EPERM
from pathlib import Path

_READ_FILE, _READ_DIR, _EXECUTE = 1 << 2, 1 << 3, 1 << 0
_FILE_RIGHTS_BY_ABI = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}
_TCP_RIGHTS, _SCOPES = 0b11, 0b11
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, _PR_SET_DUMPABLE = 38, 22, 2, 4
_RULE_PATH_BENEATH = 1

# By architecture: socket, socketpair, bind, listen, accept, accept4, connect, sendto, ptrace, execve, execveat,
# process_vm_readv, process_vm_writev, kill, open_by_handle_at, mount, unshare, setns, bpf, keyctl, perf_event_open, userfaultfd.
# The same number everywhere: io_uring_setup, pidfd_open, pidfd_getfd.
_EVERYWHERE = (425, 434, 438)
_REFUSED = {
    "x86_64": (0xC000003E, (41, 53, 49, 50, 43, 288, 42, 44, 101, 59, 322, 310, 311, 62, 304, 165, 272, 308, 321, 250, 298, 323)),
    "aarch64": (
        0xC00000B7,
        (198, 199, 200, 201, 202, 242, 203, 206, 117, 221, 281, 270, 271, 129, 265, 40, 97, 268, 280, 219, 241, 282),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Confinement:
    """Which access has been removed from a process."""

    files: bool
    """files other than the given ones"""
    network: bool
    """sockets, new programs, other processes"""


def available() -> Confinement:
    """Which access this platform can remove."""
    if sys.platform != "linux":
        return Confinement(files=False, network=False)
    return Confinement(files=_landlock_abi() > 0, network=platform.machine() in _REFUSED)


def confine(readable: Iterable[Path]) -> Confinement:
    """Confines this process for good: it can read below `readable` and nothing else. Call it before reading untrusted bytes."""
    can = available()
    libc = ctypes.CDLL(None, use_errno=True)
    if not (can.files or can.network) or libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return Confinement(files=False, network=False)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    files = can.files and _restrict_files(libc, readable)
    return Confinement(files=files, network=can.network and _filter_calls(libc))


def _landlock_abi() -> int:
    return int(ctypes.CDLL(None, use_errno=True).syscall(_CREATE_RULESET, None, 0, 1))


def _restrict_files(libc: ctypes.CDLL, readable: Iterable[Path]) -> bool:
    abi = _landlock_abi()
    rights = _FILE_RIGHTS_BY_ABI[min(abi, max(_FILE_RIGHTS_BY_ABI))]
    attributes = struct.pack("<QQQ", rights, _TCP_RIGHTS, _SCOPES)[: 8 if abi < 4 else 16 if abi < 6 else 24]
    ruleset = libc.syscall(_CREATE_RULESET, attributes, len(attributes), 0)
    if ruleset < 0:
        return False
    try:
        for path in readable:
            if not path.exists():
                continue
            allowed = _READ_FILE | _READ_DIR | _EXECUTE if path.is_dir() else _READ_FILE
            beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
            try:
                if libc.syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, struct.pack("<Qi", allowed, beneath), 0) != 0:
                    return False
            finally:
                os.close(beneath)
        return bool(libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0)
    finally:
        os.close(ruleset)


def _filter_calls(libc: ctypes.CDLL) -> bool:
    """Installs a BPF program that denies the listed system calls, and every call of another architecture, with EPERM."""
    architecture, refused = _REFUSED[platform.machine()]
    numbers = (*refused, *_EVERYWHERE)
    load, equal, at_least, give = 0x20, 0x15, 0x35, 0x06
    refuse, allow = 0x00050000 | EPERM, 0x7FFF0000
    program = [(load, 0, 0, 4), (equal, 1, 0, architecture), (give, 0, 0, refuse), (load, 0, 0, 0)]
    program.append((at_least, len(numbers) + 1, 0, 0x40000000))  # the x32 numbers of x86-64
    program += [(equal, len(numbers) - index, 0, number) for index, number in enumerate(numbers)]
    program += [(give, 0, 0, allow), (give, 0, 0, refuse)]
    code = b"".join(struct.pack("<HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("<HxxxxxxQ", len(program), ctypes.addressof(buffer))
    return bool(libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, header, 0, 0) == 0)
