# Reads `ROOT <tab> PATH <tab> LD_LIBRARY_PATH` lines, and says of each whether auditwheel's tree of libraries is complete.
# Each is looked at from inside its root, where auditwheel reads paths as the programs there would.
import logging
import os
import sys
from pathlib import Path

from auditwheel.lddtree import ldd, load_ld_paths
from auditwheel.libc import Libc

logging.disable(logging.CRITICAL)


def answer(root, path, search):
    os.environ["LD_LIBRARY_PATH"] = search
    if not search:
        del os.environ["LD_LIBRARY_PATH"]
    try:
        os.chroot(root)
        os.chdir("/")
        # It is told which C library the program will have: of a library alone it guesses the one of this machine.
        # (Of musl's path file it knows colons alone, and so does not find musl where that has lines.)
        libc = Libc.GLIBC if os.path.exists("/lib64/ld-linux-x86-64.so.2") else Libc.MUSL
        tree = ldd(Path(path), ldpaths=load_ld_paths(libc))
        missing = [name for name, library in tree.libraries.items() if library.realpath is None]
        return "no " + " ".join(missing) if missing else "yes"
    except Exception as error:
        return f"no {type(error).__name__} {error}".replace("\n", " ")


for line in sys.stdin:
    end, other = os.pipe()
    if os.fork() == 0:
        os.write(other, answer(*line.rstrip("\n").split("\t")).encode()[:4000])
        os._exit(0)
    os.close(other)
    with os.fdopen(end) as stream:
        print(stream.read() or "no answer")
    os.wait()
