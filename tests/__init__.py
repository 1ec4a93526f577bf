"""Tests of the gateway: what each file shows stands at its head."""

import os
import sys

# Many processes are started that import the same: it is compiled once, whatever the environment has to say of it.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
