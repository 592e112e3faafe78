#!/bin/sh
# The program `fluxmq`: starts Node.js with what it must know before its first line runs. What the
# environment says already, stays; the process is Node's own, so signals and exit codes are too.
#
# UV_THREADPOOL_SIZE: writes to the log must not wait behind reads.
# MALLOC_ARENA_MAX: glibc would give each thread of that pool a heap of its own, and none back.
# --max-semi-space-size (MiB): new objects of the broker live for milliseconds; a larger nursery
# keeps more garbage and saves no work (docs/decisions/0010-memory-of-the-process.md).
# --interrupt-budget (bytes of bytecode): the broker alone, not the commands that end at once. Code
# that runs some hundred times a second, as that of small entries does, would be interpreted for its
# first minutes (docs/decisions/0023-code-that-is-warm-sooner.md).
# --initial-old-space-size (MiB): the broker alone. V8 would look through a small heap for each few
# MiB of buffers that pass by outside of it (docs/decisions/0042-garbage-outside-of-the-heap.md).
# --v8-pool-size (threads): the broker alone. The four that Node.js has would take both cores of a
# small machine from its clients (docs/decisions/0043-helpers-of-v8.md).
UV_THREADPOOL_SIZE="${UV_THREADPOOL_SIZE:-16}"
MALLOC_ARENA_MAX="${MALLOC_ARENA_MAX:-2}"
export UV_THREADPOOL_SIZE MALLOC_ARENA_MAX
program="$(dirname "$(readlink -f "$0")")/../../dist/src/cli/main.js"
set -- "$program" "$@"
if [ "${2:-}" = start ]; then
  cores="$(nproc 2>/dev/null || getconf _NPROCESSORS_ONLN 2>/dev/null || echo 8)"
  helpers=$((cores < 4 ? 1 : cores > 8 ? 4 : cores / 2))
  set -- --interrupt-budget=12000 --initial-old-space-size=64 "--v8-pool-size=$helpers" "$@"
fi
exec node --max-semi-space-size=4 "$@"
