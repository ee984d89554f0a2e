//! The Helm chart and `config/` are two ways to the same installation.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Command;

/// What a tool of .local/bin prints, as the objects by kind and name.
fn objects(program: &str, arguments: &[&str]) -> BTreeMap<(String, String), Value> {
    let root = env!("CARGO_MANIFEST_DIR");
    let output = Command::new(format!("{root}/.local/bin/{program}")).args(arguments).current_dir(root).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}; dev/build-tools makes it"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let documents: Vec<Value> = serde_saphyr::from_multiple(&String::from_utf8(output.stdout).unwrap()).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let named = documents.into_iter().filter(|object| !object.is_null());
    named.map(|object| ((text(&object["kind"]), text(&object["metadata"]["name"])), object)).collect()
}

fn of_chart(arguments: &[&str]) -> BTreeMap<(String, String), Value> {
    objects("helm", &[&["template", "tenantry", "charts/tenantry"], arguments].concat())
}

/// What Helm says of who installed it.
const MARKS: [&str; 4] = ["app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "app.kubernetes.io/version", "helm.sh/chart"];

#[test]
fn the_chart_installs_what_config_does() {
    let mut chart = of_chart(&["--namespace", "tenantry-system"]);
    let mut config = objects("kubectl", &["kustomize", "config/default"]);
    // Helm makes the namespace itself.
    assert!(config.remove(&("Namespace".to_owned(), "tenantry-system".to_owned())).is_some());
    // What config/ has aggregated into one role, the chart writes there.
    let role = |name: &str| ("ClusterRole".to_owned(), name.to_owned());
    let base = config.remove(&role("tenantry-instance-base")).expect("the rules");
    let whole = config.get_mut(&role("tenantry-instance")).expect("the role");
    whole.as_object_mut().unwrap().remove("aggregationRule");
    whole["rules"] = base["rules"].clone();
    for object in chart.values_mut().chain(config.values_mut()) {
        if let Some(labels) = object["metadata"]["labels"].as_object_mut() {
            MARKS.iter().for_each(|mark| drop(labels.remove(*mark)));
        }
        if object["metadata"]["labels"] == json!({}) || object["metadata"]["labels"].is_null() {
            object["metadata"].as_object_mut().unwrap().remove("labels");
        }
        // Only Helm knows this one.
        if object["kind"] == "CustomResourceDefinition" {
            assert!(
                object["metadata"]["annotations"].is_null()
                    || object["metadata"]["annotations"] == json!({"helm.sh/resource-policy": "keep"})
            );
            object["metadata"].as_object_mut().unwrap().remove("annotations");
        }
    }
    assert_eq!(chart.keys().collect::<Vec<_>>(), config.keys().collect::<Vec<_>>());
    for (name, object) in &chart {
        assert_eq!(object, &config[name], "{name:?}");
    }
}

#[test]
fn nothing_of_the_chart_names_the_usual_namespace_or_account_where_it_is_given_others() {
    let chart = of_chart(&["--namespace", "elsewhere", "--set", "serviceAccount.name=somebody"]);
    for (name, object) in &chart {
        let text = object.to_string();
        assert!(!text.contains("tenantry-system") && !text.contains("elsewhere:tenantry-operator"), "{name:?}: {text}");
        for subject in object["subjects"].as_array().into_iter().flatten() {
            assert_eq!(subject, &json!({"kind": "ServiceAccount", "name": "somebody", "namespace": "elsewhere"}), "{name:?}");
        }
    }
    assert!(chart.contains_key(&("ServiceAccount".to_owned(), "somebody".to_owned())));
}

#[test]
fn definitions_that_are_not_kept_may_be_deleted() {
    let mut chart = of_chart(&["--set", "crds.keep=false"]);
    chart.retain(|(kind, _), _| kind == "CustomResourceDefinition");
    assert!(!chart.is_empty());
    for (name, definition) in chart {
        assert_eq!(definition["metadata"]["annotations"], json!({"tenantry.dev/deletion": "allowed"}), "{name:?}");
    }
}
