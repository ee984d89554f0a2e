# shellcheck shell=bash
# Runs the operator on this machine, with no more rights than in the cluster: those of its ServiceAccount.
# shellcheck disable=SC2154

start_operator() {
  local pid command
  operator_kubeconfig
  set_env "DEMO_INGRESS=$TENANTRY_INGRESS"
  listen=$(recall DEMO_LISTEN)
  if [ -z "$listen" ]; then
    listen=127.0.0.1:$(free_port)
    set_env "DEMO_LISTEN=$listen"
  fi
  command=("$operator" run --listen "$listen" --log-format text --check-address "$TENANTRY_INGRESS")
  if operator_is "${command[@]}"; then
    echo "the operator runs already"
    return
  fi
  stop_operator
  NO_COLOR=1 KUBECONFIG=$state/operator.kubeconfig setsid "${command[@]}" </dev/null >>"$logs/operator.log" 2>&1 3>&- 4>&- &
  pid=$!
  echo "$pid" >"$state/operator.pid"
  until_true 30 operator_leads || fail "the operator doesn't lead: see $logs/operator.log"
}

stop_operator() { stop_process "$state/operator.pid" "$operator"; }

operator_leads() { [ "$(curl --silent --fail "http://$listen/readyz")" = leading ]; }

# operator_is COMMAND…: it runs, is the program that was last built, and was started that way.
operator_is() {
  local pid
  [ -s "$state/operator.pid" ] || return
  pid=$(cat "$state/operator.pid")
  [ "/proc/$pid/exe" -ef "$operator" ] && [ "$(tr '\0' ' ' <"/proc/$pid/cmdline")" = "$* " ]
}

# operator_kubeconfig: the token is in a file of its own, which the operator reads again every minute, so a new one
# needs no restart.
operator_kubeconfig() {
  local server authority
  kubectl create token tenantry-operator --namespace tenantry-system --duration 8760h >"$state/operator.token.new"
  chmod 600 "$state/operator.token.new"
  mv "$state/operator.token.new" "$state/operator.token"
  server=$(kubectl config view --raw --minify --flatten --output 'jsonpath={.clusters[0].cluster.server}')
  authority=$(kubectl config view --raw --minify --flatten --output 'jsonpath={.clusters[0].cluster.certificate-authority-data}')
  cat >"$state/operator.kubeconfig" <<YAML
apiVersion: v1
kind: Config
current-context: demo
contexts: [{name: demo, context: {cluster: demo, user: operator}}]
clusters: [{name: demo, cluster: {server: "$server", certificate-authority-data: "$authority"}}]
users: [{name: operator, user: {tokenFile: "$state/operator.token"}}]
YAML
}
