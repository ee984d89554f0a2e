# shellcheck shell=bash
# What is put into the cluster: Tenantry's resources and rights, the planner, its tenants.
# shellcheck disable=SC2016,SC2034,SC2154 # $ in Go templates is theirs

put() { kubectl apply --server-side --force-conflicts --field-manager demo "$@"; }

install_tenantry() {
  # What somebody else installed, the demo neither changes nor, in the end, removes.
  if [ -z "$(recall DEMO_INSTALLED)" ] && kubectl get crd tenants.tenantry.dev; then
    fail "Tenantry is installed there already; the demo wants a cluster without it"
  fi
  set_env DEMO_INSTALLED=yes
  put --filename "$root/crds"
  kubectl wait --for condition=Established --timeout 30s --filename "$root/crds"
  put --kustomize "$root/config/rbac"
  put --kustomize "$root/config/admission"
}

install_planner() {
  local files=(--from-file "password=$TENANTRY_POSTGRES_PASSWORD_FILE")
  if [ -n "${TENANTRY_POSTGRES_CA_FILE:-}" ]; then files+=(--from-file "ca.crt=$TENANTRY_POSTGRES_CA_FILE"); fi
  kubectl create secret generic demo-postgres --namespace tenantry-system --dry-run=client --output yaml \
    --from-literal "username=$TENANTRY_POSTGRES_USER" "${files[@]}" | put --filename -
  put --filename - <<YAML
apiVersion: tenantry.dev/v1alpha1
kind: DatabaseServer
metadata: {name: demo}
spec:
  host: "$TENANTRY_POSTGRES_HOST"
  port: ${TENANTRY_POSTGRES_PORT:-5432}
  database: ${TENANTRY_POSTGRES_DATABASE:-tenants}
  adminSecret: {name: demo-postgres}
YAML
  put --filename "$manifests/plans.yaml"
  kubectl patch --local --filename "$manifests/blueprint.yaml" --type merge --patch "$(here_and_now)" --output yaml |
    put --filename -
}

# here_and_now is what the blueprint has to say otherwise on this cluster.
here_and_now() {
  local changes=() port=${TENANTRY_INGRESS##*:}
  if [ "$port" != 80 ]; then changes+=("\"ingress\": {\"port\": $port}"); fi
  if [ -n "${PLANNER_REPOSITORY:-}" ]; then changes+=("\"image\": {\"repository\": \"$PLANNER_REPOSITORY\"}"); fi
  # Where the ingress controller of such a cluster is, only its admin knows.
  if [ -z "$home" ]; then changes+=('"network": {"ingressFrom": null}'); fi
  (IFS=,; echo "{\"spec\": {${changes[*]}}}")
}

apply_tenants() {
  applied_at=$SECONDS
  put --filename "$manifests/tenants.yaml"
  # What was in the way last time may be gone, but a stalled tenant waits to be told.
  local stalled
  stalled=$(kubectl get --filename "$manifests/tenants.yaml" --output go-template='{{range $tenant := .items}}{{range .status.conditions}}{{if and (eq .type "Stalled") (eq .status "True")}}{{$tenant.metadata.name}} {{end}}{{end}}{{end}}')
  if [ -n "$stalled" ]; then
    # shellcheck disable=SC2086 # names
    kubectl annotate tenants $stalled --overwrite "tenantry.dev/retry=$(date +%s)"
  fi
}

# remove_product: the operator has to run, since it alone can take a tenant apart, and lets go of what tenants used.
remove_product() {
  local tenant others
  start_operator
  for tenant in $(kubectl get --filename "$manifests/tenants.yaml" --ignore-not-found --output name); do
    kubectl patch "$tenant" --type merge --patch '{"spec": {"deletion": {"policy": "Delete", "protected": false}}}'
  done
  kubectl delete --filename "$manifests/tenants.yaml" --ignore-not-found --timeout 300s
  others=$(kubectl get tenants --output name)
  [ -z "$others" ] || fail "there are tenants that aren't the demo's; delete them first: $others"
  kubectl delete --ignore-not-found --timeout 60s --filename "$manifests/blueprint.yaml" --filename "$manifests/plans.yaml"
  kubectl delete databaseserver demo --ignore-not-found --timeout 60s
}

remove_tenantry() {
  local folder
  for folder in config/admission config/rbac config/crd; do
    kubectl delete --ignore-not-found --timeout 60s --kustomize "$root/$folder"
  done
}
