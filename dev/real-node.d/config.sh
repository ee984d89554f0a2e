# shellcheck shell=bash
# Configuration files of the programs in the node.
# shellcheck disable=SC2154

write_config() {
  mkdir -p "$node/cni"
  : >"$node/resolv.conf" # nothing outside the cluster has a name in it
  cni_config >"$node/cni/10-pods.conflist"
  containerd_config >"$node/containerd.toml"
  kubelet_config >"$node/kubelet.yaml"
  kube_proxy_config >"$node/kube-proxy.yaml"
}

# Each pod hangs on a cable of its own (ptp), so what pods send each other is forwarded too, and
# NetworkPolicies see it. Addresses aren't hidden behind the node's: pg_hba.conf can name them.
cni_config() {
  cat <<JSON
{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "ptp", "ipMasq": false, "ipam": {
    "type": "host-local", "dataDir": "$node/addresses",
    "ranges": [[{"subnet": "$(pod_range)"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
JSON
}

containerd_config() {
  local snapshotter=overlayfs
  # An overlay can't lie on an overlay, as in a container.
  [ "$(stat --file-system --format %T "$node")" != overlayfs ] || snapshotter=native
  cat <<TOML
version = 2
root = "$node/containerd/root"
state = "$node/containerd/state"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.internal.v1.opt",
]
[grpc]
  address = "$containerd_socket"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  restrict_oom_score_adj = true
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$node/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "$snapshotter"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
TOML
}

kubelet_config() {
  cat <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $(node_ip)
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: "$pki/ca.crt"}}
authorization: {mode: Webhook}
readOnlyPort: 0
containerRuntimeEndpoint: unix://$containerd_socket
cgroupDriver: cgroupfs
cgroupRoot: /$(link)
failCgroupV1: false
failSwapOn: false
oomScoreAdj: 0
clusterDNS: [$dns_service]
clusterDomain: cluster.local
resolvConf: $node/resolv.conf
podLogsDir: $node/pod-logs
maxPods: 200
serializeImagePulls: false
# The machine's disk and memory are the developer's business.
imageGCHighThresholdPercent: 100
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%}
# Quick to be noticed: for tests of a node that dies or fills up.
nodeStatusUpdateFrequency: 5s
syncFrequency: 10s
YAML
}

kube_proxy_config() {
  cat <<YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clientConnection: {kubeconfig: "$node/identities/kube-proxy.kubeconfig"}
clusterCIDR: $(pod_range)
hostnameOverride: $node_name
conntrack: {maxPerCore: 0}
YAML
}
