"""`python -m training --store URL [RECIPE]`: the training job, as `sabia train`."""

import sys

from sabia.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
