#!/bin/sh
# Make the work pools, all deployments of prefect.yaml and the automations on the server in
# PREFECT_API_URL. Run it in the folder that the workers have too: that is where they will look for
# the flows. Safe to repeat. MLFLOW_TRACKING_URI is written into the deployments that need it.
set -eu
: "${PREFECT_API_URL:?is the address of the Prefect server, as http://prefect:4200/api}"
: "${MLFLOW_TRACKING_URI:?is the address of the MLflow server, as http://mlflow:5000}"
for pool in data train promote; do
  prefect --no-prompt work-pool create "$pool" --type process --overwrite
done
prefect --no-prompt deploy --all
python infra/automations.py
