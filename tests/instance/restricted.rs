//! Pod Security at its strictest, written from the standard's own list:
//! <https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted>.

use serde_json::Value;

/// Every rule that the pod breaks.
pub fn violations(pod: &Value) -> Vec<String> {
    let mut broken = Vec::new();
    let mut forbid = |is: bool, what: &str| {
        if is {
            broken.push(what.to_owned());
        }
    };
    for field in ["hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"] {
        forbid(pod[field] == true, field);
    }
    let security = &pod["securityContext"];
    for field in ["seLinuxOptions", "sysctls", "windowsOptions", "appArmorProfile"] {
        forbid(!security[field].is_null(), field);
    }
    forbid(security["runAsUser"] == 0, "runAsUser 0");
    for volume in list(&pod["volumes"]) {
        let allowed = ["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"];
        let kinds: Vec<_> = volume.as_object().expect("a volume").keys().filter(|key| *key != "name").collect();
        forbid(kinds.is_empty() || kinds.iter().any(|kind| !allowed.contains(&kind.as_str())), "a volume of another kind");
    }
    let containers: Vec<_> = list(&pod["containers"]).chain(list(&pod["initContainers"])).collect();
    forbid(containers.is_empty(), "no container");
    for container in containers {
        let own = &container["securityContext"];
        let effective = |field: &str| if own[field].is_null() { security[field].clone() } else { own[field].clone() };
        forbid(own["privileged"] == true, "privileged");
        forbid(own["allowPrivilegeEscalation"] != false, "allowPrivilegeEscalation");
        forbid(effective("runAsNonRoot") != true, "runAsNonRoot");
        forbid(effective("runAsUser") == 0, "runAsUser 0");
        let seccomp = effective("seccompProfile");
        forbid(seccomp["type"] != "RuntimeDefault" && seccomp["type"] != "Localhost", "seccompProfile");
        forbid(!list(&own["capabilities"]["drop"]).any(|capability| capability == "ALL"), "capabilities not dropped");
        forbid(list(&own["capabilities"]["add"]).any(|capability| capability != "NET_BIND_SERVICE"), "capabilities added");
        forbid(!own["procMount"].is_null() && own["procMount"] != "Default", "procMount");
        forbid(list(&container["ports"]).any(|port| !port["hostPort"].is_null()), "hostPort");
        for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
            for action in ["httpGet", "tcpSocket"] {
                forbid(!container[probe][action]["host"].is_null(), "a probe of another host");
            }
        }
        // Beyond the standard, and ours.
        forbid(own["readOnlyRootFilesystem"] != true, "a root file system that can be written");
    }
    forbid(pod["automountServiceAccountToken"] != false, "a token of Kubernetes");
    broken
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[test]
fn a_pod_of_every_forbidden_kind_is_found() {
    let harmless = serde_json::json!({
        "automountServiceAccountToken": false,
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{"securityContext": {
            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
        }}],
    });
    assert_eq!(violations(&harmless), Vec::<String>::new());
    for (place, value) in [
        ("/hostNetwork", true.into()),
        ("/securityContext/runAsNonRoot", false.into()),
        ("/securityContext/seccompProfile/type", "Unconfined".into()),
        ("/containers/0/securityContext/allowPrivilegeEscalation", true.into()),
        ("/containers/0/securityContext/capabilities/drop", serde_json::json!([])),
        ("/containers/0/securityContext/privileged", true.into()),
        ("/volumes", serde_json::json!([{"name": "host", "hostPath": {"path": "/"}}])),
        ("/automountServiceAccountToken", Value::Null),
    ] {
        let mut pod = harmless.clone();
        let (parent, field) = place.rsplit_once('/').expect("a place");
        pod.pointer_mut(parent).expect("its parent")[field] = value;
        assert_eq!(violations(&pod).len(), 1, "{place}");
    }
}
