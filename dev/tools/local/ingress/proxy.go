package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync/atomic"
	"time"
)

// errNobody says that a Service has no pod that takes requests now.
type errNobody struct{ service string }

func (e errNobody) Error() string {
	return fmt.Sprintf("no pod of Service %s is ready", e.service)
}

// toEndpoints sends a request to one ready endpoint after the other until one accepts the
// connection. What was sent once is never sent again, so no request can count twice.
type toEndpoints struct {
	cluster   *cluster
	turn      atomic.Uint64 // round robin over all requests
	transport http.RoundTripper
}

// newTransport speaks to real pods.
func newTransport() *http.Transport {
	return &http.Transport{
		DialContext: (&net.Dialer{Timeout: time.Second}).DialContext,
		// A kept connection may be closed by its pod just when a request goes out on it, and
		// nobody could tell whether the pod has seen it. On one machine a new one costs little.
		DisableKeepAlives:  true,
		DisableCompression: true,
	}
}

// standIn answers in place of simulated pods. Nothing is sent anywhere: the address of such a pod
// may be the address of a stranger.
type standIn struct{}

func (standIn) RoundTrip(request *http.Request) (*http.Response, error) {
	body := fmt.Sprintf("A simulated pod at %s would answer this.\n", request.URL.Host)
	return &http.Response{
		Status: "200 OK", StatusCode: http.StatusOK,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header:        http.Header{"Content-Type": {"text/plain; charset=utf-8"}},
		Body:          io.NopCloser(strings.NewReader(body)),
		ContentLength: int64(len(body)), Request: request,
	}, nil
}

func newProxy(c *cluster, transport http.RoundTripper) http.Handler {
	return &httputil.ReverseProxy{
		Transport: &toEndpoints{cluster: c, transport: transport},
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme = "http"
			r.SetXForwarded()
		},
		FlushInterval: -1,
		ErrorHandler:  explain,
	}
}

func (t *toEndpoints) RoundTrip(request *http.Request) (*http.Response, error) {
	service, addresses, err := t.cluster.endpoints(hostOf(request), request.URL.Path)
	if err != nil {
		return nil, err
	}
	body := request.Body
	if body != nil {
		defer body.Close()
		request.Body = io.NopCloser(body) // a refused attempt would close it
	}
	first := t.turn.Add(1)
	err = errNobody{service}
	for i := range uint64(len(addresses)) {
		attempt := request.Clone(request.Context())
		attempt.URL.Host = addresses[(first+i)%uint64(len(addresses))]
		response, attemptErr := t.transport.RoundTrip(attempt)
		if attemptErr == nil {
			return response, nil
		}
		err = attemptErr
		if !isDialError(err) {
			break
		}
	}
	return nil, err
}

// isDialError tells that the connection failed, so that nothing was sent on it.
func isDialError(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

func hostOf(request *http.Request) string {
	host := request.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// explain answers a request that reached no pod.
func explain(w http.ResponseWriter, r *http.Request, err error) {
	var nobody errNobody
	switch {
	case errors.Is(err, errUnknown):
		http.Error(w, fmt.Sprintf("No Ingress leads from %s%s to anything.", hostOf(r), r.URL.Path), http.StatusNotFound)
	case errors.As(err, &nobody):
		http.Error(w, fmt.Sprintf("No pod of Service %s is ready.", nobody.service), http.StatusServiceUnavailable)
	case errors.Is(err, context.Canceled): // the client has gone
	default:
		log.Printf("%s %s%s: %v", r.Method, r.Host, r.URL.Path, err)
		http.Error(w, "The pod broke off: "+err.Error(), http.StatusBadGateway)
	}
}
