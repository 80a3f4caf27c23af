"""`python -m predictor`: serve one version; status 1 and one line when it cannot be served."""

import sys

from sabia.serving.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
