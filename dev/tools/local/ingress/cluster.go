package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	networking "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	byHost    = "host"    // index of Ingresses: host → Ingresses with a rule for it
	byService = "service" // index of EndpointSlices: namespace/service → its slices
)

// errUnknown says that no Ingress leads anywhere for a request.
var errUnknown = errors.New("no Ingress here")

// cluster is what the caches know of the API server's objects.
type cluster struct {
	class     string
	ingresses cache.SharedIndexInformer
	services  cache.SharedIndexInformer
	slices    cache.SharedIndexInformer
}

func newClient(kubeconfig string) (kubernetes.Interface, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	config.QPS = -1 // no limit of our own: a thousand new Ingresses want a thousand writes
	config.UserAgent = "local-ingress"
	return kubernetes.NewForConfig(config)
}

// ensureClass makes the IngressClass. It's the default one, so Ingresses without a class work too.
func ensureClass(ctx context.Context, client kubernetes.Interface, name string) error {
	_, err := client.NetworkingV1().IngressClasses().Create(ctx, &networking.IngressClass{
		ObjectMeta: metav1.ObjectMeta{
			Name:        name,
			Annotations: map[string]string{networking.AnnotationIsDefaultIngressClass: "true"},
		},
		Spec: networking.IngressClassSpec{Controller: "tenantry.dev/local-ingress"},
	}, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// watchCluster fills the caches and returns when they are complete.
func watchCluster(ctx context.Context, client kubernetes.Interface, class string) (*cluster, error) {
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0,
		informers.WithTransform(dropManagedFields))
	c, err := newCluster(factory, class)
	if err != nil {
		return nil, err
	}
	factory.Start(ctx.Done())
	for kind, synced := range factory.WaitForCacheSync(ctx.Done()) {
		if !synced {
			return nil, fmt.Errorf("could not list %v", kind)
		}
	}
	return c, nil
}

func newCluster(factory informers.SharedInformerFactory, class string) (*cluster, error) {
	c := &cluster{
		class:     class,
		ingresses: factory.Networking().V1().Ingresses().Informer(),
		services:  factory.Core().V1().Services().Informer(),
		slices:    factory.Discovery().V1().EndpointSlices().Informer(),
	}
	return c, errors.Join(
		c.ingresses.AddIndexers(cache.Indexers{byHost: c.hostsOf}),
		c.slices.AddIndexers(cache.Indexers{byService: serviceOf}),
	)
}

func dropManagedFields(object any) (any, error) {
	if m, err := meta.Accessor(object); err == nil {
		m.SetManagedFields(nil)
	}
	return object, nil
}

func (c *cluster) hostsOf(object any) ([]string, error) {
	ingress := object.(*networking.Ingress)
	var hosts []string
	if c.isOurs(ingress) {
		for _, rule := range ingress.Spec.Rules {
			hosts = append(hosts, strings.ToLower(rule.Host))
		}
	}
	return hosts, nil
}

func (c *cluster) isOurs(ingress *networking.Ingress) bool {
	return ingress.Spec.IngressClassName != nil && *ingress.Spec.IngressClassName == c.class
}

func serviceOf(object any) ([]string, error) {
	slice := object.(*discovery.EndpointSlice)
	return []string{slice.Namespace + "/" + slice.Labels[discovery.LabelServiceName]}, nil
}

// endpoints lists the addresses (host:port) of the ready pods that a request leads to. The error is
// errUnknown where no Ingress names the host and path; an empty list means that nobody is ready.
func (c *cluster) endpoints(host, path string) (service string, addresses []string, err error) {
	namespace, backend := c.backend(host, path)
	if backend == nil {
		return "", nil, errUnknown
	}
	service = namespace + "/" + backend.Name
	port, ok := c.portName(service, backend.Port)
	if !ok {
		return service, nil, nil
	}
	found, err := c.slices.GetIndexer().ByIndex(byService, service)
	if err != nil {
		return service, nil, err
	}
	for _, object := range found {
		addresses = append(addresses, ready(object.(*discovery.EndpointSlice), port)...)
	}
	return service, addresses, nil
}

// backend is the Service of the longest path that fits; among equals the older Ingress wins.
func (c *cluster) backend(host, path string) (namespace string, best *networking.IngressServiceBackend) {
	found, _ := c.ingresses.GetIndexer().ByIndex(byHost, host)
	slices.SortFunc(found, func(a, b any) int {
		x, y := a.(*networking.Ingress), b.(*networking.Ingress)
		return cmp.Or(x.CreationTimestamp.Compare(y.CreationTimestamp.Time), cmp.Compare(x.UID, y.UID))
	})
	longest := -1
	for _, object := range found {
		ingress := object.(*networking.Ingress)
		for _, rule := range ingress.Spec.Rules {
			if rule.HTTP == nil || strings.ToLower(rule.Host) != host {
				continue
			}
			for _, p := range rule.HTTP.Paths {
				if p.Backend.Service != nil && len(p.Path) > longest && fits(p, path) {
					longest, namespace, best = len(p.Path), ingress.Namespace, p.Backend.Service
				}
			}
		}
	}
	return namespace, best
}

// fits tells whether a path of an Ingress covers a request's path; a prefix ends at a slash.
func fits(p networking.HTTPIngressPath, path string) bool {
	if p.PathType != nil && *p.PathType == networking.PathTypeExact {
		return path == p.Path
	}
	prefix := strings.TrimSuffix(p.Path, "/")
	return path == prefix || strings.HasPrefix(path, prefix+"/")
}

// portName is the name under which a Service's port stands in its EndpointSlices.
func (c *cluster) portName(service string, port networking.ServiceBackendPort) (string, bool) {
	if port.Name != "" {
		return port.Name, true
	}
	object, found, err := c.services.GetStore().GetByKey(service)
	if err != nil || !found {
		return "", false
	}
	for _, p := range object.(*core.Service).Spec.Ports {
		if p.Port == port.Number {
			return p.Name, true
		}
	}
	return "", false
}

// ready lists the addresses in a slice that take new requests.
func ready(slice *discovery.EndpointSlice, portName string) []string {
	var addresses []string
	for _, port := range slice.Ports {
		if port.Port == nil || port.Name == nil || *port.Name != portName {
			continue
		}
		for _, endpoint := range slice.Endpoints {
			conditions := endpoint.Conditions
			isReady := conditions.Ready == nil || *conditions.Ready
			isTerminating := conditions.Terminating != nil && *conditions.Terminating
			if isReady && !isTerminating && len(endpoint.Addresses) > 0 {
				addresses = append(addresses,
					net.JoinHostPort(endpoint.Addresses[0], strconv.Itoa(int(*port.Port))))
			}
		}
	}
	return addresses
}
