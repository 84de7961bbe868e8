"""What every test starts from: one thread, and hypothesis without a clock."""

import os

# Before torch is imported: two threads on two shared cores can be far slower than one.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from hypothesis import settings

# A deadline measures the machine; a random seed would let CI fail on what nobody changed.
settings.register_profile("gradfuga", deadline=None, derandomize=True, database=None)
settings.load_profile("gradfuga")
