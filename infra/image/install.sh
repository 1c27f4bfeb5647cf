#!/usr/bin/env bash
# Install LakeScore and what it needs into a virtual environment: .venv by make, /opt/lakescore by the Dockerfile.
#
#   install.sh <virtual environment> [<extra>,...]
set -euo pipefail
environment=$(cd "$1" && pwd)
cd "$(dirname "$0")/../.."
# wheels alone: what would have to be compiled fails here, and not first in an image without a compiler
"$environment/bin/python" -m pip install --quiet --only-binary :all: -c constraints.txt -e ".${2:+[$2]}"
