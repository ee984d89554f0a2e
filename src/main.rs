//! Reads the arguments and starts what they ask for.
fn main() {
    for crd in tenantry::api::custom_resource_definitions() {
        println!("---\n{}", serde_json::to_string_pretty(&crd).unwrap());
    }
}
