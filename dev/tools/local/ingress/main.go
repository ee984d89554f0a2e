// local-ingress is a small ingress controller for clusters on this machine: it sends plain HTTP
// requests to the pods behind an Ingress, and writes into each Ingress's status where it listens.
//
// It keeps three caches (Ingress, Service, EndpointSlice) and looks each request up in them, so
// what it does is always what the API server last said; there is no table to rebuild. It serves
// no TLS and is meant for development and tests only.
package main

import (
	"context"
	"errors"
	"flag"
	"log"
	"net"
	"net/http"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	kubeconfig := flag.String("kubeconfig", "", "kubeconfig `file` of the cluster")
	listen := flag.String("listen", "127.0.0.1:8080", "`addresses` to serve HTTP on, separated by commas")
	publishIP := flag.String("publish-ip", "127.0.0.1", "`address` to write into the status of each Ingress")
	class := flag.String("class", "local", "`name` of the IngressClass to serve; made, as the default, if it isn't there")
	simulated := flag.Bool("simulated", false, "answer 200 in place of pods, which are only simulated: their addresses are nobody's")
	flag.Parse()
	log.SetFlags(log.LstdFlags | log.Lmsgprefix)
	log.SetPrefix("local-ingress: ")

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, *kubeconfig, strings.Split(*listen, ","), *publishIP, *class, *simulated); err != nil {
		log.Fatal(err)
	}
}

// run serves until ctx ends, then lets requests that are under way finish.
func run(ctx context.Context, kubeconfig string, listen []string, publishIP, class string, simulated bool) error {
	client, err := newClient(kubeconfig)
	if err != nil {
		return err
	}
	if err := ensureClass(ctx, client, class); err != nil {
		return err
	}
	cluster, err := watchCluster(ctx, client, class)
	if err != nil {
		return err
	}
	go publish(ctx, client, cluster, publishIP)

	// Listening begins only now: whoever can connect gets true answers.
	var sockets []net.Listener
	for _, address := range listen {
		socket, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		sockets = append(sockets, socket)
	}
	var transport http.RoundTripper = newTransport()
	if simulated {
		transport = standIn{}
	}
	server := &http.Server{Handler: newProxy(cluster, transport), ReadHeaderTimeout: 10 * time.Second}
	// Serve returns as soon as Shutdown begins, and requests may still be under way.
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = server.Shutdown(grace)
	}()
	ended := make(chan error, len(sockets))
	for _, socket := range sockets {
		go func() { ended <- server.Serve(socket) }()
	}
	log.Printf("serving class %q on http://%s", class, strings.Join(listen, " and http://"))
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	<-finished
	return nil
}
