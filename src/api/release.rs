//! `Release`: a version of a blueprint on its way through the customers.

use super::shared::{LabelValue, QUALIFIED_KEYS};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

/// The channel of releases and tenants that name none.
pub const DEFAULT_CHANNEL: &str = "stable";

/// A version of a blueprint on its way through the customers: wave after wave, and no further once too many of them fail. It carries the
/// blueprint as it stood when the release was made.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "tenantry.dev",
    version = "v1alpha1",
    kind = "Release",
    status = "ReleaseStatus",
    derive = "PartialEq",
    shortname = "rel",
    category = "tenantry",
    cel,
    doc = "A version of a blueprint on its way through the customers.",
    validation = Rule::new("self.metadata.name.size() <= 63").message("a release's name has at most 63 characters: choose a shorter one"),
    printcolumn(name = "Blueprint", type_ = "string", json_path = ".spec.blueprint", description = "The product"),
    printcolumn(name = "Version", type_ = "string", json_path = ".spec.version", description = "The version that is released"),
    printcolumn(name = "Channel", type_ = "string", json_path = ".spec.channel", description = "The tenants that it is for"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason", description = "How it goes"),
    printcolumn(name = "Wave", type_ = "string", json_path = ".status.wave", description = "The wave that was opened last"),
    printcolumn(name = "Done", type_ = "string", json_path = ".status.progress", description = "Tenants that have it, of all that shall"),
    printcolumn(name = "Moving", type_ = "integer", json_path = ".status.tenants.moving", description = "Tenants on their way"),
    printcolumn(name = "Failed", type_ = "integer", json_path = ".status.tenants.failed", description = "Tenants that failed"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", description = "Since when it exists"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", priority = 1, description = "How it goes, as a sentence")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.image) == has(oldSelf.image) && (!has(self.image) || self.image == oldSelf.image)").message("image can't be changed, because tenants may run it already: make a new Release"))]
pub struct ReleaseSpec {
    /// The name of the Blueprint.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("blueprint can't be changed: make a new Release"))]
    pub blueprint: String,

    /// The version. It is also the tag of the image, where `image` says nothing else.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$')").message("version must be the tag of an image that is also a label's value, such as 2026.11.3"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("version can't be changed, because tenants may run it already: make a new Release"))]
    pub version: String,

    /// What runs, of the blueprint's repository. The version's tag, where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ReleaseImage>,

    /// Tenants that follow this channel get it: any name, such as rc, early or stable.
    #[serde(default = "default_channel")]
    #[schemars(length(min = 1, max = 40))]
    #[x_kube(validation = Rule::new(CHANNEL).message("channel is a name in small letters, such as rc, early or stable"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("channel can't be changed: make a new Release for the other channel"))]
    pub channel: String,

    /// One after another, each opened when the one before is done and has soaked. All tenants at once, where left out. The last one is for all.
    #[serde(default = "one_wave")]
    #[schemars(length(min = 1, max = 20))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[x_kube(validation = Rule::new("self[self.size() - 1].percent == 100 && !has(self[self.size() - 1].match) && !self[self.size() - 1].skip").message("the last wave is for everybody, or some tenants would never get the release: give it percent: 100, no match and no skip"))]
    pub waves: Vec<Wave>,

    /// When too many tenants have failed.
    #[serde(default)]
    pub health: Health,

    /// What happens then.
    #[serde(default)]
    pub on_failure: OnFailure,

    /// No further tenant begins while this is so. Those on their way arrive.
    #[serde(default)]
    pub paused: bool,

    /// All tenants go back to what they ran before. Their data stays as it was migrated. It can't be set back.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self || !oldSelf").message("a release that was rolled back stays so, because all its tenants would move at once, without waves: make a new Release"))]
    pub rolled_back: bool,
}

/// The name of a channel.
pub(super) const CHANNEL: &str = "self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')";

fn default_channel() -> String {
    DEFAULT_CHANNEL.to_owned()
}

fn one_wave() -> Vec<Wave> {
    vec![Wave {
        name: "all".to_owned(),
        matching: BTreeMap::new(),
        percent: 100,
        soak: None,
        concurrency: default_concurrency(),
        skip: false,
    }]
}

/// The image that is released.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.tag) || has(self.digest)").message("image has a tag, a digest, or both: add one, or leave image out for the tag that is the version"))]
pub struct ReleaseImage {
    /// Its tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9_][-A-Za-z0-9_.]*$')").message("tag is an image's tag, such as 2026.11.3-abc1234"))]
    pub tag: Option<String>,
    /// Its digest. Where both are given, the digest is what runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 71, max = 71))]
    #[x_kube(validation = Rule::new("self.matches('^sha256:[0-9a-f]{64}$')").message("digest is sha256: and 64 hexadecimal digits, as `docker push` prints it"))]
    pub digest: Option<String>,
}

/// Tenants that get a release together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Wave {
    /// Its name.
    #[schemars(length(min = 1, max = 40))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')").message("a wave's name has small letters, digits and hyphens, such as canary"))]
    pub name: String,
    /// Labels that its tenants have. All tenants of the channel, where left out.
    #[serde(rename = "match", default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 10))]
    #[x_kube(validation = Rule::new(QUALIFIED_KEYS).message("each key of match is a label's name, such as tenantry.dev/ring"))]
    pub matching: BTreeMap<String, LabelValue>,
    /// How many percent of them, at least one. Who they are is drawn by lot, anew for each release; a later wave of more percent contains the
    /// earlier one.
    #[serde(default = "all_of_them")]
    #[schemars(range(min = 1, max = 100))]
    pub percent: u8,
    /// How long the wave has to stay well before the next is opened, such as 30m. Nothing, where left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soak: Option<Span>,
    /// How many of its tenants are on their way at once.
    #[serde(default = "default_concurrency")]
    #[schemars(range(min = 1, max = 1000))]
    pub concurrency: u32,
    /// Doesn't wait for it: the next wave is opened at once. Its tenants that haven't begun come with a later wave.
    #[serde(default)]
    pub skip: bool,
}

fn all_of_them() -> u8 {
    100
}

fn default_concurrency() -> u32 {
    50
}

/// A span of time, such as 90s, 30m or 1h30m.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Span(
    #[schemars(
        length(min = 2, max = 20),
        extend("x-kubernetes-validations" = [{
            "rule": "self.matches('^([0-9]{1,4}h)?([0-9]{1,5}m)?([0-9]{1,6}s)?$')",
            "message": "a span of time is written as hours, minutes and seconds, such as 90s, 30m or 1h30m",
        }])
    )]
    pub String,
);

impl Span {
    /// How long it is. What the schema would have refused is no time at all.
    pub fn duration(&self) -> Duration {
        let mut seconds = 0;
        let mut number = 0;
        for character in self.0.chars() {
            match (character, character.to_digit(10)) {
                (_, Some(digit)) => number = number * 10 + u64::from(digit),
                ('h', _) => seconds += std::mem::take(&mut number) * 3600,
                ('m', _) => seconds += std::mem::take(&mut number) * 60,
                _ => seconds += std::mem::take(&mut number),
            }
        }
        Duration::from_secs(seconds)
    }
}

/// When too many tenants have failed. A tenant has failed where its migration has, where it is stalled, or where it isn't ready in time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// How many may fail, as a number or in percent, such as 3 or 1%. Beyond it the release stops.
    #[serde(default)]
    pub max_failed: MaxFailed,
    /// What the percentage is of: the tenants of the wave, or all that the release is for.
    #[serde(default)]
    pub of: HealthScope,
    /// How long a tenant may take from its beginning to being ready.
    #[serde(default = "ten_minutes")]
    pub within: Span,
}

impl Default for Health {
    fn default() -> Self {
        Self { max_failed: MaxFailed::default(), of: HealthScope::default(), within: ten_minutes() }
    }
}

fn ten_minutes() -> Span {
    Span("10m".to_owned())
}

/// How many tenants may fail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum MaxFailed {
    /// So many.
    Number(u32),
    /// So many percent, with the sign; or the number as a text.
    Text(String),
}

impl Default for MaxFailed {
    fn default() -> Self {
        Self::Number(0)
    }
}

impl MaxFailed {
    /// Whether so many failed of so many are too many.
    pub fn is_exceeded(&self, failed: usize, of: usize) -> bool {
        let number = |text: &str| text.parse::<usize>().unwrap_or_default();
        match self {
            Self::Number(most) => failed > *most as usize,
            Self::Text(text) => match text.strip_suffix('%') {
                Some(percent) => failed * 100 > number(percent) * of,
                None => failed > number(text),
            },
        }
    }
}

impl JsonSchema for MaxFailed {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "MaxFailed".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "x-kubernetes-validations": [{
                "rule": "string(self).matches('^([0-9]{1,5}|([0-9]|[1-9][0-9]|100)%)$')",
                "message": "maxFailed is a number of tenants or a percentage, such as 3 or 1%",
            }],
        })
    }
}

/// What a percentage is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum HealthScope {
    /// The tenants of the wave that is open.
    #[default]
    Wave,
    /// All tenants that the release is for.
    Release,
}

/// What happens when too many tenants have failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnFailure {
    /// No further tenant begins, until a person changes the release.
    #[default]
    Pause,
    /// All tenants go back to what they ran before.
    Rollback,
}

/// How a release goes. Only the operator writes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("default" = {"observedGeneration": -1}))]
pub struct ReleaseStatus {
    /// The generation that the rest speaks of; -1 before the first look.
    #[serde(default = "not_observed")]
    pub observed_generation: i64,
    /// Its number among the releases of its blueprint: the order in which they follow each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<i64>,
    /// The ControllerRevision in the operator's namespace that holds the blueprint as it stood; none any more once nobody needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// The wave that was opened last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wave: Option<String>,
    /// Tenants that have it, of all that shall, such as 412/1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
    /// The tenants that it is for.
    #[serde(default)]
    pub tenants: Counts,
    /// Wave by wave.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub waves: Vec<WaveStatus>,
    /// The moment up to which maintenance windows that opened are taken into account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Time>,
    /// Some of the tenants that failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<Failure>,
    /// Some of the tenants whose maintenance window it waits for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting_for: Vec<WaitingFor>,
    /// Why it stopped by itself. It goes on once a person has changed the release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halted: Option<Halt>,
    /// Too many tenants failed, and so all go back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rolled_back: bool,
    /// The release of the same channel that took over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<String>,
    /// When the first wave was opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Time>,
    /// When there was nothing more to be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<Time>,
    /// When it would be finished, if it goes on as it did until now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<Time>,
    /// `Ready` once all that was asked for is so; `Reconciling` or `Stalled` while they are so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

fn not_observed() -> i64 {
    -1
}

/// How many tenants are how far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// They haven't begun.
    #[serde(default)]
    pub waiting: u32,
    /// They are on their way.
    #[serde(default)]
    pub moving: u32,
    /// They have it and are ready.
    #[serde(default)]
    pub done: u32,
    /// Their migration failed, they are stalled, or not ready in time.
    #[serde(default)]
    pub failed: u32,
    /// They are suspended, held, pinned, or being deleted.
    #[serde(default)]
    pub passed_over: u32,
}

/// How far a wave is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WaveStatus {
    /// Its name.
    pub name: String,
    /// Its tenants, without those of earlier waves.
    #[serde(default)]
    pub tenants: Counts,
    /// When it was opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened: Option<Time>,
    /// When its last tenant had arrived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<Time>,
    /// The last lot that belongs to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bound: Option<String>,
    /// The last lot that may begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reach: Option<String>,
}

/// A tenant that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// Its name.
    pub tenant: String,
    /// The reason of its condition.
    pub reason: String,
    /// The beginning of the sentence there.
    pub message: String,
}

/// A tenant whose maintenance window is waited for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WaitingFor {
    /// Its name.
    pub tenant: String,
    /// When its window opens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
}

/// Why a release stopped by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Halt {
    /// The generation of the release that it stopped at.
    pub generation: i64,
    /// What happened.
    pub message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_they_are_written() {
        for (text, seconds) in [("90s", 90), ("30m", 1800), ("1h30m", 5400), ("2h", 7200), ("1h1m1s", 3661), ("0s", 0)] {
            assert_eq!(Span(text.to_owned()).duration(), Duration::from_secs(seconds), "{text}");
        }
    }

    #[test]
    fn a_percentage_of_few_tenants_is_exceeded_by_one() {
        let one_percent = MaxFailed::Text("1%".to_owned());
        assert!(one_percent.is_exceeded(1, 5));
        assert!(!one_percent.is_exceeded(10, 1000) && one_percent.is_exceeded(11, 1000));
        for three in [MaxFailed::Number(3), MaxFailed::Text("3".to_owned())] {
            assert!(!three.is_exceeded(3, 5) && three.is_exceeded(4, 5));
        }
        assert!(!MaxFailed::default().is_exceeded(0, 0));
    }
}
