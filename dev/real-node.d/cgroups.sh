# shellcheck shell=bash
# The cgroup of a node, in cgroup v2 or in each hierarchy of v1: tenantryN, with the node's own
# programs in tenantryN/system and its pods in tenantryN/kubepods.
# shellcheck disable=SC2154

# hierarchies lists where cgroups are mounted. Links (v1's cpu → cpu,cpuacct) would count twice.
hierarchies() {
  if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
    echo /sys/fs/cgroup
  else
    find /sys/fs/cgroup -mindepth 1 -maxdepth 1 -type d
  fi
}

make_cgroups() {
  local top group
  for top in $(hierarchies); do
    for group in "$top/$(link)" "$top/$(link)/system"; do
      mkdir -p "$group"
      # v1: a new cpuset is empty, and nothing can enter it.
      if [ -f "$top/cpuset.cpus" ]; then
        cat "$top/cpuset.cpus" >"$group/cpuset.cpus"
        cat "$top/cpuset.mems" >"$group/cpuset.mems"
      fi
    done
    # v2: the groups of pods get the controllers that their parents hand down.
    if [ -f "$top/cgroup.controllers" ]; then
      local controller
      for controller in cpu cpuset memory pids io hugetlb; do
        for group in "$top" "$top/$(link)"; do
          echo "+$controller" >"$group/cgroup.subtree_control" || true
        done
      done 2>/dev/null # a controller that isn't there
    fi
  done
}

# enter_cgroups moves the calling shell, and what it starts from then on, into the node's group.
enter_cgroups() {
  local top
  for top in $(hierarchies); do
    echo $BASHPID >"$top/$(link)/system/cgroup.procs"
  done
}

no_cgroups() {
  local top
  for top in $(hierarchies); do
    [ ! -d "$top/$(link)" ] || find "$top/$(link)" -depth -type d -exec rmdir {} + 2>/dev/null || return 1
  done
}
