# shellcheck shell=bash
# The node: a process tree in its own mount, network and PID namespaces and its own cgroup, with
# containerd, kubelet, kube-proxy and local-netpol in it.
# shellcheck disable=SC2154

start_node() {
  mkdir -p "$node" "$images"
  make_cgroups
  hold_namespaces
  private_folders
  network
  identity kubelet "/O=system:nodes/CN=system:node:$node_name"
  identity kube-proxy "/CN=system:kube-proxy"
  identity netpol "/O=system:masters/CN=local-netpol"
  write_config

  daemon containerd containerd --config "$node/containerd.toml"
  until_true 10 in_node ctr --address "$containerd_socket" version ||
    fail "containerd did not start: see $logs/containerd.log"
  load_own_images

  daemon kubelet "$bin/kubelet" --config "$node/kubelet.yaml" \
    --kubeconfig "$node/identities/kubelet.kubeconfig" --hostname-override "$node_name" \
    --node-ip "$(node_ip)" --root-dir "$node/kubelet" --cert-dir "$node/kubelet-pki"
  daemon kube-proxy "$bin/kube-proxy" --config "$node/kube-proxy.yaml"
  daemon netpol "$bin/local-netpol" --kubeconfig "$node/identities/netpol.kubeconfig"

  until_true 60 kubectl wait --for condition=Ready "node/$node_name" --timeout 1s ||
    fail "the node did not get ready: see $logs/kubelet.log"
}

# hold_namespaces starts process 1 of the node. All else joins it, and ends with it.
hold_namespaces() {
  (
    enter_cgroups
    exec setsid unshare --mount --net --pid --fork --kill-child --mount-proc --propagation private \
      "$bin/pause"
  ) </dev/null >"$logs/node.log" 2>&1 &
  local unshare=$!
  until_true 5 pgrep --parent "$unshare" --exact pause || fail "unshare failed: see $logs/node.log"
  pgrep --parent "$unshare" --exact pause >"$node/pid"
}

# in_node COMMAND… runs it in the node's namespaces. nsenter resets the working directory.
in_node() { nsenter --target "$(cat "$node/pid")" --mount --net --pid -- "$@"; }

# daemon NAME COMMAND… runs it in the node from now on.
daemon() {
  local log=$logs/$1.log
  shift
  (
    enter_cgroups
    exec setsid nsenter --target "$(cat "$node/pid")" --mount --net --pid -- "$@"
  ) </dev/null >"$log" 2>&1 &
}

# private_folders covers what the programs write outside of their own folders with memory that ends
# with the node. Its mounts are shared within it, so that volumes reach containers. The kubelet
# changes some kernel settings of the whole machine: here it changes copies.
private_folders() {
  # shellcheck disable=SC2016 # the inner shell expands them
  in_node sh -euc '
    mount --make-rshared /
    for folder in /run /var/lib/cni /var/lib/kubelet /var/log/containers; do
      mkdir -p $folder
      mount -t tmpfs tmpfs $folder
      mount --make-shared $folder
    done
    mkdir -p /run/netns /run/settings
    for setting in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops \
      kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
      copy=/run/settings/$(echo $setting | tr / .)
      cat /proc/sys/$setting >$copy
      mount --bind $copy /proc/sys/$setting
    done'
}

# network plugs the node into the cluster's bridge and tells the host the way to its pods.
network() {
  local far # the bridge's end of the cable
  far=$(link)n
  ip link add "$far" type veth peer name eth0 netns "$(cat "$node/pid")"
  ip link set "$far" master "$(link)" up
  in_node sh -euc "
    ip link set lo up
    ip address add $(node_ip)/24 dev eth0
    ip link set eth0 up
    ip route add default via $(host_ip)
    echo 1 >/proc/sys/net/ipv4/ip_forward"
  ip route replace "$(pod_range)" via "$(node_ip)"
}

# load_own_images packs and loads the sandbox and DNS images.
load_own_images() {
  local program image
  for program in pause coredns; do
    image=$images/$program.tar
    if [ ! -f "$image" ] || [ "$bin/$program" -nt "$image" ]; then
      "$here/make-image" "localhost/$program:1" "$image" --file "$bin/$program=/$program:755" \
        --entrypoint "[\"/$program\"]" --user 65532:65532 >/dev/null
    fi
    load "$image" >/dev/null || fail "could not load $image: see $logs/containerd.log"
  done
}

# stop_node ends process 1 and with it every process, mount and link in the node's namespaces.
stop_node() {
  if [ -s "$node/pid" ] && is_ours "$(cat "$node/pid")" "$bin/pause"; then
    kill -KILL "$(cat "$node/pid")"
  fi
  [ -n "${number:-}" ] || return 0
  until_true 10 no_cgroups || echo "some of the cgroups $(link) remain; see /sys/fs/cgroup" >&2
  ip route delete "$(pod_range)" 2>/dev/null || true
  ip link delete "$(link)n" 2>/dev/null || true
  # The last one to go takes the mount points along that private_folders may have made.
  if [ "$(find /sys/class/net -name 'tenantry*[0-9]' | wc -l)" -le 1 ]; then
    rmdir /var/lib/cni /var/lib/kubelet /var/log/containers 2>/dev/null || true
  fi
}
