// Says what GitOps tools make of resources, by the tools' own code: Argo CD's evaluator of health.lua, Flux's of healthCheckExprs, and kstatus, on which both
// and kubectl wait are built.
//
// Reads a JSON object a line from standard input, and answers a line each: {"argo": "Healthy", "flux": "Current", "kstatus": "Current", "message": "…"}. With --action NAME
// it answers with the object as that action of Argo CD's leaves it, and with --actions with those that there are.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/argoproj/argo-cd/v3/util/lua"
	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

type answer struct {
	Argo    string `json:"argo,omitempty"`
	Flux    string `json:"flux,omitempty"`
	Kstatus string `json:"kstatus,omitempty"`
	Message string `json:"message,omitempty"`
}

func main() {
	folder := flag.String("argo", "", "`folder` of Argo CD's resource_customizations")
	checks := flag.String("flux", "", "`file` of Flux's healthCheckExprs")
	action := flag.String("action", "", "`name` of an action to take")
	actions := flag.Bool("actions", false, "say which actions there are")
	flag.Parse()
	if err := run(*folder, *checks, *action, *actions); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(folder, checks, action string, actions bool) error {
	flux, err := readChecks(checks)
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 16<<20)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(lines.Bytes()); err != nil {
			return err
		}
		scripts := filepath.Join(folder, object.GroupVersionKind().Group, object.GetKind())
		var told any
		switch {
		case actions:
			told, err = discover(scripts, object)
		case action != "":
			told, err = act(scripts, action, object)
		default:
			told, err = judge(scripts, flux, object)
		}
		if err != nil {
			return fmt.Errorf("%s %s: %w", object.GetKind(), object.GetName(), err)
		}
		if err := out.Encode(told); err != nil {
			return err
		}
	}
	return lines.Err()
}

func readChecks(path string) (map[schema.GroupKind]*cel.StatusEvaluator, error) {
	found := map[schema.GroupKind]*cel.StatusEvaluator{}
	if path == "" {
		return found, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var checks []kustomize.CustomHealthCheck
	if err := yaml.UnmarshalStrict(text, &checks); err != nil {
		return nil, err
	}
	for _, check := range checks {
		evaluator, err := cel.NewStatusEvaluator(&check.HealthCheckExpressions)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", check.Kind, err)
		}
		found[schema.FromAPIVersionAndKind(check.APIVersion, check.Kind).GroupKind()] = evaluator
	}
	return found, nil
}

// judge asks all of them.
func judge(scripts string, flux map[schema.GroupKind]*cel.StatusEvaluator, object *unstructured.Unstructured) (any, error) {
	script, err := os.ReadFile(filepath.Join(scripts, "health.lua"))
	if err != nil {
		return nil, err
	}
	healthy, err := lua.VM{}.ExecuteHealthLua(object, string(script))
	if err != nil {
		return nil, err
	}
	computed, err := status.Compute(object)
	if err != nil {
		return nil, err
	}
	told := answer{Argo: string(healthy.Status), Message: healthy.Message, Kstatus: string(computed.Status)}
	if evaluator := flux[object.GroupVersionKind().GroupKind()]; evaluator != nil {
		result, err := evaluator.Evaluate(context.Background(), object)
		if err != nil {
			return nil, err
		}
		told.Flux = string(result.Status)
	}
	return told, nil
}

// discover asks for the actions that can be taken.
func discover(scripts string, object *unstructured.Unstructured) (any, error) {
	script, err := os.ReadFile(filepath.Join(scripts, "actions", "discovery.lua"))
	if err != nil {
		return nil, err
	}
	return lua.VM{}.ExecuteResourceActionDiscovery(object, []string{string(script)})
}

// act takes an action, and tells what it makes of the object.
func act(scripts, action string, object *unstructured.Unstructured) (any, error) {
	script, err := os.ReadFile(filepath.Join(scripts, "actions", action, "action.lua"))
	if err != nil {
		return nil, err
	}
	// As Argo CD runs actions: with the clock, and without files or processes.
	changed, err := lua.VM{UseOpenLibs: true}.ExecuteResourceAction(object, string(script), nil)
	if err != nil {
		return nil, err
	}
	if len(changed) != 1 {
		return nil, fmt.Errorf("%s changes %d objects", action, len(changed))
	}
	return changed[0].UnstructuredObj, nil
}
