package main

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	core "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	networking "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
)

// world is a cluster with Service tenant-acme/web and an Ingress of acme.localhost to it.
func world(t *testing.T, endpoints ...discovery.Endpoint) (*cluster, int32) {
	t.Helper()
	pod := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = io.WriteString(w, strings.Join([]string{r.Host, r.Header.Get("X-Forwarded-Host"), r.URL.Path, string(body)}, " "))
	}))
	t.Cleanup(pod.Close)
	port := int32(pod.Listener.Addr().(*net.TCPAddr).Port)

	c, err := newCluster(informers.NewSharedInformerFactory(nil, 0), "local")
	if err != nil {
		t.Fatal(err)
	}
	class, name, prefix := "local", "http", networking.PathTypePrefix
	meta := metav1.ObjectMeta{Namespace: "tenant-acme", Name: "web"}
	add := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	add(c.services.GetStore().Add(&core.Service{ObjectMeta: meta, Spec: core.ServiceSpec{
		Ports: []core.ServicePort{{Name: name, Port: 80}}}}))
	slice := meta
	slice.Labels = map[string]string{discovery.LabelServiceName: "web"}
	add(c.slices.GetStore().Add(&discovery.EndpointSlice{ObjectMeta: slice, Endpoints: endpoints,
		Ports: []discovery.EndpointPort{{Name: &name, Port: &port}}}))
	add(c.ingresses.GetStore().Add(&networking.Ingress{ObjectMeta: meta, Spec: networking.IngressSpec{
		IngressClassName: &class,
		Rules: []networking.IngressRule{{Host: "acme.localhost", IngressRuleValue: networking.IngressRuleValue{
			HTTP: &networking.HTTPIngressRuleValue{Paths: []networking.HTTPIngressPath{{
				Path: "/app", PathType: &prefix, Backend: networking.IngressBackend{
					Service: &networking.IngressServiceBackend{Name: "web", Port: networking.ServiceBackendPort{Number: 80}}},
			}}},
		}}},
	}}))
	return c, port
}

func at(address string, ready, terminating bool) discovery.Endpoint {
	return discovery.Endpoint{Addresses: []string{address},
		Conditions: discovery.EndpointConditions{Ready: &ready, Terminating: &terminating}}
}

func post(c *cluster, url string) (int, string) {
	recorder := httptest.NewRecorder()
	newProxy(c, newTransport()).ServeHTTP(recorder, httptest.NewRequest(http.MethodPost, url, strings.NewReader("said once")))
	return recorder.Code, strings.TrimSpace(recorder.Body.String())
}

func TestARequestReachesAReadyPodWithItsHostAndBody(t *testing.T) {
	// Nobody listens at 127.0.0.2: half of the requests go there first and are tried elsewhere.
	c, port := world(t, at("127.0.0.1", true, false), at("127.0.0.2", true, false))
	for range 4 {
		status, body := post(c, "http://acme.localhost:8080/app/tasks")
		if want := "acme.localhost:8080 acme.localhost:8080 /app/tasks said once"; status != 200 || body != want {
			t.Fatalf("pod at port %s answered %d %q, want %q", strconv.Itoa(int(port)), status, body, want)
		}
	}
}

func TestWhatLeadsNowhereIsSaidPlainly(t *testing.T) {
	c, _ := world(t, at("127.0.0.1", true, true), at("127.0.0.1", false, false))
	for url, want := range map[string]struct {
		status int
		text   string
	}{
		"http://acme.localhost/app":     {503, "No pod of Service tenant-acme/web is ready."},
		"http://acme.localhost/apple":   {404, "No Ingress leads from acme.localhost/apple to anything."},
		"http://nobody.localhost:80/xy": {404, "No Ingress leads from nobody.localhost/xy to anything."},
	} {
		if status, text := post(c, url); status != want.status || text != want.text {
			t.Errorf("%s: got %d %q, want %d %q", url, status, text, want.status, want.text)
		}
	}
}
