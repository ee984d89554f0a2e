package main

import (
	"context"
	"encoding/json"
	"log"
	"time"

	networking "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
)

// publish writes the address into the status of every Ingress of the class, once: an Ingress that
// says it already isn't written again.
func publish(ctx context.Context, client kubernetes.Interface, c *cluster, address string) {
	queue := workqueue.NewTypedRateLimitingQueue(
		workqueue.NewTypedItemExponentialFailureRateLimiter[cache.ObjectName](200*time.Millisecond, 30*time.Second))
	enqueue := func(object any) {
		if ingress := object.(*networking.Ingress); c.isOurs(ingress) && !says(ingress, address) {
			queue.Add(cache.MetaObjectToName(ingress))
		}
	}
	_, err := c.ingresses.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    enqueue,
		UpdateFunc: func(_, object any) { enqueue(object) },
	})
	if err != nil {
		log.Fatal(err)
	}
	go func() { <-ctx.Done(); queue.ShutDown() }()

	patch, err := json.Marshal(map[string]any{"status": networking.IngressStatus{
		LoadBalancer: networking.IngressLoadBalancerStatus{
			Ingress: []networking.IngressLoadBalancerIngress{{IP: address}},
		},
	}})
	if err != nil {
		log.Fatal(err)
	}
	for {
		name, done := queue.Get()
		if done {
			return
		}
		if err := publishOne(ctx, client, c, name, address, patch); err != nil {
			log.Printf("status of Ingress %s: %v", name, err)
			queue.AddRateLimited(name)
		} else {
			queue.Forget(name)
		}
		queue.Done(name)
	}
}

func publishOne(ctx context.Context, client kubernetes.Interface, c *cluster, name cache.ObjectName, address string, patch []byte) error {
	// Look again: a later event may have made the write needless.
	object, found, err := c.ingresses.GetStore().GetByKey(name.String())
	if err != nil || !found || says(object.(*networking.Ingress), address) {
		return err
	}
	_, err = client.NetworkingV1().Ingresses(name.Namespace).
		Patch(ctx, name.Name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func says(ingress *networking.Ingress, address string) bool {
	published := ingress.Status.LoadBalancer.Ingress
	return len(published) == 1 && published[0].IP == address
}
