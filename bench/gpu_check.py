"""All that needs a GPU, in one call: `python -m bench.gpu_check`, in a clone with the extra `dev`.

It runs the tests that compare a device with the CPU, then times the loops on the card, ours and others'.
"""

import subprocess
import sys

import torch

CALLS = (["tests/test_devices.py", "--device", "cuda", "-n", "0"], ["--benchmark", "-k", "cuda or score"])


def main() -> int:
    """Prints what pytest prints of both; returns the exit status: 0, 1 if one of them failed, 2 without a card."""
    if not torch.cuda.is_available():
        print("gpu_check: PyTorch sees no CUDA device here", file=sys.stderr)
        return 2
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}", flush=True)
    statuses = [subprocess.run([sys.executable, "-m", "pytest", *call]).returncode for call in CALLS]
    return int(any(statuses))


if __name__ == "__main__":
    sys.exit(main())
