# shellcheck shell=bash
# Paths, addresses and small helpers of dev/real-node.
#
# Everything of a cluster that stands outside its folder carries its number N, the first that is
# free on this machine: the bridge and the cgroup tenantryN, and the addresses
#   10.79.N.1   the host, as pods see it: API server, Postgres; local-ingress calls from it
#   10.79.N.2   the node
#   10.78.N.0/24   pods
# Services live at 10.96.0.0/12 in every cluster; only its own pods can reach them.
# shellcheck disable=SC2034,SC2154 # used or set in the other parts

# shellcheck source=dev/lib.sh
. "$here/lib.sh"
environment "$name"
images=$root/.local/images
node=$state/node
node_name="node-1"
kubeconfig=$state/kubeconfig
containerd_socket=$node/containerd.sock
service_range=10.96.0.0/12
api_service=10.96.0.1
dns_service=10.96.0.10
export KUBECONFIG=$kubeconfig KWOK_WORKDIR=$state/kwok
pki=$KWOK_WORKDIR/clusters/$name/pki
[ ! -s "$state/number" ] || number=$(cat "$state/number")

link() { echo "tenantry$number"; }
host_ip() { echo "10.79.$number.1"; }
node_ip() { echo "10.79.$number.2"; }
pod_range() { echo "10.78.$number.0/24"; }

kubectl() { "$bin/kubectl" "$@"; }

need_tools() {
  local tool
  for tool in etcd kube-apiserver kube-controller-manager kube-scheduler kubectl kubelet kube-proxy \
    kwok kwokctl coredns local-ingress local-netpol pause; do
    [ -x "$bin/$tool" ] || fail "$bin/$tool is missing; run dev/build-tools --real"
  done
}

# take_number makes the bridge with the first free number. Making it is what takes the number, so
# two clusters, even of two checkouts, never get the same.
take_number() {
  local n
  for n in $(seq 1 200); do
    if ip link add "tenantry$n" type bridge 2>/dev/null; then
      mkdir -p "$state" "$logs"
      number=$n
      echo "$n" >"$state/number"
      ip address add "$(host_ip)/24" dev "$(link)"
      ip link set "$(link)" up
      return
    fi
  done
  fail "all of the bridges tenantry1 to tenantry200 are taken; see ip link"
}
