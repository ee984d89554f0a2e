# shellcheck shell=bash
# etcd, API server, controller-manager and scheduler on the host, and what belongs to the cluster
# as a whole: certificates, DNS, local-ingress. kwokctl starts the programs; its own controller is
# left out, since it would play the kubelet of the real node too.
# shellcheck disable=SC2154

start_control_plane() {
  cat >"$state/kwokctl.yaml" <<YAML
apiVersion: config.kwok.x-k8s.io/v1alpha1
kind: KwokctlConfiguration
options:
  components: [etcd, kube-apiserver, kube-controller-manager, kube-scheduler]
  kubeApiserverCertSANs: ["$(host_ip)", "$api_service"]
YAML
  # The API server tells pods where it is (advertise-address), and calls the kubelet by its address
  # and with a certificate, for logs and exec.
  "$bin/kwokctl" create cluster --name "$name" --runtime binary --config "$state/kwokctl.yaml" \
    --kubeconfig "$kubeconfig" --wait 60s \
    --etcd-binary "$bin/etcd" \
    --kube-apiserver-binary "$bin/kube-apiserver" \
    --kube-controller-manager-binary "$bin/kube-controller-manager" \
    --kube-scheduler-binary "$bin/kube-scheduler" \
    --kwok-controller-binary "$bin/kwok" \
    --extra-args "kube-apiserver=service-cluster-ip-range=$service_range" \
    --extra-args "kube-apiserver=advertise-address=$(host_ip)" \
    --extra-args "kube-apiserver=kubelet-preferred-address-types=InternalIP" \
    --extra-args "kube-apiserver=kubelet-client-certificate=$pki/admin.crt" \
    --extra-args "kube-apiserver=kubelet-client-key=$pki/admin.key" \
    --extra-args "kube-controller-manager=service-cluster-ip-range=$service_range" \
    >"$logs/control-plane.log" 2>&1 ||
    fail "the control plane did not start: see $logs/control-plane.log and $state/kwok/clusters/$name/logs"
  rm "$state/kwokctl.yaml"
  set_env "KUBECONFIG=$kubeconfig" TENANTRY_NODES=real "TENANTRY_HOST_IP=$(host_ip)" \
    "TENANTRY_INGRESS_SOURCE=$(host_ip)/32"
}

stop_control_plane() {
  if [ -d "$KWOK_WORKDIR/clusters/$name" ] && [ -x "$bin/kwokctl" ]; then
    "$bin/kwokctl" delete cluster --name "$name" --kubeconfig "$kubeconfig" >/dev/null 2>&1 || true
  fi
  [ -z "${number:-}" ] || ip link delete "$(link)" 2>/dev/null || true
}

# identity NAME SUBJECT writes a kubeconfig for use in the node, where 127.0.0.1 isn't the host.
identity() {
  local base=$node/identities/$1 port
  mkdir -p "$node/identities"
  port=$(kubectl config view --minify --output 'jsonpath={.clusters[0].cluster.server}')
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
    -keyout "$base.key" -subj "$2" 2>/dev/null |
    openssl x509 -req -CA "$pki/ca.crt" -CAkey "$pki/ca.key" -CAcreateserial \
      -CAserial "$node/identities/serial" -days 365 -out "$base.crt" 2>/dev/null
  cat >"$base.kubeconfig" <<YAML
apiVersion: v1
kind: Config
current-context: local
contexts: [{name: local, context: {cluster: local, user: local}}]
clusters: [{name: local, cluster: {server: "https://$(host_ip):${port##*:}", certificate-authority: "$pki/ca.crt"}}]
users: [{name: local, user: {client-certificate: "$base.crt", client-key: "$base.key"}}]
YAML
}

start_dns() {
  sed "s/\${DNS_SERVICE}/$dns_service/" "$here/real-node.d/coredns.yaml" | kubectl apply -f - >/dev/null
  kubectl rollout status --namespace kube-system deployment/coredns --timeout 60s >/dev/null ||
    fail "coredns did not start: see kubectl --kubeconfig $kubeconfig -n kube-system describe pods"
}

# start_ingress: visitors come from this machine, and an operator that runs as a pod comes from the node.
start_ingress() {
  local port
  port=$(ingress_port)
  setsid "$bin/local-ingress" --kubeconfig "$kubeconfig" --listen "127.0.0.1:$port,$(host_ip):$port" \
    </dev/null >"$logs/ingress.log" 2>&1 &
  echo $! >"$state/ingress.pid"
  until_true 10 grep -q serving "$logs/ingress.log" ||
    fail "local-ingress did not start: see $logs/ingress.log"
  set_env "TENANTRY_INGRESS=127.0.0.1:$port" "TENANTRY_INGRESS_FOR_PODS=$(host_ip):$port"
}

ingress_runs() {
  [ -s "$state/ingress.pid" ] && is_ours "$(cat "$state/ingress.pid")" "$bin/local-ingress"
}
