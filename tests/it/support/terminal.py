"""Runs a command on a terminal of its own and answers its questions; prints all that was seen.

usage: terminal.py QUESTION ANSWER COMMAND…
The answer is typed when the question has been seen; the exit code is the command's.
"""

import os
import pty
import sys


def main() -> int:
    question, answer, command = sys.argv[1].encode(), sys.argv[2].encode(), sys.argv[3:]
    process, terminal = pty.fork()
    if process == 0:
        os.execv(command[0], command)
    seen, answered = b"", False
    while True:
        try:
            read = os.read(terminal, 4096)
        except OSError:  # the command has ended
            break
        if not read:
            break
        seen += read
        if not answered and question in seen:
            os.write(terminal, answer + b"\n")
            answered = True
    sys.stdout.buffer.write(seen)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


sys.exit(main())
