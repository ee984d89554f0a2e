package main

import (
	"os/exec"
	"strings"
	"testing"

	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func pod(namespace, name, address string) *core.Pod {
	return &core.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"app": name}},
		Spec: core.PodSpec{Containers: []core.Container{{
			Ports: []core.ContainerPort{{Name: "http", ContainerPort: 8000}}}}},
		Status: core.PodStatus{PodIP: address},
	}
}

func only(app string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}}
}

func TestRulesOfATenant(t *testing.T) {
	http, endPort := intstr.FromString("http"), int32(6000)
	postgres := intstr.FromInt32(5432)
	policy := &networking.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: "tenant-acme", Name: "web"},
		Spec: networking.NetworkPolicySpec{
			PodSelector: *only("web"),
			PolicyTypes: []networking.PolicyType{in.policyType, out.policyType},
			Ingress: []networking.NetworkPolicyIngressRule{{
				From: []networking.NetworkPolicyPeer{
					{PodSelector: only("worker")},
					{IPBlock: &networking.IPBlock{CIDR: "10.79.1.0/24", Except: []string{"10.79.1.9/32"}}},
				},
				Ports: []networking.NetworkPolicyPort{{Port: &http}},
			}},
			Egress: []networking.NetworkPolicyEgressRule{
				{To: []networking.NetworkPolicyPeer{{NamespaceSelector: only("kube-system"), PodSelector: only("dns")}}},
				{Ports: []networking.NetworkPolicyPort{{Port: &postgres, EndPort: &endPort}}},
			},
		},
	}
	system := &core.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "kube-system", Labels: map[string]string{"app": "kube-system"}}}
	ended := pod("tenant-acme", "worker", "10.78.1.9")
	ended.Status.Phase = core.PodSucceeded

	got := draw([]*core.Pod{
		pod("tenant-acme", "web", "10.78.1.3"), pod("tenant-acme", "worker", "10.78.1.2"), ended,
		pod("tenant-blue", "worker", "10.78.1.4"), pod("kube-system", "dns", "10.78.1.5"),
	}, []*core.Namespace{system}, []*networking.NetworkPolicy{policy})

	want := `table ip tenantry-netpol
delete table ip tenantry-netpol
table ip tenantry-netpol {
  chain out-10-78-1-3 { # tenant-acme/web
    ip daddr { 10.78.1.5 } return
    tcp dport 5432-6000 return
    counter drop
  }
  chain in-10-78-1-3 { # tenant-acme/web
    ip saddr { 10.78.1.2 } tcp dport 8000 return
    ip saddr 10.79.1.0/24 ip saddr != { 10.79.1.9/32 } tcp dport 8000 return
    counter drop
  }
  chain forward {
    type filter hook forward priority filter - 5; policy accept;
    ct state established,related accept
    ip saddr vmap { 10.78.1.3 : jump out-10-78-1-3 }
    ip daddr vmap { 10.78.1.3 : jump in-10-78-1-3 }
  }
}
`
	if got != want {
		t.Errorf("drawn:\n%s\nwanted:\n%s", got, want)
	}
	check := exec.Command("nft", "--check", "--file", "-")
	check.Stdin = strings.NewReader(got)
	if output, err := check.CombinedOutput(); err != nil {
		t.Logf("nft can't check the rules here: %v: %s", err, output)
	} else {
		t.Log("nft takes the rules")
	}
}
