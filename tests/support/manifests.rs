//! The sample product of these tests, as small as one can be that has everything, and the way to change a manifest.

use serde_json::{Value, json};

/// A merge patch (RFC 7386) on a manifest.
pub fn merge(into: &mut Value, patch: &Value) {
    match patch {
        Value::Object(fields) => {
            if !into.is_object() {
                *into = json!({});
            }
            for (key, value) in fields {
                if value.is_null() {
                    into.as_object_mut().unwrap().remove(key);
                } else {
                    merge(&mut into[key], value);
                }
            }
        }
        other => *into = other.clone(),
    }
}

/// A manifest of ours.
pub fn manifest(kind: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": "tenantry.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

/// A product with a web server, a worker, a scheduler, a database, a migration, a secret and settings.
pub fn blueprint() -> Value {
    json!({
        "baseDomain": "sample.localhost",
        "version": "1.0",
        "image": {"repository": "localhost/sample"},
        "components": [
            {
                "name": "web", "command": ["serve"], "port": 8000, "expose": {"path": "/"}, "drainSeconds": 7, "terminationSeconds": 20,
                "probes": {
                    "readiness": {"path": "/healthz"}, "liveness": {"path": "/livez", "everySeconds": 10}, "startup": {"path": "/livez"},
                },
            },
            {"name": "worker", "command": ["work"], "terminationSeconds": 60},
            {"name": "beat", "command": ["beat"], "singleton": true},
        ],
        "database": {"isolation": "Schema"},
        "migrate": {"command": ["migrate"]},
        "secrets": [{"env": "SECRET_KEY"}],
        "settings": [{"env": "LANGUAGE_CODE", "default": "en", "tenantMaySet": true}, {"env": "MODE", "default": "production"}],
        "check": {"path": "/healthz", "everySeconds": 5},
        "ingress": {},
    })
}

/// One pod of each component.
pub fn small() -> Value {
    json!({"quota": {"requests.cpu": "1", "requests.memory": "2Gi", "pods": "20"}, "database": {"connections": 10}})
}

/// Several pods of the web server, by an autoscaler, and of the worker.
pub fn large() -> Value {
    json!({
        "components": {"web": {"replicas": {"min": 2, "max": 4}}, "worker": {"replicas": {"min": 2, "max": 2}}},
        "quota": {"requests.cpu": "2", "requests.memory": "4Gi", "pods": "40"},
        "database": {"connections": 30},
    })
}
