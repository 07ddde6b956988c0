#!/bin/sh
# For RUSTC_WORKSPACE_WRAPPER: counts which lines of our own crates run. Dependencies are built as ever.
exec "$@" -C instrument-coverage
