# shellcheck shell=bash
# Which cluster and which Postgres the demo uses, and how they are started.
# shellcheck disable=SC2034,SC2154

# choose_cluster sets
#   cluster   own, which the demo starts and ends, or the kubeconfig of one that is there already
#   nodes     real: pods run · simulated: they only look as if
#   home      the environment in .local that the cluster is of; empty if it isn't one of ours
choose_cluster() {
  local why='' before
  cluster=own nodes=simulated home=$name
  cluster_in_words="a cluster of its own with one real node: pods run, pages are served"
  if [ "${CLUSTER:-own}" != own ]; then
    [ "$CLUSTER" = existing ] || fail "CLUSTER is either not set or 'existing', not '$CLUSTER'"
    [ -s "${KUBECONFIG:-}" ] || fail "CLUSTER=existing needs KUBECONFIG, the file that leads to the cluster"
    nodes=real home=
    KUBECONFIG=$(realpath "$KUBECONFIG")
    cluster=$KUBECONFIG
    cluster_in_words="the cluster that $KUBECONFIG leads to"
    local variable
    if [[ $KUBECONFIG =~ ^"$root/.local/"([^/]+)/kubeconfig$ ]]; then
      home=${BASH_REMATCH[1]}
      nodes=$(sed -n 's/^export TENANTRY_NODES=//p' "$root/.local/$home/env")
    else
      for variable in TENANTRY_POSTGRES_{HOST,USER,PASSWORD_FILE} TENANTRY_INGRESS PLANNER_REPOSITORY; do
        [ -n "${!variable:-}" ] || fail "an existing cluster needs $variable; see dev/demo --help"
      done
    fi
  elif [ -d "$state/node" ] || why=$("$here/real-node" can 2>&1); then
    nodes=real
  else
    cluster_in_words="a cluster of its own with simulated nodes, on which no program runs (${why#*: })"
  fi

  # Two demos would share the operator's files.
  before=$(recall DEMO_CLUSTER)
  [ "${before:-$cluster}" = "$cluster" ] || fail "the demo already runs on another cluster ($before): make demo-down first"
  set_env "DEMO_CLUSTER=$cluster"
}

# recall KEY prints what an earlier run noted with set_env.
recall() { if [ -s "$env_file" ]; then sed -n "s/^export $1=//p" "$env_file"; fi; }

build_tools() {
  if [ "$cluster" = own ] && [ "$nodes" = real ]; then "$here/build-tools" --real; else "$here/build-tools" --cluster; fi
}

start_cluster() {
  if [ "$cluster" = own ]; then
    "$here/cluster" up "$name" --nodes "$nodes" 3>&- 4>&-
    KUBECONFIG=$state/kubeconfig
  fi
  export KUBECONFIG
  kubectl get --raw /readyz >/dev/null || fail "the cluster of $KUBECONFIG doesn't answer"
}

# start_postgres sets the TENANTRY_* variables that say where Postgres and the ingress are.
start_postgres() {
  if [ -z "$home" ]; then return; fi # the environment says it
  if [ "$cluster" = own ]; then forget_former_data; fi
  "$here/postgres" up "$home" 3>&- 4>&-
  # shellcheck source=/dev/null
  . "$root/.local/$home/env"
  if [ "$cluster" = own ]; then echo "$cluster_id" >"$state/postgres/cluster"; fi
}

# forget_former_data: a new cluster has new tenants, and the data of former ones of the same names
# is not for them.
forget_former_data() {
  cluster_id=$(kubectl get namespace kube-system --output 'jsonpath={.metadata.uid}')
  if [ -d "$state/postgres" ] && [ "$(cat "$state/postgres/cluster" 2>/dev/null)" != "$cluster_id" ]; then
    "$here/postgres" down "$name"
  fi
}

load_images() {
  if [ -n "$home" ]; then "$here/real-node" load "$home" "$root"/.local/images/planner-20*.tar; fi
}
