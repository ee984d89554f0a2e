// local-netpol enforces NetworkPolicies on one real node of a local cluster: it turns them into
// nftables rules in the network namespace in which it runs.
//
// It keeps three caches (Pod, Namespace, NetworkPolicy). When one of them changes, the whole
// ruleset is drawn anew and, if it differs from the last, replaced in one transaction, so there is
// never a moment without rules. A new pod can be reached for a fraction of a second before its
// rules stand: good enough to develop and test with, and only for that.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

// pause is how long a burst of changes is gathered before the rules are drawn.
const pause = 200 * time.Millisecond

func main() {
	kubeconfig := flag.String("kubeconfig", "", "kubeconfig `file` of the cluster")
	flag.Parse()
	log.SetFlags(log.LstdFlags | log.Lmsgprefix)
	log.SetPrefix("local-netpol: ")

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, *kubeconfig); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, kubeconfig string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	config.UserAgent = "local-netpol"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(dropManagedFields))
	pods := factory.Core().V1().Pods().Informer()
	namespaces := factory.Core().V1().Namespaces().Informer()
	policies := factory.Networking().V1().NetworkPolicies().Informer()

	changed := make(chan struct{}, 1)
	for _, informer := range []cache.SharedIndexInformer{pods, namespaces, policies} {
		if _, err := informer.AddEventHandler(signalTo(changed)); err != nil {
			return err
		}
	}
	factory.Start(ctx.Done())
	for kind, synced := range factory.WaitForCacheSync(ctx.Done()) {
		if !synced {
			return fmt.Errorf("could not list %v", kind)
		}
	}

	var current string
	for {
		rules := draw(objects[core.Pod](pods), objects[core.Namespace](namespaces), objects[networking.NetworkPolicy](policies))
		if rules != current {
			if err := apply(ctx, rules); err != nil {
				log.Print(err)
				notify(changed) // again after the pause
			} else {
				log.Printf("%d rules stand", strings.Count(rules, "\n"))
				current = rules
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
			time.Sleep(pause)
		}
	}
}

// apply replaces the table in one transaction.
func apply(ctx context.Context, rules string) error {
	nft := exec.CommandContext(ctx, "nft", "-f", "-")
	nft.Stdin = strings.NewReader(rules)
	if output, err := nft.CombinedOutput(); err != nil {
		return fmt.Errorf("nft refused the rules: %w: %s", err, output)
	}
	return nil
}

func signalTo(changed chan struct{}) cache.ResourceEventHandlerFuncs {
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { notify(changed) },
		UpdateFunc: func(any, any) { notify(changed) },
		DeleteFunc: func(any) { notify(changed) },
	}
}

// notify leaves one signal waiting; more would say nothing more.
func notify(changed chan struct{}) {
	select {
	case changed <- struct{}{}:
	default:
	}
}

func objects[T any](informer cache.SharedIndexInformer) []*T {
	stored := informer.GetStore().List()
	typed := make([]*T, 0, len(stored))
	for _, object := range stored {
		typed = append(typed, any(object).(*T))
	}
	return typed
}

func dropManagedFields(object any) (any, error) {
	if m, err := meta.Accessor(object); err == nil {
		m.SetManagedFields(nil)
	}
	return object, nil
}
