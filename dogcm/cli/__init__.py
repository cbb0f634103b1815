"""The command ``dogcm``.

=====  ===========================================================================================
exit   meaning
=====  ===========================================================================================
0      done
1      a check or a verification fell short
2      the command or the configuration cannot be used: nothing was written
3      a file cannot be used: missing, damaged, of another grid, not writable, disk full
4      the model blew up (NaN or infinity); the last good restart is kept
5      ranks, MPI and launcher do not fit together
70     an error inside dogcm; ``--debug`` shows where
130    interrupted from the keyboard
=====  ===========================================================================================

An error is one message on one rank, and ends all ranks at once. ``--debug`` (anywhere on the line)
or ``DOGCM_DEBUG=1`` adds the traceback.
"""

from __future__ import annotations

import sys

from dogcm.cli.errors import one_message


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status.

    Args:
        argv: words after ``dogcm``; default: those of this process.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    with one_message(words) as outcome:
        from dogcm.cli.app import run_command

        outcome.status = run_command(words)
    return outcome.status


__all__ = ["main"]
