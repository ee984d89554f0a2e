package main

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// The table has one chain for each pod and direction in which a policy selects it. The chain
// returns what some policy allows and drops the rest; a packet must come through its sender's
// outgoing and its receiver's ingoing chain. Addresses are already the pods' own here, since
// Services are resolved before the forward hook. What the node itself sends, like probes, isn't
// forwarded and so always passes.
//
//	forward ──▶ established? accept
//	        ──▶ vmap on the sender   ──▶ out-10.78.0.7: return … drop
//	        ──▶ vmap on the receiver ──▶ in-10.78.0.9:  return … drop
const table = `table ip tenantry-netpol
delete table ip tenantry-netpol
table ip tenantry-netpol {
%s  chain forward {
    type filter hook forward priority filter - 5; policy accept;
    ct state established,related accept
%s  }
}
`

// direction holds the words in which ingress and egress differ.
type direction struct {
	prefix     string // of a chain's name
	pod, peer  string // nftables' words for the address of the pod and of whom it talks to
	policyType networking.PolicyType
}

var (
	in  = direction{"in", "daddr", "saddr", networking.PolicyTypeIngress}
	out = direction{"out", "saddr", "daddr", networking.PolicyTypeEgress}
)

// rule is an ingress or egress rule of a policy, which have one shape.
type rule struct {
	ports []networking.NetworkPolicyPort
	peers []networking.NetworkPolicyPeer
}

// view is what rules are drawn from.
type view struct {
	pods       []*core.Pod // that have an address of their own, ordered by it
	namespaces map[string]labels.Set
	policies   map[string][]*networking.NetworkPolicy // by namespace, ordered by name
}

// draw writes the whole ruleset; the same objects give the same text.
func draw(pods []*core.Pod, namespaces []*core.Namespace, policies []*networking.NetworkPolicy) string {
	v := view{namespaces: map[string]labels.Set{}, policies: map[string][]*networking.NetworkPolicy{}}
	for _, pod := range pods {
		ended := pod.Status.Phase == core.PodSucceeded || pod.Status.Phase == core.PodFailed
		if address, err := netip.ParseAddr(pod.Status.PodIP); err == nil && address.Is4() && !pod.Spec.HostNetwork && !ended {
			v.pods = append(v.pods, pod)
		}
	}
	slices.SortFunc(v.pods, func(a, b *core.Pod) int { return cmp.Compare(a.Status.PodIP, b.Status.PodIP) })
	for _, namespace := range namespaces {
		v.namespaces[namespace.Name] = namespace.Labels
	}
	slices.SortFunc(policies, func(a, b *networking.NetworkPolicy) int { return cmp.Compare(a.Name, b.Name) })
	for _, policy := range policies {
		v.policies[policy.Namespace] = append(v.policies[policy.Namespace], policy)
	}

	var chains, jumpMaps strings.Builder
	for _, d := range []direction{out, in} {
		var jumps []string
		for _, pod := range v.pods {
			rules, selected := v.rulesFor(pod, d)
			if !selected {
				continue
			}
			chain := d.prefix + "-" + strings.ReplaceAll(pod.Status.PodIP, ".", "-")
			fmt.Fprintf(&chains, "  chain %s { # %s/%s\n", chain, pod.Namespace, pod.Name)
			for _, r := range rules {
				fmt.Fprintf(&chains, "    %sreturn\n", r)
			}
			chains.WriteString("    counter drop\n  }\n")
			jumps = append(jumps, pod.Status.PodIP+" : jump "+chain)
		}
		if len(jumps) > 0 {
			fmt.Fprintf(&jumpMaps, "    ip %s vmap { %s }\n", d.pod, strings.Join(jumps, ", "))
		}
	}
	return fmt.Sprintf(table, chains.String(), jumpMaps.String())
}

// rulesFor lists what the policies allow a pod in one direction, and whether any selects it.
func (v *view) rulesFor(pod *core.Pod, d direction) (allowed []string, selected bool) {
	for _, policy := range v.policies[pod.Namespace] {
		if !slices.Contains(typesOf(policy), d.policyType) || !matches(&policy.Spec.PodSelector, pod.Labels) {
			continue
		}
		selected = true
		for _, r := range rulesOf(policy, d) {
			for _, to := range v.targets(policy, r, pod, d) {
				if !slices.Contains(allowed, to) {
					allowed = append(allowed, to)
				}
			}
		}
	}
	return allowed, selected
}

// typesOf is the policy's directions; the API server fills them in, but need not have.
func typesOf(policy *networking.NetworkPolicy) []networking.PolicyType {
	if len(policy.Spec.PolicyTypes) > 0 {
		return policy.Spec.PolicyTypes
	}
	if len(policy.Spec.Egress) > 0 {
		return []networking.PolicyType{in.policyType, out.policyType}
	}
	return []networking.PolicyType{in.policyType}
}

func rulesOf(policy *networking.NetworkPolicy, d direction) []rule {
	var rules []rule
	if d == in {
		for _, r := range policy.Spec.Ingress {
			rules = append(rules, rule{r.Ports, r.From})
		}
	} else {
		for _, r := range policy.Spec.Egress {
			rules = append(rules, rule{r.Ports, r.To})
		}
	}
	return rules
}

// targets writes a rule as nftables expressions, one for each pair of a peer and a port.
func (v *view) targets(policy *networking.NetworkPolicy, r rule, pod *core.Pod, d direction) []string {
	var expressions []string
	add := func(peer string, receivers []*core.Pod) {
		for _, port := range ports(r.ports, receivers) {
			expressions = append(expressions, peer+port)
		}
	}
	// A port's name is looked up at whoever receives: the pod itself, or each of its peers.
	receivers := func(peers []*core.Pod) []*core.Pod {
		if d == in {
			return []*core.Pod{pod}
		}
		return peers
	}

	if len(r.peers) == 0 {
		add("", receivers(v.pods))
	}
	for _, peer := range r.peers {
		if block := peer.IPBlock; block != nil {
			if prefix, err := netip.ParsePrefix(block.CIDR); err == nil && prefix.Addr().Is4() {
				add(fmt.Sprintf("ip %s %s ", d.peer, block.CIDR)+except(block.Except, d), receivers(nil))
			}
			continue
		}
		found := v.selectPeers(policy.Namespace, peer)
		if len(found) == 0 {
			continue
		}
		addresses := make([]string, len(found))
		for i, p := range found {
			addresses[i] = p.Status.PodIP
		}
		add(fmt.Sprintf("ip %s { %s } ", d.peer, strings.Join(addresses, ", ")), receivers(found))
	}
	return expressions
}

func except(blocks []string, d direction) string {
	if len(blocks) == 0 {
		return ""
	}
	return fmt.Sprintf("ip %s != { %s } ", d.peer, strings.Join(blocks, ", "))
}

// selectPeers lists the pods that a peer's selectors mean; without a namespaceSelector they are
// in the policy's namespace, without a podSelector they are all.
func (v *view) selectPeers(namespace string, peer networking.NetworkPolicyPeer) []*core.Pod {
	var found []*core.Pod
	for _, pod := range v.pods {
		rightPlace := pod.Namespace == namespace
		if peer.NamespaceSelector != nil {
			rightPlace = matches(peer.NamespaceSelector, v.namespaces[pod.Namespace])
		}
		if rightPlace && (peer.PodSelector == nil || matches(peer.PodSelector, pod.Labels)) {
			found = append(found, pod)
		}
	}
	return found
}

// ports writes port conditions; no ports mean every port and protocol.
func ports(wanted []networking.NetworkPolicyPort, receivers []*core.Pod) []string {
	if len(wanted) == 0 {
		return []string{""}
	}
	var written []string
	for _, port := range wanted {
		protocol := core.ProtocolTCP
		if port.Protocol != nil {
			protocol = *port.Protocol
		}
		word := strings.ToLower(string(protocol))
		switch {
		case port.Port == nil:
			written = append(written, fmt.Sprintf("meta l4proto %s ", word))
		case port.EndPort != nil:
			written = append(written, fmt.Sprintf("%s dport %d-%d ", word, port.Port.IntVal, *port.EndPort))
		case port.Port.StrVal == "":
			written = append(written, fmt.Sprintf("%s dport %d ", word, port.Port.IntVal))
		default:
			for _, number := range named(port.Port.StrVal, protocol, receivers) {
				written = append(written, fmt.Sprintf("%s dport %d ", word, number))
			}
		}
	}
	return written
}

// named is every number that a port's name stands for among some pods.
func named(name string, protocol core.Protocol, pods []*core.Pod) []int32 {
	numbers := map[int32]bool{}
	for _, pod := range pods {
		for _, container := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
			for _, port := range container.Ports {
				if port.Name == name && cmp.Or(port.Protocol, core.ProtocolTCP) == protocol {
					numbers[port.ContainerPort] = true
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(numbers))
}

// matches is false for a selector that can't be read: what isn't understood isn't allowed.
func matches(selector *metav1.LabelSelector, set labels.Set) bool {
	s, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && s.Matches(set)
}
